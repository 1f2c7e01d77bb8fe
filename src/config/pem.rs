//! Files that settings of TLS name: their texts take the place of their names, when all settings have been read.

use crate::base::span::Span;
use crate::plan::node::NodeDraft;
use crate::plan::report::Report;
use crate::plan::schema::Read;
use crate::plan::tls::TlsOptions;

struct Reading<'a> {
    read: Read<'a>,
    report: &'a mut Report,
    hash: &'a mut dyn FnMut(&str),
}

/// Reads all of them; `hash` is given what was read, so that a changed file makes another configuration.
pub(super) fn resolve(node: &mut NodeDraft, read: Read<'_>, hash: &mut dyn FnMut(&str), report: &mut Report) {
    let mut reading = Reading { read, report, hash };
    let at = node.tls_at.clone();
    let tls = &mut node.node.tls;
    reading.options(&mut tls.listeners, &at);
    reading.text(&mut tls.upstream_authorities, &at);
    for secret in &mut tls.ticket_secrets {
        reading.file(&mut secret.0, &at);
        if !secret.0.is_empty() && secret.0.trim().len() < 32 {
            let message = "a secret of session tickets needs 32 characters at least";
            reading.report.fault(&at, "tls.ticket_keys", message, "make one: head -c 48 /dev/urandom | base64");
        }
    }
    for listener in &mut node.listeners {
        if let Some(options) = &mut listener.value.bind.options {
            reading.options(options, &listener.span);
        }
    }
}

impl Reading<'_> {
    fn options(&mut self, options: &mut TlsOptions, at: &Span) {
        for pair in &mut options.default {
            self.text(&mut pair.chain, at);
            self.text(&mut pair.key.0, at);
        }
        self.text(&mut options.client_authorities, at);
        self.text(&mut options.client_revoked, at);
    }

    /// A text that is PEM already stays.
    fn text(&mut self, text: &mut String, at: &Span) {
        if !text.contains("-----BEGIN") {
            self.file(text, at);
        }
    }

    fn file(&mut self, text: &mut String, at: &Span) {
        if text.is_empty() {
            return;
        }
        match super::text(self.read, text) {
            Ok(held) => {
                (self.hash)(&held);
                *text = held;
            }
            Err(why) => {
                self.report.fault(at, "", format!("cannot read {text}: {why}"), "");
                text.clear();
            }
        }
    }
}
