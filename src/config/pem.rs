//! Files that settings of TLS name: their texts take the place of their names, when all settings have been read.
//!
//! A setting may hold the text itself, as PEM or as that in base64. What is neither is a path where it looks like one, and
//! is not repeated where it does not: it may be a key that lost a letter.

use crate::base::span::Span;
use crate::plan::draft::Draft;
use crate::plan::node::NodeDraft;
use crate::plan::report::Report;
use crate::plan::schema::Read;
use crate::plan::tls::{PemPair, TlsOptions};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;

struct Reading<'a> {
    read: Read<'a>,
    report: &'a mut Report,
    hash: &'a mut dyn FnMut(&[u8]),
}

/// Reads all of them; `hash` is given what was read, so that a changed file makes another configuration.
pub(super) fn resolve(
    node: &mut NodeDraft,
    read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    hash: &mut dyn FnMut(&[u8]),
    report: &mut Report,
) {
    let mut reading = Reading { read, report, hash };
    let at = node.tls_at.clone();
    let tls = &mut node.node.tls;
    reading.options(&mut tls.listeners, &at);
    reading.pairs(&mut tls.admin);
    for mut authorities in std::mem::take(&mut node.upstream_authorities) {
        reading.text(&mut authorities, "authorities", false, &at);
        if !authorities.trim().is_empty() {
            tls.upstream_authorities += authorities.trim_end();
            tls.upstream_authorities.push('\n');
        }
    }
    for secret in &mut tls.ticket_secrets {
        let path = secret.0.clone();
        reading.file(&mut secret.0, &path, &at);
        if !secret.0.is_empty() && secret.0.trim().len() < 32 {
            let message = "a secret of session tickets needs 32 characters at least";
            reading.report.fault(&at, "tls.ticket_keys", message, "make one: head -c 48 /dev/urandom | base64");
        }
    }
    let clients = node.listeners.iter_mut().map(|listener| (&mut listener.value.bind, &listener.span));
    let admin = node.admin.iter_mut().map(|admin| (&mut admin.value, &admin.span));
    for (bind, span) in clients.chain(admin) {
        if let Some(options) = &mut bind.options {
            reading.options(options, span);
        }
    }
}

/// Reads the files that certificates and authorities name in the place of a text, likewise.
pub(super) fn entities(
    draft: &mut Draft,
    read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    hash: &mut dyn FnMut(&[u8]),
    report: &mut Report,
) {
    let mut reading = Reading { read, report, hash };
    for pem in &mut draft.pems {
        let of = draft.others.iter().find(|other| other.common.id == pem.id);
        let at = of.map_or_else(Span::nowhere, |other| other.common.at.clone());
        for pair in &mut pem.pairs {
            let named = [&pair.chain, &pair.key.0].map(|text| if text.starts_with('/') { text.trim() } else { "" });
            pair.files = named.join(" ").trim().to_owned();
            for text in [&mut pair.chain, &mut pair.key.0].into_iter().filter(|text| text.starts_with('/')) {
                *text = text.trim().to_owned();
                reading.file(text, &text.clone(), &at);
            }
        }
    }
}

impl Reading<'_> {
    fn options(&mut self, options: &mut TlsOptions, at: &Span) {
        self.pairs(&mut options.default);
        let of_names = options.of_names.iter_mut().map(|(_, client)| client);
        for client in std::iter::once(&mut options.client).chain(of_names) {
            self.text(&mut client.authorities, "authorities", false, at);
            self.text(&mut client.revoked, "list", false, at);
        }
    }

    fn pairs(&mut self, pairs: &mut [PemPair]) {
        for pair in pairs {
            let at = &pair.at;
            let named = [
                self.text(&mut pair.chain, "certificate", pair.is_secret, at),
                self.text(&mut pair.key.0, "key", pair.is_secret, at),
            ];
            pair.files = named.into_iter().flatten().collect::<Vec<_>>().join(" ");
            if !pair.staple_file.is_empty() {
                pair.staple = self.bytes(&pair.staple_file, &pair.staple_file, at).unwrap_or_default();
            }
        }
    }

    /// A text that is PEM already stays; the file it was read from, otherwise. `noun`: what it ought to be.
    fn text(&mut self, text: &mut String, noun: &str, is_secret: bool, at: &Span) -> Option<String> {
        if text.is_empty() || is_pem(text) {
            return None;
        }
        if let Some(pem) = of_base64(text) {
            *text = pem;
            return None;
        }
        // A reference may hold anything; what begins at the root is no key.
        if !is_path(text) || (is_secret && !text.starts_with('/')) {
            let message = format!("the {noun} is neither PEM, nor PEM in base64, nor the path of a file");
            self.report.fault(at, "", message, "");
            text.clear();
            return None;
        }
        let path = text.clone();
        self.file(text, if is_secret { "the file that is referred to" } else { &path }, at);
        Some(path)
    }

    /// Reads the file that `text` names; messages call it `shown`.
    fn file(&mut self, text: &mut String, shown: &str, at: &Span) {
        if text.is_empty() {
            return;
        }
        let held = self.bytes(text, shown, at).unwrap_or_default();
        *text = String::from_utf8(held).unwrap_or_else(|_| {
            self.report.fault(at, "", format!("cannot read {shown}: it is no text; PEM is asked for"), "");
            String::new()
        });
    }

    fn bytes(&mut self, path: &str, shown: &str, at: &Span) -> Option<Vec<u8>> {
        match (self.read)(path) {
            Ok(held) => {
                (self.hash)(&held);
                Some(held)
            }
            Err(why) => {
                self.report.fault(at, "", format!("cannot read {shown}: {why}"), "");
                None
            }
        }
    }
}

fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN")
}

/// PEM that was written in base64.
fn of_base64(text: &str) -> Option<String> {
    let letters: String = text.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(letters).ok()?;
    String::from_utf8(bytes).ok().filter(|text| is_pem(text))
}

/// May this name a file? A key in base64 has 150 letters at least, and does not begin as a path does.
fn is_path(text: &str) -> bool {
    let is_rooted = ["/", "./", "../"].iter().any(|start| text.starts_with(start));
    let is_short = text.len() <= if is_rooted { 4096 } else { 100 };
    is_short && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tls::Hidden;

    const PEM: &str = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ==\n-----END EC PRIVATE KEY-----\n";

    /// What becomes of a key that is written so, and what is said.
    fn read(written: &str, is_secret: bool) -> (String, String) {
        let mut pair = [PemPair { key: Hidden(written.to_owned()), is_secret, ..PemPair::default() }];
        let read = |path: &str| match path {
            "/a.key" | "a.key" => Ok(PEM.as_bytes().to_vec()),
            _ => Err("there is none".to_owned()),
        };
        let mut report = Report::default();
        Reading { read: &read, report: &mut report, hash: &mut |_| () }.pairs(&mut pair);
        let said = report.findings.iter().map(|finding| finding.message.clone()).collect();
        (pair[0].key.0.clone(), said)
    }

    #[test]
    fn a_key_is_a_file_or_a_text_and_never_repeated() {
        let letters = STANDARD.encode(PEM.repeat(3));
        let neither = "the key is neither PEM, nor PEM in base64, nor the path of a file";
        let rows = [
            ("/a.key", false, PEM, ""),
            ("/a.key", true, PEM, ""),
            ("a.key", false, PEM, ""),
            ("/b.key", true, "", "cannot read the file that is referred to: there is none"),
            ("a.key", true, "", neither),
            ("/b.key", false, "", "cannot read /b.key: there is none"),
            ("b.key", false, "", "cannot read b.key: there is none"),
            (PEM, true, PEM, ""),
            (&STANDARD.encode(PEM), true, PEM, ""),
            (&letters, false, &PEM.repeat(3), ""),
            (&letters[1..], false, "", neither),
            (&PEM.replace("BEGIN", "BEGN"), false, "", neither),
        ];
        for (written, is_secret, want, said) in rows {
            assert_eq!(read(written, is_secret), (want.to_owned(), said.to_owned()), "{written}");
        }
    }
}
