use super::super::rig::{Rig, Seen};
use super::*;
use crate::hook::Recode;
use serde_json::json;

const PROTO: &str = "src/plugins/grpc_gateway/library.proto";

fn rig(more: Value) -> Rig {
    let mut config = json!({"proto": PROTO});
    config.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    Rig::new(&DESCRIPTOR, config)
}

/// The message that the service gets, as protobuf's own JSON, and the path it is asked for; or what the client is told.
#[track_caller]
fn check(more: Value, request: &str, want: Result<(&str, &str), &str>) {
    let seen = rig(more).ask(request);
    let got = match seen.said().as_str() {
        "next" => {
            let [method, path, query, _] = seen.aim();
            assert_eq!((method.as_str(), query.as_str()), ("POST", ""), "{request}");
            assert_eq!(seen.upstream("Content-Type"), Some("application/grpc"));
            Ok((told(&path, &seen), path))
        }
        said => Err(said.to_owned()),
    };
    let got = got.as_ref().map(|(json, path)| (json.as_str(), path.as_str())).map_err(String::as_str);
    assert_eq!(got, want, "{request}");
}

fn told(path: &str, seen: &Seen) -> String {
    let made = proto::read(PROTO, &|path| std::fs::read(path).map_err(|error| error.to_string())).unwrap();
    let types = Types::of(&made).unwrap();
    let method = types.method(path.as_bytes()).unwrap();
    let message = seen.body().unwrap().into_bytes();
    let mut out = Vec::new();
    Mapping::new(true, false).json(&method.input(), frames::only(&message).unwrap(), None, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_request_becomes_a_message() {
    let get = "/library.v1.Library/GetBook";
    check(json!({}), "GET /v1/shelves/1/books/2", Ok((r#"{"name":"shelves/1/books/2"}"#, get)));
    check(json!({}), "GET /v1/shelves/1/books/2/title?name=other", Ok((r#"{"name":"shelves/1/books/2"}"#, get)));
    let search = "/library.v1.Library/Search";
    check(json!({}), "GET /v1/books", Ok(("{}", search)));
    check(
        json!({}),
        "GET /v1/books?full_text=a+b&years=1&years=2&inPrint=true&kind=NOVEL&page.size=7&page.token=AQI%3D&lent=false",
        Ok((
            r#"{"fullText":"a b","years":[1,2],"inPrint":true,"kind":"NOVEL","page":{"size":7,"token":"AQI="},"lent":false}"#,
            search,
        )),
    );
    check(
        json!({}),
        "GET /v1/books?since=1970-01-01T00:01:00Z&kind=1",
        Ok((r#"{"kind":"NOVEL","since":"1970-01-01T00:01:00Z"}"#, search)),
    );
    check(json!({}), "GET /v1/books?fullText=a&full_text=b&none=1&labels.a=1", Ok((r#"{"fullText":"b"}"#, search)));
    let create = "/library.v1.Library/Create";
    check(
        json!({}),
        "POST /v1/shelves/3/books?request_id=r&book.id=9&shelf=x\n\n{\"full_title\": \"T\", \"id\": \"5\", \"authors\": [\"A\", \"B\"]}",
        Ok((r#"{"shelf":"shelves/3","book":{"id":"5","fullTitle":"T","authors":["A","B"]},"requestId":"r"}"#, create)),
    );
    check(json!({}), "POST /v1/shelves/3/books", Ok((r#"{"shelf":"shelves/3"}"#, create)));
    let mut hidden = rig(json!({}));
    hidden.left = Some(r#"{"full_title":"T"}"#);
    let seen = hidden.ask("POST /v1/shelves/3/books\n\n{\"full_title\":\"T\",\"id\":\"5\"}");
    let want = r#"{"shelf":"shelves/3","book":{"fullTitle":"T"}}"#;
    assert_eq!(told(create, &seen), want, "what a plugin before has taken out of the body stays out");
    let mv = "/library.v1.Library/Move";
    let want = r#"{"book":{"id":"7","fullTitle":"T"},"toShelf":"s"}"#;
    check(
        json!({}),
        "POST /v1/books/7:move?to_shelf=x\n\n{\"book\":{\"id\":1,\"fullTitle\":\"T\"},\"toShelf\":\"s\"}",
        Ok((want, mv)),
    );
    check(json!({}), "MOVE /v1/books/7\n\n{\"to_shelf\":\"s\",\"book\":{\"full_title\":\"T\"}}", Ok((want, mv)));
}

#[test]
fn what_cannot_be_one_is_told_by_its_place() {
    let told = |why: &str| format!("400 {}", json!({"code": 3, "message": why}));
    let rows = [
        ("GET /v1/none", "no method of the service is called by this method and path"),
        ("PUT /v1/books", "no method of the service is called by this method and path"),
        ("GET /v1/books?in_print=secret", "invalid value for in_print"),
        ("GET /v1/books?years=secret", "invalid value or unknown field at years[0]"),
        ("GET /v1/books?kind=secret", "invalid value for kind"),
        ("GET /v1/books?page.size=99999999999", "invalid value or unknown field at page.size"),
        ("POST /v1/books/%FF:move", "book.id in the path is no text in UTF-8"),
        ("POST /v1/shelves/3/books\n\n{\"id\": secret}", "the body is not JSON"),
        ("POST /v1/shelves/3/books\n\n{\"id\": \"secret\"}", "invalid value or unknown field at book.id"),
        ("POST /v1/shelves/3/books\n\n[]", "invalid value or unknown field at book"),
        ("POST /v1/books/7:move\n\n[1]", "the body is no JSON object"),
        ("POST /v1/books/7:move\n\n{\"book\":{},\"book\":{}}", "the body is an object with the same name twice"),
        ("POST /v1/books/x:move\n\n{}", "invalid value or unknown field at book.id"),
        ("POST /v1/books/7:move\nContent-Encoding: gzip\n\n{}", "the body is compressed"),
    ];
    for (request, why) in rows {
        check(json!({}), request, Err(&told(why)));
    }
    let strict = || json!({"refuse_unknown_fields": true});
    check(strict(), "GET /v1/books?none=1", Err(&told("the query names what the message does not have")));
    check(strict(), "POST /v1/shelves/3/books\n\n{\"none\": 1}", Err(&told("invalid value or unknown field at book")));
    let deep = format!("POST /v1/books/7:move\n\n{}{}", "{\"a\":".repeat(70), "}".repeat(70));
    check(json!({}), &deep, Err(&told("the body is nested deeper than 64 levels")));
    assert_eq!(
        Rig::new(&DESCRIPTOR, json!({})).ask("GET /").said(),
        told("transcoding requests require a .proto file defining the service")
    );
}

/// A book with its head, as the service sends it.
const BOOK: &str = "\0\0\0\0\x05\x08\x07\x12\x01T";

#[test]
fn an_answer_of_one_message_has_its_status() {
    let ask = |more: Value, path: &str, trailers: &'static str, body: &str| {
        let mut rig = rig(more);
        rig.reply = vec![("content-type", "application/grpc"), ("grpc-encoding", "identity")];
        rig.trailers = trailers;
        let seen = rig.answered(&format!("GET {path}"), 200, body);
        assert_eq!(seen.client("Content-Type"), Some("application/json"));
        (seen.status().unwrap(), seen.rewritten.unwrap())
    };
    let (book, title, ok) = ("/v1/shelves/1/books/2", "/v1/shelves/1/books/2/title", "grpc-status: 0\r\n");
    let all = r#"{"id":7,"full_title":"T","kind":"UNKNOWN","authors":[]}"#;
    assert_eq!(ask(json!({}), book, ok, BOOK), (200, all.to_owned()));
    let canonical = json!({"canonical_json": true});
    assert_eq!(ask(canonical, book, ok, BOOK), (200, r#"{"id":"7","fullTitle":"T"}"#.to_owned()));
    assert_eq!(ask(json!({}), title, ok, BOOK), (200, r#""T""#.to_owned()));
    let failed = (404, r#"{"code":5,"message":"no such book"}"#.to_owned());
    assert_eq!(ask(json!({}), book, "grpc-status: 5\r\ngrpc-message: no such%20book\r\n", ""), failed);
    let wrong = (502, r#"{"code":13,"message":"the answer is not one message of its type"}"#.to_owned());
    for body in ["", &BOOK[..4], &format!("{BOOK}{BOOK}"), "\0\0\0\0\x01\x08"] {
        assert_eq!(ask(json!({}), book, ok, body), wrong, "{body:?}");
    }
    assert_eq!(ask(json!({}), book, "", BOOK).0, 500);
}

#[test]
fn answers_of_many_messages_are_lines() {
    let rules = Rules::of(
        &Types::of(&proto::read(PROTO, &|path| std::fs::read(path).map_err(|error| error.to_string())).unwrap())
            .unwrap(),
        &Mapping::new(true, false),
    );
    let rules = rules.unwrap();
    let (binding, _) = rules.find(b"GET", b"/v1/books").unwrap();
    assert!(binding.streams);
    let run = |said: Option<Status>, pieces: &[&str], trailers: &str| {
        let (mut lines, mut out) = (Lines::new(binding.form.clone(), said), Vec::new());
        pieces.iter().for_each(|piece| lines.data(piece.as_bytes(), &mut out).unwrap());
        lines.end(trailers.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let book = "{\"id\":\"7\",\"fullTitle\":\"T\"}\n";
    assert_eq!(run(None, &[&BOOK[..3], &BOOK[3..], BOOK], "grpc-status: 0\r\n"), format!("{book}{book}"));
    let failed = "{\"error\":{\"code\":14,\"message\":\"\"}}\n";
    assert_eq!(run(None, &[BOOK], "grpc-status: 14\r\n"), format!("{book}{failed}"));
    assert_eq!(run(Some(Status::new(7, "no")), &[], ""), "{\"code\":7,\"message\":\"no\"}\n");
}

#[test]
fn annotations_that_do_not_hold_are_faults() {
    let rows = [
        ("", "no method has a google.api.http annotation"),
        ("option (google.api.http) = {get: \"x\"};", "p.S.M: \"x\": a path begins with /"),
        ("option (google.api.http) = {get: \"/{none}\"};", "p.S.M: p.In has no field none"),
        ("option (google.api.http) = {get: \"/{many}\"};", "p.S.M: many may have many values, and a path has one"),
        ("option (google.api.http) = {get: \"/{one.two}\"};", "p.S.M: one in one.two is no message"),
        ("option (google.api.http) = {post: \"/\" body: \"none\"};", "p.S.M: \"/\": bad segment \"\""),
        ("option (google.api.http) = {post: \"/a\" body: \"none\"};", "p.S.M: body: p.In has no field none"),
        (
            "option (google.api.http) = {get: \"/a\" response_body: \"none\"};",
            "p.S.M: response_body: p.In has no field none",
        ),
        ("option (google.api.http) = {body: \"*\"};", "p.S.M: its annotation names no path"),
    ];
    for (option, want) in rows {
        let text = format!(
            "syntax = \"proto3\"; package p; import \"google/api/annotations.proto\";\n\
             message In {{ string one = 1; repeated string many = 2; }} service S {{ rpc M(In) returns (In) {{ {option} }} }}"
        );
        let why = read("a.proto", &|_| Ok(text.clone().into_bytes())).unwrap_err();
        assert_eq!(why, format!("a.proto: {want}"));
    }
}
