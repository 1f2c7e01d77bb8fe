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

use crate::base::span::Span;
use crate::hook::Descriptor;
use crate::plan::draft::Draft;
use crate::plan::report::Report;
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
    pub read: &'a dyn Fn(&str) -> Result<String, String>,
}

/// The dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Native,
    Kong,
    Envoy,
}

/// Loads a configuration: a plan where there is no fault, and every finding.
///
/// `random` fills with unpredictable bytes, for ids and secrets that nobody wrote.
pub fn load(
    sources: &Sources<'_>,
    descriptors: &'static [Descriptor],
    random: &mut dyn FnMut(&mut [u8]),
) -> (Option<Plan>, Report) {
    let mut report = Report::default();
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut docs = Vec::new();
    if let Some((_, text)) = sources.conf {
        digest(&mut hash, text);
    }
    for (name, text) in sources.files {
        take(name, text, &mut docs, &mut hash, &mut report);
    }
    let has_kong = docs.iter().any(|(dialect, _)| *dialect == Dialect::Kong);
    let variable = |name: &str| sources.env.iter().any(|(held, value)| held == name && !value.is_empty());
    let asks_for_kong = sources.files.is_empty()
        || sources.conf.is_some()
        || variable("KONG_DECLARATIVE_CONFIG")
        || variable("KONG_DECLARATIVE_CONFIG_STRING");
    let mut node = if has_kong || asks_for_kong {
        let conf = kong::conf::read(sources.conf, sources.env, &mut report);
        let mut node = conf.node;
        if let Some(path) = &conf.hosts_file {
            match (sources.read)(&path.value) {
                Ok(text) => {
                    digest(&mut hash, &text);
                    node.node.hosts = kong::conf::hosts(&text);
                }
                Err(why) => report.fault(&path.span, "", format!("cannot read {}: {why}", path.value), ""),
            }
        }
        // Files that were named to us stand for those that settings name.
        if !has_kong {
            if let Some(text) = &conf.declarative_text {
                take(&text.span.to_string(), &text.value, &mut docs, &mut hash, &mut report);
            } else if let Some(path) = &conf.declarative {
                match (sources.read)(&path.value) {
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
    for (dialect, doc) in docs {
        let doc = match dialect {
            Dialect::Native => native::read(doc, &nouns, &mut node, &mut report),
            Dialect::Kong => doc,
            Dialect::Envoy => {
                let hint = "declare services and routes in ringway.yaml or kong.yml";
                report.fault(&doc.span, "", "an Envoy bootstrap: this dialect is not read yet", hint);
                continue;
            }
        };
        vaults.learn(&doc);
        ready.push((dialect, doc));
    }
    let mut draft = Draft::new(node);
    let mut reader =
        kong::Reader { draft: &mut draft, report: &mut report, vaults: &vaults, descriptors, random, transform: true };
    for (dialect, doc) in ready {
        if dialect == Dialect::Kong {
            kong::read(doc, &mut reader);
        } else {
            reader.transform = true;
            kong::entities(&doc, &mut reader);
        }
    }
    let hash = hash.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
    link::link(draft, hash, report)
}

/// The JSON Schema of the native dialect, with what these plugins take.
pub fn schema(plugins: &[Descriptor]) -> serde_json::Value {
    native::schema(&kong::shapes(), plugins)
}

/// Parses a file and sees what it speaks.
fn take(
    name: &str,
    text: &str,
    docs: &mut Vec<(Dialect, Node)>,
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
    docs.push((dialect(&doc), doc));
}

/// Adds a source to the hash; its length keeps two apart from one that is both.
fn digest(hash: &mut aws_lc_rs::digest::Context, text: &str) {
    hash.update(&(text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
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
