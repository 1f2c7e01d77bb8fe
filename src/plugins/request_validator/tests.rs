use super::super::rig::{faults, Rig};
use super::*;

const BODY: &str = "400 {\"message\":\"request body doesn't conform to schema\"}";
const PARAMETER: &str = "400 {\"message\":\"request param doesn't conform to schema\"}";
const MEDIA: &str = "400 {\"message\":\"specified Content-Type is not allowed\"}";
const JSON: &str = "Content-Type: application/json";

#[track_caller]
fn said(config: &Value, request: &str) -> String {
    Rig::new(&DESCRIPTOR, config.clone()).ask(request).said()
}

fn post(body: &str) -> String {
    format!("POST /\n{JSON}\nContent-Length: {}\n\n{body}", body.len())
}

#[test]
fn bodies_are_judged_by_draft_or_fields() {
    let draft =
        json!({"version": "draft7", "body_schema": r#"{"required": ["a"], "properties": {"a": {"type": "integer"}}}"#});
    let fields = json!({"body_schema": r#"[{"a": {"type": "integer", "required": true}}]"#});
    for config in [&draft, &fields] {
        let rows = [
            (r#"{"a":1}"#, "next"),
            (r#"{"a":"1"}"#, BODY),
            ("{}", BODY),
            ("{", BODY),
            (r#"{"a":1,"a":1}"#, BODY),
            ("", BODY),
        ];
        for (body, want) in rows {
            assert_eq!(said(config, &post(body)), want, "{config} {body}");
        }
        assert_eq!(said(config, "GET /"), "next", "what brings no body has none to judge");
        assert_eq!(said(config, "PUT /"), BODY, "what is there to bring one must");
    }
    assert_eq!(said(&draft, &post(r#"{"a":1,"b":2}"#)), "next");
    assert_eq!(said(&fields, &post(r#"{"a":1,"b":2}"#)), BODY);
    let small = json!({"version": "draft7", "body_schema": "{}", "body_bytes_max": 4});
    assert_eq!(said(&small, &post("1234")), "next");
    assert_eq!(said(&small, &post("12345")), "413 E(Payload too large)");
}

#[test]
fn media_types_are_those_that_are_allowed() {
    let with = |field: &str| format!("POST /\n{field}\nContent-Length: 2\n\n{{}}");
    let config = |more: Value| {
        let mut config = json!({"version": "draft7", "body_schema": "{}"});
        more.as_object().into_iter().flatten().for_each(|(key, value)| config[key] = value.clone());
        config
    };
    let utf8 = "Content-Type: application/json; charset=utf-8";
    let rows = [
        (json!({}), JSON, "next"),
        (json!({}), utf8, MEDIA),
        (json!({}), "Content-Type: text/xml", MEDIA),
        (json!({}), "X: y", MEDIA),
        (json!({}), "Content-Type: application/json\nContent-Type: text/xml", MEDIA),
        (json!({"content_type_parameter_validation": false}), utf8, "next"),
        (json!({"allowed_content_types": ["application/json; charset=UTF-8"]}), utf8, "next"),
        (json!({"allowed_content_types": ["application/*"]}), "Content-Type: application/xml", "next"),
        (json!({"allowed_content_types": ["*/*"]}), "Content-Type: x/problem+json", "next"),
    ];
    for (more, field, want) in rows {
        assert_eq!(said(&config(more.clone()), &with(field)), want, "{more} {field}");
    }
    // Without a schema of bodies, and without a choice, types are nobody's business.
    let parameters = json!({"parameter_schema": [{"in": "query", "name": "a", "required": false}]});
    assert_eq!(said(&parameters, &with("Content-Type: text/xml")), "next");
    // What is allowed and is no JSON is not looked into.
    let all = config(json!({"body_schema": "{\"type\": \"string\"}", "allowed_content_types": ["*/*"]}));
    assert_eq!(said(&all, &with("Content-Type: text/plain")), "next");
    assert_eq!(said(&all, &with("Content-Type: x/y+json")), BODY);
}

#[test]
fn parameters_are_judged_where_they_stand() {
    let of = |place: &str, schema: Value| {
        let one = json!({"in": place, "name": "id", "required": true, "schema": schema.to_string()});
        json!({"version": "draft7", "parameter_schema": [one]})
    };
    let number = || json!({"type": "integer", "maximum": 9});
    let rows = [
        ("query", "GET /?id=7", "next"),
        ("query", "GET /?id=10", PARAMETER),
        ("query", "GET /?id=x", PARAMETER),
        ("query", "GET /?id=7&id=7", PARAMETER),
        ("query", "GET /?a=7", PARAMETER),
        ("query", "GET /", PARAMETER),
        ("header", "GET /\nId: 7", "next"),
        ("header", "GET /\nId: x", PARAMETER),
        ("header", "GET /\nid: 7\nID: 7", PARAMETER),
        ("header", "GET /", PARAMETER),
        ("path", "GET /", PARAMETER),
    ];
    for (place, request, want) in rows {
        assert_eq!(said(&of(place, number()), request), want, "{place} {request}");
    }
    let mut rig = Rig::new(&DESCRIPTOR, of("path", number()));
    for (group, want) in [("7", "next"), ("%37", "next"), ("x", PARAMETER)] {
        rig.captures = vec![("id", group)];
        assert_eq!(rig.ask(&format!("GET /{group}")).said(), want, "{group}");
    }
}

#[test]
fn unknown_arguments_may_be_refused() {
    let one = |name: &str, style: &str, schema: &str| json!({"in": "query", "name": name, "required": false, "style": style, "explode": true, "schema": schema});
    let object = r#"{"type": "object", "properties": {"x": {}, "y": {}}}"#;
    let config = json!({"refuse_unknown_parameters": true,
        "parameter_schema": [one("a", "form", "{}"), one("o", "form", object), one("d", "deepObject", object)]});
    for (request, want) in [
        ("GET /", "next"),
        ("GET /?a=1&x=2&d[x]=3&d%5By%5D=4", "next"),
        ("GET /?a=1&b=2", PARAMETER),
        ("GET /?A=1", PARAMETER),
        ("GET /?o=1", PARAMETER),
        ("GET /?d=1", PARAMETER),
    ] {
        assert_eq!(said(&config, request), want, "{request}");
    }
    assert_eq!(said(&json!({"refuse_unknown_parameters": true}), "GET /?a"), PARAMETER);
}

#[test]
fn a_verbose_refusal_names_the_place_and_no_value() {
    let schema =
        r#"{"properties": {"list": {"items": {"type": "object", "required": ["k"]}}, "pin": {"maxLength": 2}}}"#;
    let config = json!({"version": "draft7", "verbose_response": true, "body_schema": schema,
        "parameter_schema": [{"in": "query", "name": "n", "required": true, "schema": r#"{"enum": ["a"]}"#}]});
    let error = |text: &str| {
        let said = said(&config, text);
        let (_, body) = said.split_once(' ').unwrap();
        serde_json::from_str::<Value>(body).unwrap()["error"].clone()
    };
    let ask = |body: &str| error(&post(body).replacen("POST /", "POST /?n=a", 1));
    assert_eq!(
        ask(r#"{"list":[{"k":1},{}]}"#),
        json!({"in": "body", "pointer": "/list/1", "keyword": "required", "missing": "k"})
    );
    assert_eq!(ask(r#"{"pin":"secret"}"#), json!({"in": "body", "pointer": "/pin", "keyword": "maxLength"}));
    assert_eq!(ask(r#"{"a":1,"a":2}"#), json!({"in": "body", "keyword": "duplicate"}));
    assert_eq!(ask("{"), json!({"in": "body", "keyword": "json"}));
    assert_eq!(ask(&"[".repeat(1000)), json!({"in": "body", "keyword": "depth"}));
    assert_eq!(error("GET /?n=secret"), json!({"in": "query", "name": "n", "pointer": "", "keyword": "enum"}));
    assert_eq!(error("GET /"), json!({"in": "query", "name": "n", "keyword": "required"}));
}

#[test]
fn faults_of_configurations_name_their_field() {
    let one = |more: Value| {
        let mut one = json!({"in": "query", "name": "a", "required": true});
        more.as_object().into_iter().flatten().for_each(|(key, value)| one[key] = value.clone());
        json!({ "parameter_schema": [one] })
    };
    let rows = [
        (
            json!({}),
            "",
            "at least one of these fields must be non-empty: 'config.body_schema', 'config.parameter_schema'",
        ),
        (json!({"body_schema": "{"}), "body_schema", "not JSON: EOF while parsing an object at line 1 column 1"),
        (json!({"body_schema": "{}"}), "body_schema", "expected a list of {name: {type: …}}"),
        (json!({"body_schema": "[]", "version": "draft4"}), "body_schema", "a schema is an object"),
        (one(json!({"schema": "[]"})), "parameter_schema[0].schema", "a schema is an object"),
        (
            one(json!({"style": "matrix"})),
            "parameter_schema[0].style",
            "style 'matrix' not supported 'query' parameter",
        ),
    ];
    for (config, path, text) in rows {
        assert_eq!(faults(&DESCRIPTOR, config), [(path.to_owned(), text.to_owned())]);
    }
}
