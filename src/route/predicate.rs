//! What a route asks for beside host and path: method, headers, TLS server name. The table asks them of the few
//! candidates that host and path leave; `candidates.rs` splits by them where candidates are many.

use super::host::{fits, name_of};
use super::pattern::{Patterns, Scratchpad};
use super::{Fields, Query};
use crate::plan::{HeaderWant, HostName, Route};

/// The predicates of one route; all must hold. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Needs {
    /// One of these, byte for byte.
    pub(super) methods: Box<[Box<[u8]>]>,
    /// All of these.
    pub(super) headers: Box<[HeaderNeed]>,
    /// One of these, where there is TLS.
    pub(super) snis: Box<[HostName]>,
}

/// A header and what it must say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HeaderNeed {
    /// Lower-case name.
    pub(super) name: Box<str>,
    /// What any of its values must be.
    pub(super) want: Want,
}

/// What a value must be, after it was put in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Want {
    /// One of these.
    OneOf(Box<[Box<[u8]>]>),
    /// Found in it: an index into the table's patterns.
    Pattern(u32),
}

impl Needs {
    /// The predicates of `route`; its header patterns go to `patterns`.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub(super) fn of(route: &Route, patterns: &mut Patterns) -> Result<Needs, String> {
        let mut headers = Vec::with_capacity(route.headers.len());
        for header in &route.headers {
            let want = match &header.want {
                HeaderWant::OneOf(values) => {
                    Want::OneOf(values.iter().map(|value| value.to_ascii_lowercase().into_bytes().into()).collect())
                }
                HeaderWant::Regex(text) => Want::Pattern(patterns.add_value(text)?),
            };
            headers.push(HeaderNeed { name: header.name.to_ascii_lowercase().into(), want });
        }
        Ok(Needs {
            methods: route.methods.iter().map(|method| method.as_bytes().into()).collect(),
            headers: headers.into(),
            snis: route.snis.iter().map(|sni| sni_pattern(sni)).collect(),
        })
    }

    /// Asks for nothing?
    pub(super) fn is_empty(&self) -> bool {
        self.methods.is_empty() && self.headers.is_empty() && self.snis.is_empty()
    }

    /// Do all hold? Cheapest first.
    pub(super) fn hold<F: Fields + ?Sized>(
        &self,
        query: &Query<'_, F>,
        patterns: &Patterns,
        pad: &mut Scratchpad,
    ) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|method| **method == *query.method))
            && (self.snis.is_empty() || sni_fits(&self.snis, query))
            && self.headers.iter().all(|need| {
                query.headers.any(&need.name, |value| match &need.want {
                    Want::OneOf(wanted) => wanted.iter().any(|want| want.eq_ignore_ascii_case(value)),
                    Want::Pattern(ix) => patterns.found_in_lower(*ix, value, pad),
                })
            })
    }
}

/// A server name of a route: `a.test`, `*.test`, `a.*`; a final dot says nothing.
pub(super) fn sni_pattern(text: &str) -> HostName {
    let text = text.to_ascii_lowercase();
    name_of(if text.len() > 1 { text.strip_suffix('.').unwrap_or(&text) } else { &text })
}

/// Without TLS nobody asks; with TLS and no server name, no pattern fits.
pub(super) fn sni_fits<F: Fields + ?Sized>(snis: &[HostName], query: &Query<'_, F>) -> bool {
    if !query.tls {
        return true;
    }
    sni_asked(query).is_some_and(|sni| snis.iter().any(|pattern| fits(pattern, sni)))
}

/// The server name of the handshake without a final dot.
pub(super) fn sni_asked<'a, F: Fields + ?Sized>(query: &Query<'a, F>) -> Option<&'a [u8]> {
    query.sni.map(|sni| sni.strip_suffix('.').unwrap_or(sni).as_bytes())
}
