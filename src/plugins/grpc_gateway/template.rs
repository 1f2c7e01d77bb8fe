//! Paths of `google.api.http`: literals, `*` for a segment, `**` for all that are left, variables over some of them, and a verb.
//!
//! ```text
//!   Template = "/" Segments [ ":" Verb ]          Segment = "*" | "**" | literal | Variable
//!   Segments = Segment { "/" Segment }            Variable = "{" Field { "." Field } [ "=" Segments ] "}"
//! ```

use std::borrow::Cow;

/// A path's shape.
#[derive(Debug)]
pub(super) struct Template {
    segments: Vec<Segment>,
    verb: Option<String>,
    variables: Vec<Variable>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    One,
    /// The last, and any number of segments.
    Rest,
}

#[derive(Debug)]
struct Variable {
    /// `a.b`.
    field: String,
    from: usize,
    to: usize,
}

/// What a variable stands for in a path.
#[derive(Debug)]
pub(super) struct Bound<'t, 'p> {
    pub(super) field: &'t str,
    raw: &'p [u8],
    /// Is it one segment? Then no slash in it can be mistaken for one between segments.
    single: bool,
}

impl<'p> Bound<'_, 'p> {
    /// As text: of one segment everything is decoded, of several what is reserved stays encoded, so that each slash that is
    /// seen is one between segments.
    ///
    /// # Errors
    /// Where it is no text.
    pub(super) fn text(&self) -> Result<Cow<'p, str>, String> {
        let text = match self.single {
            true => percent_encoding::percent_decode(self.raw).decode_utf8(),
            false => std::str::from_utf8(self.raw).map(Cow::Borrowed),
        };
        text.map_err(|_| format!("{} in the path is no text in UTF-8", self.field))
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Template, String> {
        let wrong = |what: &str| Err(format!("{text:?}: {what}"));
        let Some(mut rest) = text.strip_prefix('/') else { return wrong("a path begins with /") };
        let mut template = Template { segments: Vec::new(), verb: None, variables: Vec::new() };
        loop {
            if let Some(inner) = rest.strip_prefix('{') {
                let Some(end) = inner.find('}') else { return wrong("{ without }") };
                let (field, pattern) = inner[..end].split_once('=').unwrap_or((&inner[..end], "*"));
                if !field.split('.').all(is_name) {
                    return wrong("a variable is named like a field");
                }
                let from = template.segments.len();
                for piece in pattern.split('/') {
                    template
                        .segments
                        .push(Segment::of(piece).ok_or_else(|| format!("{text:?}: bad segment {piece:?}"))?);
                }
                template.variables.push(Variable { field: field.to_owned(), from, to: template.segments.len() });
                rest = &inner[end + 1..];
            } else {
                let end = rest.find(['/', ':']).unwrap_or(rest.len());
                let piece = &rest[..end];
                template.segments.push(Segment::of(piece).ok_or_else(|| format!("{text:?}: bad segment {piece:?}"))?);
                rest = &rest[end..];
            }
            match rest.as_bytes().first() {
                Some(b'/') => rest = &rest[1..],
                Some(b':') => {
                    if !is_literal(&rest[1..]) {
                        return wrong("a verb is a word");
                    }
                    template.verb = Some(rest[1..].to_owned());
                    break;
                }
                Some(_) => return wrong("a variable is a whole segment"),
                None => break,
            }
        }
        let rests = template.segments.iter().position(|segment| *segment == Segment::Rest);
        if rests.is_some_and(|at| at + 1 != template.segments.len()) {
            return wrong("** is the last segment");
        }
        Ok(template)
    }

    /// The variables' fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.field.as_str())
    }

    /// What comes first among templates: literals before `*` before `**`, segment by segment, and verbs before none.
    pub(super) fn rank(&self) -> (bool, Vec<u8>) {
        let class = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::One => 1,
            Segment::Rest => 2,
        };
        (self.verb.is_none(), self.segments.iter().map(class).collect())
    }

    /// What the variables stand for in a normalised path, if it is of this shape. O(path).
    pub(super) fn bind<'t, 'p>(&'t self, path: &'p [u8]) -> Option<Vec<Bound<'t, 'p>>> {
        let mut path = path.strip_prefix(b"/")?;
        if let Some(verb) = &self.verb {
            path = path.strip_suffix(verb.as_bytes())?.strip_suffix(b":")?;
        }
        // Where each segment begins and ends; that of `**` is all that is left.
        let mut spans = Vec::with_capacity(self.segments.len());
        let mut at = 0;
        for (ix, segment) in self.segments.iter().enumerate() {
            let is_last = ix + 1 == self.segments.len();
            if *segment == Segment::Rest {
                spans.push((at.min(path.len()), path.len()));
                at = path.len() + 1;
                continue;
            }
            let left = path.get(at..)?;
            let len = memchr::memchr(b'/', left).unwrap_or(left.len());
            let piece = &left[..len];
            let fits = match segment {
                Segment::Literal(text) => piece == text.as_bytes(),
                Segment::One => !piece.is_empty(),
                Segment::Rest => false,
            };
            if !fits || is_last && len != left.len() {
                return None;
            }
            spans.push((at, at + len));
            at += len + 1;
        }
        let bound = self.variables.iter().map(|variable| {
            let (from, to) = (spans[variable.from].0, spans[variable.to - 1].1);
            let single = variable.to - variable.from == 1 && self.segments[variable.from] != Segment::Rest;
            Bound { field: &variable.field, raw: &path[from.min(to)..to], single }
        });
        Some(bound.collect())
    }
}

impl Segment {
    fn of(text: &str) -> Option<Segment> {
        match text {
            "*" => Some(Segment::One),
            "**" => Some(Segment::Rest),
            text if is_literal(text) => Some(Segment::Literal(text.to_owned())),
            _ => None,
        }
    }
}

fn is_literal(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '{', '}', '*', '?', '#', ':', '='])
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, path: &str, want: Option<&[(&str, &str)]>) {
        let template = Template::parse(template).unwrap();
        let bound = template.bind(path.as_bytes());
        let got = bound.as_ref().map(|bound| {
            bound.iter().map(|one| (one.field.to_owned(), one.text().unwrap().into_owned())).collect::<Vec<_>>()
        });
        let want = want.map(|want| want.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>());
        assert_eq!(got, want, "{template:?} {path}");
    }

    #[test]
    fn variables_stand_for_segments() {
        check("/v1/books", "/v1/books", Some(&[]));
        check("/v1/books", "/v1/books/7", None);
        check("/v1/books", "/v1/book", None);
        check("/v1/books/{id}", "/v1/books/7", Some(&[("id", "7")]));
        check("/v1/books/{id}", "/v1/books/", None);
        check("/v1/books/{id}", "/v1/books/a%2Fb%20c", Some(&[("id", "a/b c")]));
        check("/v1/{a.b}/x/{c}", "/v1/1/x/2", Some(&[("a.b", "1"), ("c", "2")]));
        check("/v1/{name=shelves/*/books/*}", "/v1/shelves/1/books/a%2Fb", Some(&[("name", "shelves/1/books/a%2Fb")]));
        check("/v1/{name=shelves/*}", "/v1/shelves/1/2", None);
        check("/v1/{name=files/**}", "/v1/files/a/b%2Fc", Some(&[("name", "files/a/b%2Fc")]));
        check("/v1/{name=files/**}", "/v1/files", Some(&[("name", "files")]));
        check("/v1/{name=**}:copy", "/v1/a/b:copy", Some(&[("name", "a/b")]));
        check("/v1/{name=**}:copy", "/v1/a/b", None);
        check("/v1/{id}:cancel", "/v1/7:cancel", Some(&[("id", "7")]));
        check("/v1/{id}", "/v1/7:cancel", Some(&[("id", "7:cancel")]));
        check("/v1/*/{id}", "/v1/any/7", Some(&[("id", "7")]));
        check("/v1/**", "/v1", Some(&[]));
        check("/v1/**", "/v2", None);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in
            ["v1", "/", "/a//b", "/{a", "/{}", "/{a=}", "/{a-b}", "/**/a", "/{a=**}/b", "/a:b:c", "/a:", "/{a}b", "/a*"]
        {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        let why = Template::parse("/{a=**}/b").unwrap_err();
        assert_eq!(why, r#""/{a=**}/b": ** is the last segment"#);
    }

    #[test]
    fn what_says_more_comes_first() {
        let mut all = ["/v1/**", "/v1/{a}", "/v1/x", "/v1/{a}:do", "/v1/x/{a}"]
            .map(|text| (Template::parse(text).unwrap().rank(), text));
        all.sort();
        assert_eq!(all.map(|(_, text)| text), ["/v1/{a}:do", "/v1/x", "/v1/x/{a}", "/v1/{a}", "/v1/**"]);
    }
}
