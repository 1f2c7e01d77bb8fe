//! `request-validator`: lets those requests pass whose media type, parameters and JSON body are as they were described.
//!
//! ```text
//!   media       which content types                schema     judges values: draft 4 to 2020-12
//!   parameters  path, query, headers → values      fields     the reference's own language → such a schema
//!                                                  lua_pattern  and the patterns in it
//! ```
//!
//! A refusal says where a request misses, never what stands there. A body is held whole while it is checked, and reaches
//! the upstream as it came.

mod fields;
mod lua_pattern;
mod media;
mod parameters;
mod schema;

use crate::base::limits::{BODY_KEPT_BYTES_MAX, POINTER_SHOWN_BYTES_MAX};
use crate::hook::{Ctx, Descriptor, Env, Hooks, Need, Outcome, Plugin, Reply, Verdict};
use crate::http::framing::{self, Length};
use crate::http::{query, Method};
use crate::plan::schema::{Element, Field, Kind, Rule, HTTP_PROTOCOLS};
use jsonschema::Draft;
use media::Media;
use parameters::{Parameter, Place, Style};
use schema::{Miss, Schema};
use serde_json::{json, Value};
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "request-validator",
    priority: 999,
    version: env!("CARGO_PKG_VERSION"),
    about: "Lets requests pass whose parameters and JSON body match their schemas, and refuses the others with 400. \
            References to schemas elsewhere are not followed.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check,
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r#"
services:
  - name: orders
    url: http://orders.internal:8080
    routes:
      - name: order
        paths: ['~/orders/(?<id>[^/]+)$']
        strip_path: false
    plugins:
      - name: request-validator
        config:
          version: draft202012
          body_schema: |
            {"type": "object", "required": ["item"], "additionalProperties": false, "properties": {
              "item": {"type": "string", "maxLength": 64},
              "count": {"type": "integer", "minimum": 1}}}
          parameter_schema:
            - {in: path, name: id, required: true, schema: '{"type": "integer"}'}
            - {in: query, name: expand, required: false, schema: '{"type": "array", "items": {"enum": ["lines", "buyer"]}}'}
          refuse_unknown_parameters: true
          verbose_response: true
"#;

const MEDIA: Element = Element { kind: Kind::String, rules: &[Rule::Text(media::is_media)] };
const PARAMETER: Element = Element { kind: Kind::Record(PARAMETER_FIELDS), rules: &[] };

const PARAMETER_FIELDS: &[Field] = &[
    Field::optional(
        "in",
        Kind::String,
        "Where it stands; in the path by the name of a group of the route's expression.",
    )
    .required()
    .rules(&[Rule::OneOf(&["query", "header", "path"])]),
    Field::optional("name", Kind::String, "Its name.").required(),
    Field::optional("required", Kind::Boolean, "Must it be there?").required(),
    Field::optional("style", Kind::String, "How it is written, as in OpenAPI: form in a query, else simple.")
        .rules(&[Rule::OneOf(&["label", "form", "matrix", "simple", "spaceDelimited", "pipeDelimited", "deepObject"])]),
    Field::optional(
        "explode",
        Kind::Boolean,
        "Does each element or property stand by itself? As in OpenAPI: for form.",
    ),
    Field::optional(
        "schema",
        Kind::String,
        "JSON Schema of its value, of the draft that `version` names; draft 4 where that is the language of fields.",
    ),
];

const DEFAULT_MEDIA: &str = "application/json";

const FIELDS: &[Field] = &[
    Field::with_default(
        "version",
        Kind::String,
        "\"kong\"",
        "What schemas are written in: a draft of JSON Schema, or the language of fields, `[{\"name\": {\"type\": …}}]`.",
    )
    .required()
    .rules(&[Rule::OneOf(&["kong", "draft4", "draft6", "draft7", "draft201909", "draft202012"])]),
    Field::optional(
        "body_schema",
        Kind::String,
        "Schema of JSON bodies. POST, PUT and PATCH must bring one; bodies of other types are not looked into.",
    ),
    Field::optional("parameter_schema", Kind::Array(&PARAMETER), "Parameters, each with its schema."),
    Field::with_default(
        "allowed_content_types",
        Kind::Set(&MEDIA),
        "[\"application/json\"]",
        "Media types of bodies, `*` for any type or subtype. Asked for where there is a `body_schema` or this is not the \
         default.",
    ),
    Field::with_default(
        "content_type_parameter_validation",
        Kind::Boolean,
        "true",
        "Must the parameters of a media type, such as charset, be those that are allowed?",
    ),
    Field::with_default("verbose_response", Kind::Boolean, "false", "Say in a refusal where the request misses.")
        .required(),
    Field::with_default(
        "refuse_unknown_parameters",
        Kind::Boolean,
        "false",
        "Refuse query arguments that `parameter_schema` does not name.",
    )
    .required(),
    Field::with_default("body_bytes_max", Kind::Integer, "1048576", "Largest body that is checked, bytes; larger: 413.")
        .required()
        .rules(&[Rule::Between(1.0, BODY_KEPT_BYTES_MAX as f64)]),
];

fn check(config: &Value) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    if text(config, "body_schema").is_none()
        && parameters(config).is_empty()
        && !on(config, "refuse_unknown_parameters")
    {
        let message = "at least one of these fields must be non-empty: 'config.body_schema', 'config.parameter_schema'";
        faults.push((String::new(), message.to_owned()));
    }
    if let Err(why) = body_schema(config) {
        faults.push(("body_schema".to_owned(), why));
    }
    for (ix, one) in parameters(config).iter().enumerate() {
        if let Err((field, why)) = parameter(config, one) {
            faults.push((format!("parameter_schema[{ix}].{field}"), why));
        }
    }
    faults
}

fn text<'c>(config: &'c Value, name: &str) -> Option<&'c str> {
    config.get(name).and_then(Value::as_str)
}

fn on(config: &Value, name: &str) -> bool {
    config.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn parameters(config: &Value) -> &[Value] {
    config.get("parameter_schema").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The draft of a configuration; `None`: the language of fields.
fn draft(config: &Value) -> Option<Draft> {
    Some(match text(config, "version")? {
        "draft4" => Draft::Draft4,
        "draft6" => Draft::Draft6,
        "draft7" => Draft::Draft7,
        "draft201909" => Draft::Draft201909,
        "draft202012" => Draft::Draft202012,
        _ => return None,
    })
}

fn body_schema(config: &Value) -> Result<Option<Schema>, String> {
    let Some(text) = text(config, "body_schema") else { return Ok(None) };
    let schema = match draft(config) {
        Some(draft) => Schema::of_text(text, draft)?,
        None => Schema::of(fields::schema(&schema::read(text)?)?, Draft::Draft202012)?,
    };
    Ok(Some(schema))
}

/// A parameter, or the field that is wrong and why.
fn parameter(config: &Value, one: &Value) -> Result<Parameter, (&'static str, String)> {
    let place = text(one, "in").and_then(Place::of).ok_or(("in", "required field missing".to_owned()))?;
    let style = text(one, "style").and_then(Style::of);
    if style.is_some_and(|style| !style.may_stand(place)) {
        let word = text(one, "style").unwrap_or_default();
        return Err(("style", format!("style '{word}' not supported '{}' parameter", place.word())));
    }
    let schema = text(one, "schema").map(|text| Schema::of_text(text, draft(config).unwrap_or(Draft::Draft4)));
    let schema = schema.transpose().map_err(|why| ("schema", why))?;
    let name = text(one, "name").unwrap_or_default().to_owned();
    let explode = one.get("explode").and_then(Value::as_bool);
    Ok(Parameter::new(name, place, on(one, "required"), style, explode, schema))
}

fn build(config: &Value, _: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let body = body_schema(config)?;
    let parameters = parameters(config).iter().map(|one| parameter(config, one).map_err(|(_, why)| why));
    let allowed = config.get("allowed_content_types").and_then(Value::as_array);
    let allowed: Vec<&str> = allowed.into_iter().flatten().filter_map(Value::as_str).collect();
    let judges_media = body.is_some() || allowed != [DEFAULT_MEDIA];
    let bytes_max = config.get("body_bytes_max").and_then(Value::as_u64).unwrap_or(BODY_KEPT_BYTES_MAX as u64);
    Ok(Arc::new(RequestValidator {
        body,
        parameters: parameters.collect::<Result<_, _>>()?,
        allowed: judges_media.then(|| allowed.into_iter().filter_map(Media::of).collect()),
        strict_media: config.get("content_type_parameter_validation").and_then(Value::as_bool).unwrap_or(true),
        verbose: on(config, "verbose_response"),
        only_known: on(config, "refuse_unknown_parameters"),
        bytes_max: usize::try_from(bytes_max).unwrap_or(BODY_KEPT_BYTES_MAX),
    }))
}

struct RequestValidator {
    body: Option<Schema>,
    parameters: Vec<Parameter>,
    /// `None`: any.
    allowed: Option<Vec<Media>>,
    strict_media: bool,
    verbose: bool,
    only_known: bool,
    bytes_max: usize,
}

const BODY_MISS: &str = "request body doesn't conform to schema";
const PARAMETER_MISS: &str = "request param doesn't conform to schema";
const MEDIA_MISS: &str = "specified Content-Type is not allowed";

impl Plugin for RequestValidator {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        let has_body = !matches!(framing::of_request(cx.head), Ok(Length::None | Length::Fixed(0)));
        let media = match self.media(cx, has_body) {
            Ok(media) => media,
            Err(()) => return refused(json!({ "message": MEDIA_MISS })),
        };
        for parameter in &self.parameters {
            if let Err(miss) = parameter.check(cx, self.verbose) {
                return self.refuse(PARAMETER_MISS, parameter.place.word(), Some(&parameter.name), &miss);
            }
        }
        if self.only_known && !self.knows_all(cx) {
            let miss = Miss { keyword: Some("unknown".to_owned()), ..Miss::default() };
            return self.refuse(PARAMETER_MISS, "query", None, &miss);
        }
        let Some(_) = &self.body else { return Verdict::Next };
        match (has_body, media) {
            (true, Some(media)) if media.is_json() => Verdict::Need(Need::Body { bytes_max: self.bytes_max }),
            (true, _) => Verdict::Next,
            // Those that are there to bring one do not pass without.
            (false, _) if matches!(cx.head.head.method, Method::Post | Method::Put | Method::Patch) => {
                let miss = Miss { keyword: Some("required".to_owned()), ..Miss::default() };
                self.refuse(BODY_MISS, "body", None, &miss)
            }
            (false, _) => Verdict::Next,
        }
    }

    fn on_outcome(&self, _: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        let (Some(body), Some(schema)) = (outcome.body(), &self.body) else {
            return Verdict::Reply(Box::new(Reply::message(413, "Payload too large")));
        };
        let miss = match super::json::parse(body) {
            Ok(parsed) => match schema.judge(&parsed.value, parsed.nodes, self.verbose) {
                Ok(()) => return Verdict::Next,
                Err(miss) => miss,
            },
            Err(broken) => Miss { keyword: Some(broken.keyword().to_owned()), ..Miss::default() },
        };
        self.refuse(BODY_MISS, "body", None, &miss)
    }
}

fn refused(body: Value) -> Verdict {
    Verdict::Reply(Box::new(Reply::json(400, body.to_string())))
}

impl RequestValidator {
    /// The media type of a request's body, which is allowed.
    fn media(&self, cx: &Ctx<'_>, has_body: bool) -> Result<Option<Media>, ()> {
        let mut fields = cx.head.find_all(b"content-type");
        let media = match (fields.next(), fields.next()) {
            (None, _) => None,
            (Some(one), None) => Some(std::str::from_utf8(one).ok().and_then(Media::of)),
            // Who reads the body next may believe the other one.
            (Some(_), Some(_)) => Some(None),
        };
        let Some(allowed) = &self.allowed else { return Ok(media.flatten()) };
        match media {
            None if !has_body => Ok(None),
            Some(Some(media)) if allowed.iter().any(|own| own.allows(&media, self.strict_media)) => Ok(Some(media)),
            _ => Err(()),
        }
    }

    fn knows_all(&self, cx: &Ctx<'_>) -> bool {
        let mut scratch = Vec::new();
        query::args(cx.facts.query.unwrap_or_default()).all(|arg| {
            let name = query::decode(arg.name, &mut scratch);
            self.parameters.iter().any(|parameter| parameter.owns(name))
        })
    }

    fn refuse(&self, message: &str, place: &str, name: Option<&str>, miss: &Miss) -> Verdict {
        let mut body = json!({ "message": message });
        if self.verbose {
            let mut error = json!({ "in": place });
            let pointer = miss.pointer.as_deref().filter(|pointer| pointer.len() <= POINTER_SHOWN_BYTES_MAX);
            let rows = [("name", name), ("pointer", pointer), ("keyword", miss.keyword.as_deref())];
            for (key, value) in rows.into_iter().chain([("missing", miss.missing.as_deref())]) {
                if let Some(value) = value {
                    error[key] = value.into();
                }
            }
            body["error"] = error;
        }
        refused(body)
    }
}

#[cfg(test)]
mod tests;
