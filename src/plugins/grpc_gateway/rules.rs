//! Annotations of methods (`google.api.http`) as bindings: which request calls which method, and how its answer is told.

use super::template::{Bound, Template};
use crate::plugins::grpc::answer::Form;
use crate::plugins::grpc::message::Mapping;
use crate::plugins::grpc::proto::{path_of, Types};
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, Value};

/// One way to call a method.
#[derive(Debug)]
pub(super) struct Binding {
    /// Of HTTP; `*` for any.
    method: String,
    template: Template,
    /// What the service is asked for.
    pub(super) path: String,
    pub(super) input: MessageDescriptor,
    pub(super) body: Body,
    pub(super) form: Form,
    /// May an answer have many messages?
    pub(super) streams: bool,
}

/// What the body of a request stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// The message, but for what the path says.
    Whole,
    /// This field of it.
    Field(String),
}

/// The bindings of a service.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Binding>);

impl Rules {
    /// Those of these types.
    ///
    /// # Errors
    /// What is wrong with the annotation of which method.
    pub(super) fn of(types: &Types, mapping: &Mapping) -> Result<Rules, String> {
        let mut bindings = Vec::new();
        for method in types.methods() {
            let options = method.options();
            let extension = method.parent_pool().get_extension_by_name("google.api.http");
            let Some(extension) = extension.filter(|extension| options.has_extension(extension)) else { continue };
            let rule = options.get_extension(&extension);
            let Some(rule) = rule.as_message() else { continue };
            let more = rule.get_field_by_name("additional_bindings");
            let more = more.as_ref().and_then(|more| more.as_list()).unwrap_or_default();
            for rule in std::iter::once(rule).chain(more.iter().filter_map(Value::as_message)) {
                let binding = Binding::of(&method, rule, mapping);
                bindings.push(binding.map_err(|why| format!("{}: {why}", method.full_name()))?);
            }
        }
        // Of equals the one that was written first.
        bindings.sort_by_cached_key(|binding| binding.template.rank());
        Ok(Rules(bindings))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The binding of a request, and what its variables stand for. O(bindings): most are passed over by their first segments.
    pub(super) fn find<'s, 'p>(&'s self, method: &[u8], path: &'p [u8]) -> Option<(&'s Binding, Vec<Bound<'s, 'p>>)> {
        let asked = self.0.iter().filter(|binding| binding.method == "*" || binding.method.as_bytes() == method);
        asked.filter_map(|binding| Some((binding, binding.template.bind(path)?))).next()
    }
}

impl Binding {
    fn of(method: &MethodDescriptor, rule: &DynamicMessage, mapping: &Mapping) -> Result<Binding, String> {
        let (input, output) = (method.input(), method.output());
        let (verb, path) = pattern(rule).ok_or("its annotation names no path")?;
        let template = Template::parse(&path)?;
        for field in template.fields() {
            bindable(&input, field)?;
        }
        let body = match text(rule, "body").as_str() {
            "" => Body::None,
            "*" => Body::Whole,
            name if input.get_field_by_name(name).is_some() => Body::Field(name.to_owned()),
            name => return Err(format!("body: {} has no field {name}", input.full_name())),
        };
        let field = Some(text(rule, "response_body")).filter(|name| !name.is_empty());
        if let Some(name) = field.as_ref().filter(|name| output.get_field_by_name(name).is_none()) {
            return Err(format!("response_body: {} has no field {name}", output.full_name()));
        }
        Ok(Binding {
            method: verb,
            template,
            path: path_of(method),
            input,
            body,
            form: Form { kind: output, field, mapping: mapping.clone() },
            streams: method.is_server_streaming(),
        })
    }
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.as_ref().and_then(|value| value.as_str()).unwrap_or_default().to_owned()
}

/// Method and path.
fn pattern(rule: &DynamicMessage) -> Option<(String, String)> {
    for verb in ["get", "put", "post", "delete", "patch"] {
        if rule.has_field_by_name(verb) {
            return Some((verb.to_ascii_uppercase(), text(rule, verb)));
        }
    }
    let custom = rule.get_field_by_name("custom").filter(|_| rule.has_field_by_name("custom"))?;
    let custom = custom.as_message()?;
    Some((text(custom, "kind"), text(custom, "path")))
}

/// Can this field be written in a path? It is one, and within messages that are.
fn bindable(message: &MessageDescriptor, path: &str) -> Result<(), String> {
    let mut kind = message.clone();
    let mut steps = path.split('.').peekable();
    while let Some(step) = steps.next() {
        let field = kind.get_field_by_name(step);
        let field = field.ok_or_else(|| format!("{} has no field {step}", kind.full_name()))?;
        if field.is_list() || field.is_map() {
            return Err(format!("{path} may have many values, and a path has one"));
        }
        match (field.kind(), steps.peek()) {
            (Kind::Message(inner), Some(_)) => kind = inner,
            (_, Some(_)) => return Err(format!("{step} in {path} is no message")),
            (_, None) => {}
        }
    }
    Ok(())
}
