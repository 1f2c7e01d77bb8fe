//! Types of services and messages: read from a `.proto` and what it imports, or from a set of descriptors that a compiler
//! has made of them.
//!
//! Reading happens while the configuration is loaded, by [`read`]; what it makes is a set of descriptors either way, of which
//! [`Types`] is the form that calls are served by.

use crate::base::limits::{PROTO_BYTES_MAX, PROTO_FILES_MAX, PROTO_FOLDERS_MAX};
use crate::plan::schema::Read;
use miette::Diagnostic;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use protox::file::{ChainFileResolver, File as Source, FileResolver, GoogleFileResolver};
use protox::{Compiler, Error};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

/// Folders in which imports are looked for beside those of the file itself.
const INCLUDES: [&str; 2] = ["/usr/local/include", "/usr/include"];

/// What needs no file: the annotations that say how methods are called by HTTP, as published in googleapis.
const BUILT_IN: [(&str, &str); 2] = [
    ("google/api/annotations.proto", include_str!("annotations.proto")),
    ("google/api/http.proto", include_str!("http.proto")),
];

/// Reads the file `name`, and where it is a `.proto` what it imports; gives a set of descriptors.
///
/// # Errors
/// Why there is none: with file, line and column where a `.proto` is wrong.
pub(in crate::plugins) fn read(name: &str, read: Read<'_>) -> Result<Vec<u8>, String> {
    let bytes = read(name).map_err(|why| format!("cannot read {name}: {why}"))?;
    if bytes.len() > PROTO_BYTES_MAX {
        return Err(format!("{name} has more than {PROTO_BYTES_MAX} bytes"));
    }
    if Path::new(name).extension().is_some_and(|extension| extension == "proto") {
        let text = String::from_utf8(bytes).map_err(|_| format!("{name} is no text in UTF-8"))?;
        return compile(name, text, read);
    }
    match DescriptorPool::decode(bytes.as_slice()) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{name} is neither a .proto nor a set of descriptors with its imports: {error}")),
    }
}

/// Files that were read, by the names that imports give them, and those that were asked for and are not there.
#[derive(Clone, Default)]
struct Held {
    files: Rc<RefCell<HashMap<String, Source>>>,
    missing: Rc<RefCell<Option<String>>>,
}

impl FileResolver for Held {
    fn open_file(&self, name: &str) -> Result<Source, Error> {
        if let Some(file) = self.files.borrow().get(name) {
            return Ok(file.clone());
        }
        *self.missing.borrow_mut() = Some(name.to_owned());
        Err(Error::file_not_found(name))
    }
}

/// Compiles a `.proto`. The compiler cannot be lent `read`, so it is asked again for every import that it has missed.
fn compile(path: &str, text: String, read: Read<'_>) -> Result<Vec<u8>, String> {
    let place = Path::new(path);
    let main = place.file_name().and_then(|name| name.to_str()).unwrap_or(path);
    let held = Held::default();
    let shown = |error: &Error, text: Option<&str>| {
        let name = error.file().filter(|name| *name != main).unwrap_or(path);
        let at = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
        let files = held.files.borrow();
        let text = text.or_else(|| files.get(error.file()?)?.source());
        match (at, text) {
            (Some(at), Some(text)) => format!("{name}:{}: {error}", place_of(text, at)),
            _ => format!("{name}: {error}"),
        }
    };
    let file = Source::from_source(main, &text).map_err(|error| shown(&error, Some(&text)))?;
    held.files.borrow_mut().insert(main.to_owned(), file);
    let folders: Vec<&Path> = place.ancestors().skip(1).take(PROTO_FOLDERS_MAX).collect();
    loop {
        let mut resolver = ChainFileResolver::new();
        resolver.add(GoogleFileResolver::new());
        resolver.add(held.clone());
        let mut compiler = Compiler::with_file_resolver(resolver);
        let error = match compiler.include_imports(true).open_file(main) {
            Ok(compiler) => return Ok(compiler.encode_file_descriptor_set()),
            Err(error) => error,
        };
        let missing = held.missing.borrow_mut().take().filter(|_| error.is_file_not_found());
        let Some(name) = missing else { return Err(shown(&error, None)) };
        if held.files.borrow().len() >= PROTO_FILES_MAX {
            return Err(format!("{path}: it imports more than {PROTO_FILES_MAX} files"));
        }
        let Some(text) = import(&name, &folders, read) else { return Err(shown(&error, None)) };
        let text = text?;
        let file = Source::from_source(&name, &text).map_err(|error| shown(&error, Some(&text)))?;
        held.files.borrow_mut().insert(name, file);
    }
}

/// The text of an import; `None` where no folder has it.
fn import(name: &str, folders: &[&Path], read: Read<'_>) -> Option<Result<String, String>> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(held, _)| *held == name) {
        return Some(Ok((*text).to_owned()));
    }
    let includes = INCLUDES.iter().map(Path::new);
    let found = folders.iter().copied().chain(includes).find_map(|folder| {
        let path = folder.join(name);
        read(path.to_str()?).ok()
    })?;
    if found.len() > PROTO_BYTES_MAX {
        return Some(Err(format!("{name} has more than {PROTO_BYTES_MAX} bytes")));
    }
    Some(String::from_utf8(found).map_err(|_| format!("{name} is no text in UTF-8")))
}

/// Line and column of a byte.
fn place_of(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    format!("{line}:{column}")
}

/// The types of a configuration.
#[derive(Debug)]
pub(in crate::plugins) struct Types {
    pool: DescriptorPool,
    /// By the paths of their calls, `/package.Service/Method`.
    methods: HashMap<String, MethodDescriptor>,
}

impl Types {
    /// Those of a set of descriptors that [`read`] has made.
    pub(in crate::plugins) fn of(descriptors: &[u8]) -> Result<Types, String> {
        let pool = DescriptorPool::decode(descriptors).map_err(|error| error.to_string())?;
        let services = pool.services();
        let methods =
            services.flat_map(|service| service.methods().map(|method| (path_of(&method), method)).collect::<Vec<_>>());
        Ok(Types { methods: methods.collect(), pool })
    }

    /// The method of a call's path.
    pub(in crate::plugins) fn method(&self, path: &[u8]) -> Option<&MethodDescriptor> {
        self.methods.get(std::str::from_utf8(path).ok()?)
    }

    /// Every method, in the order of the files.
    pub(in crate::plugins) fn methods(&self) -> impl Iterator<Item = MethodDescriptor> + '_ {
        self.pool.services().flat_map(|service| service.methods().collect::<Vec<_>>())
    }
}

/// The path that a method is called by.
pub(in crate::plugins) fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The set of descriptors of `a/main.proto` among these files.
    fn made(files: &[(&str, &str)]) -> Result<Vec<u8>, String> {
        let read = |path: &str| {
            let found = files.iter().find(|(name, _)| *name == path);
            found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| "it is not there".to_owned())
        };
        super::read("a/main.proto", &read)
    }

    #[test]
    fn a_proto_is_compiled_with_what_it_imports() {
        let main = "syntax = \"proto3\"; package p; import \"b/types.proto\"; import \"google/api/annotations.proto\";\n\
                    import \"google/protobuf/empty.proto\";\n\
                    service S { rpc Get(Id) returns (google.protobuf.Empty) { option (google.api.http) = {get: \"/x\"}; } }";
        let types = "syntax = \"proto3\"; package p; message Id { string id = 1; }";
        // Beside the file, and beside the folders it is in.
        for place in ["a/b/types.proto", "b/types.proto"] {
            let made = made(&[("a/main.proto", main), (place, types)]).unwrap();
            let types = Types::of(&made).unwrap();
            assert_eq!(
                types.method(b"/p.S/Get").map(|method| method.input().full_name().to_owned()),
                Some("p.Id".to_owned())
            );
            assert!(types.method(b"/p.S/Put").is_none());
            assert!(super::read("set.pb", &|_| Ok(made.clone())).is_ok());
        }
    }

    #[test]
    fn a_fault_has_its_place_in_the_file() {
        let rows: [(&[(&str, &str)], &str); 5] = [
            (&[], "cannot read a/main.proto: it is not there"),
            (&[("a/main.proto", "syntax = \"proto3\";\nmessage A {\n  7 }")], "a/main.proto:3:3: "),
            (&[("a/main.proto", "syntax = \"proto3\";\nmessage A { B b = 1; }")], "a/main.proto:2:13: "),
            (&[("a/main.proto", "syntax = \"proto3\";\nimport \"b.proto\";")], "a/main.proto:2:"),
            (
                &[
                    ("a/main.proto", "syntax = \"proto3\";\nimport \"b.proto\";"),
                    ("a/b.proto", "syntax = \"proto3\";\n}"),
                ],
                "b.proto:2:1: ",
            ),
        ];
        for (files, want) in rows {
            let why = made(files).unwrap_err();
            assert!(why.starts_with(want), "{why}");
        }
        let why = super::read("x.pb", &|_| Ok(b"no descriptors".to_vec())).unwrap_err();
        assert!(why.starts_with("x.pb is neither a .proto nor"), "{why}");
    }
}
