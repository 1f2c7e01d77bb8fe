//! What becomes of the body of a request: by its fields, where it is a form or JSON, and by its words.

use super::super::form;
use super::super::transform::arguments::Arguments;
use super::super::transform::json::{Change, Path};
use super::super::transform::lines::{Given, Rendered, Steps};
use super::super::transform::multipart;
use super::super::transform::template::Template;
use super::super::transform::words::{is_text, Words};
use crate::base::limits::TRANSFORMED_BODY_BYTES_MAX;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Bodies whose fields can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Json,
    /// With this boundary.
    Multipart(&'a [u8]),
    Form,
}

impl<'a> Kind<'a> {
    /// By the value of Content-Type, wherever in it the name of the type stands.
    pub(super) fn of(media: &'a [u8]) -> Option<Kind<'a>> {
        let names = |name: &str| media.windows(name.len()).any(|piece| piece.eq_ignore_ascii_case(name.as_bytes()));
        if names("application/json") {
            Some(Kind::Json)
        } else if names("multipart/form-data") {
            form::boundary(media).map(Kind::Multipart)
        } else if names("application/x-www-form-urlencoded") {
            Some(Kind::Form)
        } else {
            None
        }
    }
}

/// Why a request cannot be sent on with its new body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    TooLarge,
    /// A value would be read as more than a value.
    Unsafe,
}

/// What is done to bodies.
pub(super) struct Bodies {
    steps: Steps,
    words: Option<Words>,
    /// The same steps for JSON, where names may be paths.
    remove: Vec<Path>,
    rename: Vec<(Path, String)>,
    replace: Vec<(Path, usize)>,
    add: Vec<(Path, usize)>,
    append: Vec<(Path, usize)>,
}

impl Bodies {
    /// `nested`: are names of JSON members paths?
    pub(super) fn of(steps: Steps, nested: bool, words: Option<Words>) -> Bodies {
        let path = |name: &String| Path::of(name, nested);
        let given = |all: &[Given]| all.iter().map(|given| (path(&given.name), given.value)).collect();
        Bodies {
            remove: steps.remove.iter().map(path).collect(),
            rename: steps.rename.iter().map(|(old, new)| (path(old), new.clone())).collect(),
            replace: given(&steps.replace),
            add: given(&steps.add),
            append: given(&steps.append),
            steps,
            words,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.changes_fields() && !self.changes_words()
    }

    pub(super) fn changes_fields(&self) -> bool {
        !self.steps.is_empty()
    }

    pub(super) fn changes_words(&self) -> bool {
        self.words.is_some()
    }

    /// The new body; `None` where it stays as it is. Words first, then fields.
    pub(super) fn change(
        &self,
        body: &[u8],
        media: Option<&[u8]>,
        templates: &[Template],
        values: &Rendered,
        arguments: &mut Arguments,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let mut body = Cow::Borrowed(body);
        if let Some(words) = self.words.as_ref().filter(|_| is_text(media)) {
            if let Some(new) = words.replace(&body, TRANSFORMED_BODY_BYTES_MAX).map_err(|_| Fault::TooLarge)? {
                body = Cow::Owned(new);
            }
        }
        let kind = media.and_then(Kind::of).filter(|_| self.changes_fields());
        let new = match kind {
            None => None,
            Some(Kind::Json) => self.change_json(&body, templates, values),
            Some(Kind::Multipart(boundary)) => {
                multipart::change(&body, boundary, &self.steps, |value| values.of(templates, value))
                    .map_err(|multipart::Unsafe| Fault::Unsafe)?
            }
            Some(Kind::Form) => {
                arguments.read(&body, |_| false);
                let had = !arguments.is_empty();
                arguments.change(&self.steps, had, |value| values.of(templates, value)).then(|| {
                    let mut out = Vec::new();
                    arguments.write(&mut out);
                    out
                })
            }
        };
        Ok(match (new, body) {
            (Some(new), _) | (None, Cow::Owned(new)) => Some(new),
            (None, Cow::Borrowed(_)) => None,
        })
    }

    fn change_json(&self, body: &[u8], templates: &[Template], values: &Rendered) -> Option<Vec<u8>> {
        // What is no JSON stays as it is; of nothing an object is made where something is added.
        let had = !body.is_empty();
        let mut json = if had { serde_json::from_slice(body).ok()? } else { Value::Object(Map::new()) };
        let mut changed = false;
        if had {
            for path in &self.remove {
                changed |= path.change(&mut json, &Change::Remove);
            }
            for (path, new) in &self.rename {
                changed |= path.change(&mut json, &Change::Rename(new));
            }
        }
        let text = |value: usize| Value::String(values.text(templates, value).into_owned());
        for (path, value) in self.replace.iter().filter(|_| had) {
            changed |= path.change(&mut json, &Change::Replace(&text(*value)));
        }
        for (path, value) in &self.add {
            changed |= path.change(&mut json, &Change::Add(&text(*value)));
        }
        for (path, value) in &self.append {
            changed |= path.change(&mut json, &Change::Append(&text(*value)));
        }
        changed.then(|| json.to_string().into_bytes())
    }
}
