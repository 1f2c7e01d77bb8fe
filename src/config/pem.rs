//! Files that settings of TLS name: their texts take the place of their names, when all settings have been read.

use crate::base::span::Span;
use crate::plan::draft::Draft;
use crate::plan::node::NodeDraft;
use crate::plan::report::Report;
use crate::plan::schema::Read;
use crate::plan::tls::{PemPair, TlsOptions};

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
    reading.pairs(&mut tls.admin, &at);
    reading.text(&mut tls.upstream_authorities, &at);
    for secret in &mut tls.ticket_secrets {
        reading.file(&mut secret.0, &at);
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
                reading.file(text, &at);
            }
        }
    }
}

impl Reading<'_> {
    fn options(&mut self, options: &mut TlsOptions, at: &Span) {
        self.pairs(&mut options.default, at);
        let of_names = options.of_names.iter_mut().map(|(_, client)| client);
        for client in std::iter::once(&mut options.client).chain(of_names) {
            self.text(&mut client.authorities, at);
            self.text(&mut client.revoked, at);
        }
    }

    fn pairs(&mut self, pairs: &mut [PemPair], at: &Span) {
        for pair in pairs {
            let named = [pair.chain.as_str(), pair.key.0.as_str()].map(|text| if is_pem(text) { "" } else { text });
            pair.files = named.join(" ").trim().to_owned();
            self.text(&mut pair.chain, at);
            self.text(&mut pair.key.0, at);
            if !pair.staple_file.is_empty() {
                pair.staple = self.bytes(&pair.staple_file, at).unwrap_or_default();
            }
        }
    }

    /// A text that is PEM already stays.
    fn text(&mut self, text: &mut String, at: &Span) {
        if !is_pem(text) {
            self.file(text, at);
        }
    }

    fn file(&mut self, text: &mut String, at: &Span) {
        if text.is_empty() {
            return;
        }
        let held = self.bytes(text, at).unwrap_or_default();
        *text = String::from_utf8(held).unwrap_or_else(|_| {
            self.report.fault(at, "", format!("cannot read {text}: it is no text; PEM is asked for"), "");
            String::new()
        });
    }

    fn bytes(&mut self, path: &str, at: &Span) -> Option<Vec<u8>> {
        match (self.read)(path) {
            Ok(held) => {
                (self.hash)(&held);
                Some(held)
            }
            Err(why) => {
                self.report.fault(at, "", format!("cannot read {path}: {why}"), "");
                None
            }
        }
    }
}

fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN")
}
