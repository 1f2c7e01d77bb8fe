//! The lines of a transformer's configuration: lists of `name:value`, or maps of the same, and of names.

use super::template::Template;
use serde_json::Value;
use std::borrow::Cow;

/// Name and value of a line: the name ends at the first colon, and colons that follow it are no part of the value.
pub(in crate::plugins) fn split(line: &str) -> (&str, &str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name, value.trim_start_matches(':'))
}

/// Every pair of a list of lines, or of a map.
pub(in crate::plugins) fn pairs(value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Array(lines) => {
            let lines = lines.iter().filter_map(Value::as_str).map(split);
            lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        }
        Value::Object(map) => {
            map.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
        }
        _ => Vec::new(),
    }
}

/// The names of a list.
pub(in crate::plugins) fn names(value: &Value) -> Vec<String> {
    let lines = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    // A name may come with a value that means nothing.
    lines.map(|line| split(line).0.to_owned()).collect()
}

/// What is done to the things of one kind, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::plugins) struct Steps {
    pub(in crate::plugins) remove: Vec<String>,
    /// Old name, new name.
    pub(in crate::plugins) rename: Vec<(String, String)>,
    /// Only what is there.
    pub(in crate::plugins) replace: Vec<Given>,
    /// Only what is not there.
    pub(in crate::plugins) add: Vec<Given>,
    /// Beside what is there.
    pub(in crate::plugins) append: Vec<Given>,
}

/// A name, and the place of its value among those of the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugins) struct Given {
    pub(in crate::plugins) name: String,
    pub(in crate::plugins) value: usize,
}

impl Steps {
    /// Reads `remove.part`, `rename.part`, … of a configuration; values become templates.
    ///
    /// # Errors
    /// A template that cannot be read.
    pub(in crate::plugins) fn read(config: &Value, part: &str, values: &mut Vec<Template>) -> Result<Steps, String> {
        let mut given = |step: &str| -> Result<Vec<Given>, String> {
            let mut all = Vec::new();
            // A map of texts is no list of names.
            if step == "replace" && part == "body" && config[step][part].is_object() {
                return Ok(all);
            }
            for (name, text) in pairs(&config[step][part]).into_iter().filter(|(_, text)| !text.is_empty()) {
                values.push(Template::parse(&text)?);
                all.push(Given { name, value: values.len() - 1 });
            }
            Ok(all)
        };
        let rename = pairs(&config["rename"][part]).into_iter().filter(|(_, new)| !new.is_empty()).collect();
        Ok(Steps {
            remove: names(&config["remove"][part]),
            rename,
            replace: given("replace")?,
            add: given("add")?,
            append: given("append")?,
        })
    }

    pub(in crate::plugins) fn is_empty(&self) -> bool {
        *self == Steps::default()
    }
}

/// Values of the templates for one request, in a buffer that is used again.
#[derive(Default)]
pub(in crate::plugins) struct Rendered {
    text: Vec<u8>,
    spans: Vec<(u32, u32)>,
}

impl Rendered {
    /// Renders those that ask something of the request; `false` where one of them cannot be.
    pub(in crate::plugins) fn render(&mut self, templates: &[Template], of: &super::values::Source<'_>) -> bool {
        self.text.clear();
        self.spans.clear();
        templates.iter().all(|template| {
            let from = self.text.len() as u32;
            let rendered = template.literal().is_some() || template.render(of, &mut self.text).is_ok();
            self.spans.push((from, self.text.len() as u32));
            rendered
        })
    }

    /// A value.
    pub(in crate::plugins) fn of<'s>(&'s self, templates: &'s [Template], value: usize) -> &'s [u8] {
        match templates[value].literal() {
            Some(text) => text,
            None => &self.text[self.spans[value].0 as usize..self.spans[value].1 as usize],
        }
    }

    /// The same as text; what is no UTF-8 is replaced.
    pub(in crate::plugins) fn text<'s>(&'s self, templates: &'s [Template], value: usize) -> Cow<'s, str> {
        String::from_utf8_lossy(self.of(templates, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_its_first_colon() {
        for (line, want) in [("a:b", ("a", "b")), ("a:b:c", ("a", "b:c")), ("a::b", ("a", "b")), ("a", ("a", ""))] {
            assert_eq!(split(line), want);
        }
    }
}
