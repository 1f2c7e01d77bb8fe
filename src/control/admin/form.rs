//! Forms → entities: names with dots and brackets become nested fields, texts the types of their fields.
//!
//! ```text
//!   config.minute=5            config: {minute: 5}       paths[]=/a&paths[]=/b      paths: [/a, /b]
//!   headers.x-a=1              headers: {x-a: ["1"]}     paths=/a                   paths: [/a]
//!   service.id=…               service: {id: …}          name=                      name: null
//! ```
//! JSON is never coerced; a text that is no number where one is wanted stays text, and is complained of by the rules.

use super::answer::Unreadable;
use crate::base::limits;
use crate::config::Shape;
use crate::hook::Descriptor;
use crate::plan::schema::{Field, Kind};
use serde_json::{Map, Value};

/// What a form holds before its types are known.
enum Tree {
    Texts(Vec<String>),
    Within(Vec<(String, Tree)>),
}

/// Reads the fields of an entity; `None` for a shape leaves every text a text.
///
/// # Errors
/// Where it has too many fields.
pub(super) fn entity(
    pairs: &[(String, String)],
    shape: Option<&Shape>,
    descriptors: &[Descriptor],
) -> Result<Map<String, Value>, Unreadable> {
    if pairs.len() > limits::ADMIN_FORM_FIELDS_MAX {
        return Err(Unreadable::TooManyFields);
    }
    let mut root = Tree::Within(Vec::new());
    for (name, value) in pairs {
        put(&mut root, &steps(name), value);
    }
    let Tree::Within(held) = root else { return Ok(Map::new()) };
    let plugin = pairs.iter().find(|(name, _)| name == "name");
    let plugin = plugin.and_then(|(_, value)| descriptors.iter().find(|descriptor| descriptor.name == value));
    let kind = |name: &str| {
        let shape = shape?;
        if shape.foreign.iter().any(|(column, _)| *column == name) {
            return None;
        }
        if let ("config", Some(plugin), "plugins") = (name, plugin, shape.noun) {
            return Some(Kind::Record(plugin.fields));
        }
        of(shape.fields, name).or_else(|| of(shape.common, name))
    };
    Ok(held.into_iter().map(|(name, tree)| (name.clone(), value(tree, kind(&name)))).collect())
}

fn of(fields: &[Field], name: &str) -> Option<Kind> {
    fields.iter().find(|field| field.name == name).map(|field| field.kind)
}

/// `a.b[c][]` → a, b, c and the empty name.
fn steps(name: &str) -> Vec<&str> {
    name.split('.').flat_map(|part| part.split('[')).map(|part| part.strip_suffix(']').unwrap_or(part)).collect()
}

fn put(tree: &mut Tree, steps: &[&str], text: &str) {
    let Some((first, rest)) = steps.split_first() else {
        match tree {
            Tree::Texts(texts) => texts.push(text.to_owned()),
            Tree::Within(held) if held.is_empty() => *tree = Tree::Texts(vec![text.to_owned()]),
            // A name that is a field and holds fields as well: the fields count.
            Tree::Within(_) => {}
        }
        return;
    };
    if steps.len() > limits::ADMIN_FORM_DEPTH_MAX {
        return;
    }
    if matches!(tree, Tree::Texts(_)) {
        *tree = Tree::Within(Vec::new());
    }
    let Tree::Within(held) = tree else { return };
    let at = match held.iter().position(|(name, _)| name == first) {
        Some(at) => at,
        None => {
            held.push(((*first).to_owned(), Tree::Within(Vec::new())));
            held.len() - 1
        }
    };
    put(&mut held[at].1, rest, text);
}

fn value(tree: Tree, kind: Option<Kind>) -> Value {
    match (tree, kind) {
        (Tree::Within(held), Some(Kind::Lines(_)))
            if !held.iter().all(|(name, _)| name.is_empty() || is_place(name)) =>
        {
            held.into_iter().map(|(name, tree)| (name, value(tree, Some(Kind::String)))).collect()
        }
        (tree, Some(Kind::Array(element) | Kind::Set(element) | Kind::Lines(element))) => match tree {
            Tree::Texts(texts) if texts.iter().all(String::is_empty) => Value::Null,
            Tree::Texts(texts) => texts.into_iter().map(|text| scalar(text, Some(element.kind))).collect(),
            Tree::Within(held) => held.into_iter().flat_map(|(_, tree)| elements(tree, element.kind)).collect(),
        },
        (Tree::Within(held), Some(Kind::Record(fields))) => {
            held.into_iter().map(|(name, tree)| (name.clone(), value(tree, of(fields, &name)))).collect()
        }
        (Tree::Within(held), Some(Kind::Map(element))) => {
            held.into_iter().map(|(name, tree)| (name, value(tree, Some(element.kind)))).collect()
        }
        (Tree::Within(held), _) if !held.is_empty() && held.iter().all(|(name, _)| is_place(name)) => {
            held.into_iter().flat_map(|(_, tree)| elements(tree, Kind::String)).collect()
        }
        (Tree::Within(held), _) => held.into_iter().map(|(name, tree)| (name, value(tree, None))).collect(),
        (Tree::Texts(texts), kind) => match <[String; 1]>::try_from(texts) {
            Ok([text]) => scalar(text, kind),
            Err(texts) => texts.into(),
        },
    }
}

/// `x[]=` given several times is several elements, `x[1]=` one.
fn elements(tree: Tree, kind: Kind) -> Vec<Value> {
    match tree {
        Tree::Texts(texts) => texts.into_iter().map(|text| scalar(text, Some(kind))).collect(),
        within => vec![value(within, Some(kind))],
    }
}

fn is_place(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_digit())
}

fn scalar(text: String, kind: Option<Kind>) -> Value {
    match kind {
        _ if text.is_empty() => Value::Null,
        Some(Kind::Boolean) if text == "true" || text == "false" => (text == "true").into(),
        Some(Kind::Integer | Kind::Number) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(whole), _) => whole.into(),
            (_, Ok(number)) if number.is_finite() => number.into(),
            _ => text.into(),
        },
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(noun: &str, form: &str, want: Value) {
        let shapes = crate::config::shapes();
        let shape = shapes.iter().find(|shape| shape.noun == noun);
        let pairs: Vec<(String, String)> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let got = entity(&pairs, shape, &[]).unwrap();
        assert_eq!(Value::Object(got), want, "{form}");
    }

    #[test]
    fn forms_become_entities() {
        use serde_json::json;
        check("routes", "paths[]=/a&paths[]=/b", json!({"paths": ["/a", "/b"]}));
        check("routes", "paths[1]=/a&paths[2]=/b", json!({"paths": ["/a", "/b"]}));
        check("routes", "paths=/a", json!({"paths": ["/a"]}));
        check("routes", "methods=GET&methods=POST", json!({"methods": ["GET", "POST"]}));
        check("routes", "headers[x-foo][]=1", json!({"headers": {"x-foo": ["1"]}}));
        check("routes", "headers.x-foo=1", json!({"headers": {"x-foo": ["1"]}}));
        check("routes", "service.id=7&strip_path=false", json!({"service": {"id": "7"}, "strip_path": false}));
        check("services", "name=&retries=3&port=x", json!({"name": null, "retries": 3, "port": "x"}));
        check(
            "upstreams",
            "healthchecks.active.healthy.http_statuses[1]=200&healthchecks.active.timeout=0.5",
            json!({"healthchecks": {"active": {"healthy": {"http_statuses": [200]}, "timeout": 0.5}}}),
        );
        check("plugins", "config.minute=5&config.list[]=a", json!({"config": {"minute": "5", "list": ["a"]}}));
        check("services", "tags=a", json!({"tags": ["a"]}));
    }
}
