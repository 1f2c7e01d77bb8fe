//! Text → Draft → Plan. Which dialect a file speaks is seen from its keys; several files make one plan.
//!
//! A Kong file brings Kong's defaults and what `kong.conf` and `KONG_*` variables say; the settings of a native file
//! stand over those, and of two native files the later one's. Entities of all files stand side by side. Nothing here
//! opens a file or reads the environment: both are arguments.

pub mod check;
pub mod diagnostics;
pub mod doc;
pub mod gather;
pub mod kong;
pub mod native;
mod pem;

pub use native::Shape;

use crate::base::span::Span;
use crate::hook::Descriptor;
use crate::plan::draft::Draft;
use crate::plan::ids::Table;
use crate::plan::record::Written;
use crate::plan::report::Report;
use crate::plan::schema::Read;
use crate::plan::{link, Plan};
use doc::Node;
use std::sync::Arc;

/// What a configuration is made of.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Names and texts of the files, in the order they were given.
    pub files: &'a [(String, String)],
    /// Name and text of `kong.conf`, where there is one ([`kong::conf::CONF_PATHS`]).
    pub conf: Option<(&'a str, &'a str)>,
    /// Every variable of the process.
    pub env: &'a [(String, String)],
    /// Reads a file that a setting names.
    ///
    /// # Errors
    /// Why it cannot be read, as a sentence.
    pub read: Read<'a>,
}

/// Reads a file that is text.
fn text(read: Read<'_>, path: &str) -> Result<String, String> {
    String::from_utf8(read(path)?).map_err(|_| "it is no text in UTF-8".to_owned())
}

/// The dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Native,
    Kong,
    Envoy,
}

/// The name of a text that was handed in while the gateway runs, in findings.
pub const POSTED: &str = "POST /config";

/// What came of a configuration.
#[derive(Debug)]
pub struct Reading {
    /// The plan, where there is no fault.
    pub plan: Option<Plan>,
    /// Every finding.
    pub report: Report,
    /// The entities as they were written.
    pub written: Written,
}

/// Loads a configuration: a plan where there is no fault, and every finding.
///
/// `random` fills with unpredictable bytes, for ids and secrets that nobody wrote.
pub fn load(
    sources: &Sources<'_>,
    descriptors: &'static [Descriptor],
    random: &mut dyn FnMut(&mut [u8]),
) -> (Option<Plan>, Report) {
    let Reading { plan, report, .. } = read(sources, None, descriptors, random);
    (plan, report)
}

/// As [`load`], and keeps what was written. Where a declarative text is `posted`, all entities are its own: the sources
/// give the settings of the node, and their entities are passed over.
pub fn read(
    sources: &Sources<'_>,
    posted: Option<&str>,
    descriptors: &'static [Descriptor],
    random: &mut dyn FnMut(&mut [u8]),
) -> Reading {
    let mut report = Report::default();
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut docs = Vec::new();
    if let Some((_, text)) = sources.conf {
        digest(&mut hash, text);
    }
    for (name, text) in sources.files {
        take(name, text, &mut docs, &mut hash, &mut report);
    }
    let has_kong = docs.iter().any(|(dialect, ..)| *dialect == Dialect::Kong);
    let variable = |name: &str| sources.env.iter().any(|(held, value)| held == name && !value.is_empty());
    let asks_for_kong = sources.files.is_empty()
        || sources.conf.is_some()
        || variable("KONG_DECLARATIVE_CONFIG")
        || variable("KONG_DECLARATIVE_CONFIG_STRING");
    let mut node = if has_kong || asks_for_kong {
        let conf = kong::conf::read(sources.conf, sources.env, &mut report);
        let mut node = conf.node;
        if let Some(path) = &conf.hosts_file {
            match text(sources.read, &path.value) {
                Ok(text) => {
                    digest(&mut hash, &text);
                    node.node.hosts = kong::conf::hosts(&text);
                }
                Err(why) => report.fault(&path.span, "", format!("cannot read {}: {why}", path.value), ""),
            }
        }
        // Files that were named to us stand for those that settings name.
        if !has_kong && posted.is_none() {
            if let Some(text) = &conf.declarative_text {
                take(&text.span.to_string(), &text.value, &mut docs, &mut hash, &mut report);
            } else if let Some(path) = &conf.declarative {
                match text(sources.read, &path.value) {
                    Ok(text) => take(&path.value, &text, &mut docs, &mut hash, &mut report),
                    Err(why) => report.fault(&path.span, "", format!("cannot read {}: {why}", path.value), ""),
                }
            }
        }
        node
    } else {
        native::defaults()
    };

    // Settings first, as they go into the draft; vaults before any reference to them.
    let nouns = kong::nouns();
    let mut vaults = kong::Vaults::new(sources.env);
    let mut ready = Vec::with_capacity(docs.len());
    for (dialect, doc, text) in docs {
        let doc = match dialect {
            Dialect::Native => native::read(doc, &nouns, &mut node, &mut report),
            Dialect::Kong => doc,
            Dialect::Envoy => {
                let hint = "declare services and routes in ringway.yaml or kong.yml";
                report.fault(&doc.span, "", "an Envoy bootstrap: this dialect is not read yet", hint);
                continue;
            }
        };
        // A native file without entities is no source of them.
        if dialect == Dialect::Kong || doc.map().is_some_and(|lists| !lists.is_empty()) {
            ready.push((dialect, doc, text));
        }
    }
    if let Some(text) = posted {
        digest(&mut hash, text);
        let doc = doc::parse(&Arc::from(POSTED), text, &mut report);
        ready = doc.map(|doc| (Dialect::Kong, doc, sha256(text))).into_iter().collect();
    }
    pem::resolve(&mut node, sources.read, &mut |bytes| digest_bytes(&mut hash, bytes), &mut report);
    ready.iter().for_each(|(_, doc, _)| vaults.learn(doc));
    let digest = match ready.as_slice() {
        [(Dialect::Kong, _, text)] => Some(*text),
        _ => None,
    };
    let is_absent = ready.is_empty();
    let mut draft = Draft::new(node);
    let mut reader = kong::Reader {
        draft: &mut draft,
        report: &mut report,
        vaults: &vaults,
        descriptors,
        random,
        transform: true,
        read: Some(sources.read),
        shown: None,
    };
    for (dialect, doc, _) in ready {
        if dialect == Dialect::Kong {
            kong::read(doc, &mut reader);
        } else {
            reader.transform = true;
            kong::entities(doc, &mut reader);
        }
    }
    pem::entities(&mut draft, sources.read, &mut |bytes| digest_bytes(&mut hash, bytes), &mut report);
    for (_, made) in draft.plugins.iter().flat_map(|plugin| &plugin.files) {
        digest_bytes(&mut hash, made);
    }
    let hash = hash.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let written = Written { records: std::mem::take(&mut draft.records), digest, is_absent };
    let (plan, report) = link::link(draft, hash, report);
    Reading { plan, report, written }
}

/// Checks one entity of a kind that stands by itself, as nested in nothing; findings have paths within it. References
/// are looked at, and not followed.
pub fn validate(table: Table, entity: &Node, descriptors: &'static [Descriptor]) -> Report {
    let (mut draft, mut report) = (Draft::new(native::defaults()), Report::default());
    let vaults = kong::Vaults::new(&[]);
    // Nothing of what is read is kept, and so no secret that nobody wrote.
    let random = &mut |bytes: &mut [u8]| bytes.fill(0);
    let mut reader = kong::Reader {
        draft: &mut draft,
        report: &mut report,
        vaults: &vaults,
        descriptors,
        random,
        transform: true,
        read: None,
        shown: None,
    };
    kong::one(table, entity, &mut reader);
    report
}

/// Every kind of entity as its rows.
pub fn shapes() -> Vec<Shape> {
    kong::shapes()
}

/// What a text is compared by with one that is served.
pub fn sha256(text: &str) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// The JSON Schema of the native dialect, with what these plugins take.
pub fn schema(plugins: &[Descriptor]) -> serde_json::Value {
    native::schema(&kong::shapes(), plugins)
}

/// Parses a file and sees what it speaks.
fn take(
    name: &str,
    text: &str,
    docs: &mut Vec<(Dialect, Node, [u8; 32])>,
    hash: &mut aws_lc_rs::digest::Context,
    report: &mut Report,
) {
    digest(hash, text);
    let file: Arc<str> = Arc::from(name);
    let Some(doc) = doc::parse(&file, text, report) else { return };
    if doc.is_null() {
        report.warning(&Span::new(&file, 1, 1), "", "the file is empty", "");
        return;
    }
    docs.push((dialect(&doc), doc, sha256(text)));
}

/// Adds a source to the hash; its length keeps two apart from one that is both.
fn digest(hash: &mut aws_lc_rs::digest::Context, text: &str) {
    digest_bytes(hash, text.as_bytes());
}

fn digest_bytes(hash: &mut aws_lc_rs::digest::Context, bytes: &[u8]) {
    hash.update(&(bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

/// What a document speaks. A document that says nothing of itself is native, but entities without the version that
/// Kong asks for, in a file without any of our settings, are as native as they are Kong's.
fn dialect(doc: &Node) -> Dialect {
    let has = |key: &str| doc.get(key).is_some();
    if has(kong::VERSION_KEY) {
        return Dialect::Kong;
    }
    let envoy = has("static_resources") || has("dynamic_resources") || has("layered_runtime");
    if envoy {
        return Dialect::Envoy;
    }
    Dialect::Native
}
