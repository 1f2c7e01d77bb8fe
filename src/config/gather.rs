//! Which files make the configuration: those that were named, and where a node looks when nobody names any.
//!
//! Opening is an argument, as everywhere in this room. Not here: what the files say (`load`).

use super::kong::{self, conf};
use super::Sources;
use crate::base::span::Span;
use crate::hook::Descriptor;
use crate::plan::record::Written;
use crate::plan::report::Report;
use crate::plan::schema::Read;
use crate::plan::Plan;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;

/// Reads a file.
pub type Open<'a> = &'a dyn Fn(&str) -> io::Result<Vec<u8>>;

/// Files with their texts.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// Names and texts of files with entities or settings.
    pub files: Vec<(String, String)>,
    /// Name and text of a node's settings.
    pub conf: Option<(String, String)>,
    /// Every file whose change changes the configuration; those that could not be read too. Those that are the
    /// configuration itself come first.
    pub watch: Vec<String>,
    /// How many those are.
    pub own: usize,
}

/// What came of files.
#[derive(Debug)]
pub struct Loaded {
    /// The plan, where there is no fault.
    pub plan: Option<Plan>,
    /// Everything that was found.
    pub report: Report,
    /// As [`Gathered::watch`], and what entities and settings name.
    pub watch: Vec<String>,
    /// As [`Gathered::own`].
    pub own: usize,
    /// The entities as they were written.
    pub written: Written,
}

/// Gathers and loads: from the command line and the environment to a plan. Where a declarative text is `posted`, its
/// entities are served and those of the files are not.
///
/// `random` fills with unpredictable bytes, for ids and secrets that nobody wrote.
pub fn load(
    named: &[String],
    posted: Option<&str>,
    env: &[(String, String)],
    open: Open<'_>,
    descriptors: &'static [Descriptor],
    random: &mut dyn FnMut(&mut [u8]),
) -> Loaded {
    let mut report = Report::default();
    let found = gather(named, env, open, &mut report);
    let named_within = RefCell::new(Vec::new());
    let read = |path: &str| {
        named_within.borrow_mut().push(path.to_owned());
        open(path).map_err(|error| error.to_string())
    };
    let super::Reading { plan, report: said, written } =
        super::read(&found.sources(env, &read), posted, descriptors, random);
    let (mut watch, own) = (found.watch, found.own);
    for path in named_within.into_inner() {
        if !watch.contains(&path) {
            watch.push(path);
        }
    }
    // A file that could not be read may hold what the others refer to, or what forbids something: nothing without it.
    let plan = plan.filter(|_| report.is_clean());
    report.findings.extend(said.findings);
    Loaded { plan, report, watch, own, written }
}

impl Gathered {
    /// As [`load`](super::load) takes them. `read` is asked for files that settings name.
    pub fn sources<'a>(&'a self, env: &'a [(String, String)], read: Read<'a>) -> Sources<'a> {
        let conf = self.conf.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        Sources { files: &self.files, conf, env, read }
    }
}

/// Reads the files of the command line; one of them may hold the settings of a node.
///
/// The usual places are looked at where no file is named; of them, that of the settings also beside a declarative file.
/// A file that cannot be read is a fault, and the others are read all the same.
pub fn gather(named: &[String], env: &[(String, String)], open: Open<'_>, report: &mut Report) -> Gathered {
    let mut found = Gathered::default();
    for file in named {
        let Some(text) = found.read(file, open, report) else { continue };
        if !is_settings(&text) {
            found.files.push((file.clone(), text));
        } else if found.conf.replace((file.clone(), text)).is_some() {
            let span = Span::new(&Arc::from(file.as_str()), 0, 0);
            report.fault(&span, "", "a second file of a node's settings", "name one");
        }
    }
    // One that is named and cannot be read is no reason to look elsewhere.
    let unnamed = found.files.is_empty() && report.is_clean();
    // The key in any line but remarks: a sketch of what `load` sees in the tree, good enough to look for one file more.
    let is_declarative =
        |text: &str| text.lines().any(|line| line.contains(kong::VERSION_KEY) && !line.trim_start().starts_with('#'));
    if found.conf.is_none() && (unnamed || found.files.iter().any(|(_, text)| is_declarative(text))) {
        if let Some(path) = conf::CONF_PATHS.into_iter().find(|path| exists(open, path)) {
            found.conf = found.read(path, open, report).map(|text| (path.to_owned(), text));
        }
    }
    let settings = found.conf.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    // Its findings are those of `load`, which reads the settings again.
    let settings = conf::read(settings, env, &mut Report::default());
    let names_one = settings.declarative.is_some() || settings.declarative_text.is_some();
    if unnamed && !names_one {
        if exists(open, conf::DECLARATIVE_PATH) {
            if let Some(text) = found.read(conf::DECLARATIVE_PATH, open, report) {
                found.files.push((conf::DECLARATIVE_PATH.to_owned(), text));
            }
        } else if !settings.may_be_empty {
            let hint = "name a file: -c ringway.yaml, -c kong.yml, or KONG_DECLARATIVE_CONFIG";
            report.fault(&Span::nowhere(), "", "there is no configuration", hint);
        }
    }
    found.watch.extend(settings.declarative.map(|path| path.value));
    found.own = found.watch.len();
    found.watch.extend(settings.hosts_file.map(|path| path.value));
    found
}

impl Gathered {
    fn read(&mut self, file: &str, open: Open<'_>, report: &mut Report) -> Option<String> {
        self.watch.push(file.to_owned());
        let text = open(file).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
        match text {
            Ok(text) => Some(text),
            Err(error) => {
                let span = Span::new(&Arc::from(file), 0, 0);
                report.fault(&span, "", format!("cannot be read: {error}"), "");
                None
            }
        }
    }
}

/// Is this `key = value`, the settings of a node? No document with entities begins so.
fn is_settings(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let key = first.and_then(|line| line.split_once('=')).map(|(key, _)| key.trim_end());
    key.is_some_and(|key| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// Is there such a file? One that cannot be read is there.
fn exists(open: Open<'_>, path: &str) -> bool {
    !matches!(open(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gathers; `disk` are the files that are there. Gives their names, the settings' in brackets, and what was said.
    fn run(named: &[&str], disk: &[(&str, &str)], env: &[(&str, &str)]) -> String {
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        let env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut report = Report::default();
        let open = |path: &str| {
            let held = disk.iter().find(|(name, _)| *name == path);
            held.map(|(_, text)| text.as_bytes().to_vec()).ok_or(io::ErrorKind::NotFound.into())
        };
        let found = gather(&named, &env, &open, &mut report);
        let mut out: Vec<String> = found.files.into_iter().map(|(name, _)| name).collect();
        out.extend(found.conf.map(|(name, _)| format!("[{name}]")));
        out.push(format!("watch {}", found.watch.join(" ")));
        out.extend(report.findings.iter().map(ToString::to_string));
        out.join("\n")
    }

    #[test]
    fn files_are_found_where_they_are_named_or_usual() {
        let usual = conf::DECLARATIVE_PATH;
        let declarative = ("k.yml", "_format_version: '3.0'");
        let settings = ("/etc/kong/kong.conf", "declarative_config = /k.yml");
        let native = ("n.yaml", "runtime: {}");
        assert_eq!(run(&["n.yaml"], &[native, settings], &[]), "n.yaml\nwatch n.yaml");
        assert_eq!(
            run(&["k.yml", "n.yaml"], &[declarative, native, ("/etc/kong.conf", "")], &[]),
            "k.yml\nn.yaml\n[/etc/kong.conf]\nwatch k.yml n.yaml /etc/kong.conf"
        );
        let json = ("k.json", "{\"services\": [],\n\t\"_format_version\": \"3.0\"}");
        let one_line = ("k.json", r#"{"services": [], "_format_version": "3.0"}"#);
        for json in [json, one_line] {
            let want = "k.json\n[/etc/kong.conf]\nwatch k.json /etc/kong.conf";
            assert_eq!(run(&["k.json"], &[json, ("/etc/kong.conf", "")], &[]), want);
        }
        let remark = ("n.yaml", "# no _format_version\nruntime: {}");
        assert_eq!(run(&["n.yaml"], &[remark, settings], &[]), "n.yaml\nwatch n.yaml");
        assert_eq!(run(&[], &[settings], &[]), "[/etc/kong/kong.conf]\nwatch /etc/kong/kong.conf /k.yml");
        assert_eq!(run(&[], &[], &[("KONG_DECLARATIVE_CONFIG", "/k.yml")]), "watch /k.yml");
        assert_eq!(run(&[], &[(usual, "")], &[("KONG_DATABASE", "postgres")]), format!("{usual}\nwatch {usual}"));
        assert_eq!(run(&[], &[], &[("KONG_DATABASE", "off")]), "watch ");
        assert_eq!(
            run(&[], &[], &[]),
            "watch \n-: there is no configuration; name a file: -c ringway.yaml, -c kong.yml, or KONG_DECLARATIVE_CONFIG"
        );
        assert_eq!(
            run(&["gone.yaml", "n.yaml"], &[native], &[]),
            "n.yaml\nwatch gone.yaml n.yaml\ngone.yaml: cannot be read: entity not found"
        );
        assert_eq!(
            run(
                &["a.conf", "n.yaml", "b.conf"],
                &[("a.conf", "# a\n\nlog_level=info"), native, ("b.conf", "prefix = /")],
                &[]
            ),
            "n.yaml\n[b.conf]\nwatch a.conf n.yaml b.conf\nb.conf: a second file of a node's settings; name one"
        );
    }
}
