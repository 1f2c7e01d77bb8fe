use super::super::rig::Rig;
use super::*;
use crate::hook::Recode;
use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use serde_json::json;

const PROTO: &str = "config/greeter.proto";

fn framed(flags: u8, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frames::put(flags, message, &mut out);
    out
}

#[test]
fn a_preflight_is_answered() {
    let seen =
        Rig::new(&DESCRIPTOR, json!({"allow_origin_header": "https://a.test"})).ask_and_answer("OPTIONS /p.S/M", 200);
    assert_eq!(seen.said(), "200 application/grpc-web-text+proto: OK");
    assert_eq!(seen.reply_field("Access-Control-Allow-Methods"), Some("POST"));
    assert_eq!(seen.client(ALLOW_ORIGIN), Some("https://a.test"));
}

#[test]
fn a_call_goes_on_as_one_of_grpc() {
    let ask = |config: Value, media: &str, body: &str| {
        let mut rig = Rig::new(&DESCRIPTOR, config);
        let seen = rig.ask(&format!("POST /helloworld.Greeter/SayHello\nContent-Type: {media}\n\n{body}"));
        (seen.said(), seen.upstream("Content-Type").map(str::to_owned), seen.body(), seen.aim()[1].clone())
    };
    let next = |body: Option<&str>| {
        let path = "/helloworld.Greeter/SayHello".to_owned();
        ("next".to_owned(), Some("application/grpc".to_owned()), body.map(str::to_owned), path)
    };
    let message = "\0\0\0\0\x04\x0a\x02Al";
    assert_eq!(ask(json!({}), "application/grpc-web+proto", message), next(None));
    assert_eq!(ask(json!({}), "application/grpc-web-text", &STANDARD.encode(message)), next(Some(message)));
    let types = || json!({"proto": PROTO});
    assert_eq!(ask(types(), "application/json", r#"{"name": "Al"}"#), next(Some(message)));
    let json = String::from_utf8(framed(0, br#"{"name":"Al"}"#)).unwrap();
    assert_eq!(ask(types(), "application/grpc-web+json", &json), next(Some(message)));
    assert_eq!(ask(types(), "application/grpc-web-text+json", &STANDARD.encode(&json)), next(Some(message)));
    let mut hidden = Rig::new(&DESCRIPTOR, types());
    hidden.left = Some(r#"{"name": "Al"}"#);
    let seen = hidden.ask("POST /helloworld.Greeter/SayHello\nContent-Type: application/json\n\n{\"name\": \"Bo\"}");
    assert_eq!(seen.body().as_deref(), Some(message), "the body is what a plugin before has left of it");
    assert_eq!(ask(json!({"pass_stripped_path": true}), "application/grpc-web", "").3, "-");

    let refused = [
        (json!({}), "text/plain", "", "400 E(Content-Type is none of gRPC-Web, nor JSON)"),
        (json!({}), "application/json", "{}", "400 E(transcoding requests require a .proto file defining the service)"),
        (json!({}), "application/grpc-web-text", "a", "400 E(the body is not base64)"),
        (types(), "application/json", "{", "400 E(the body is not JSON)"),
        (types(), "application/json", r#"{"name": 7}"#, "400 E(invalid value or unknown field at name)"),
        (types(), "application/grpc-web+json", "{}", "400 E(the body is not one message)"),
    ];
    for (config, media, body, want) in refused {
        assert_eq!(ask(config, media, body).0, want, "{media} {body}");
    }
    let native = ask(json!({}), "application/grpc", "");
    assert_eq!((native.0.as_str(), native.1), ("next", None));
}

/// What a recoder makes of a body that comes in these pieces.
fn recoded(mut web: Web, pieces: &[&[u8]], trailers: &str) -> Vec<u8> {
    let mut out = Vec::new();
    pieces.iter().for_each(|piece| web.data(piece, &mut out).unwrap());
    web.end(trailers.as_bytes(), &mut out).unwrap();
    out
}

#[test]
fn trailers_are_the_last_message() {
    let trailers = "Grpc-Status: 0\r\ngrpc-message: \r\nx-more: a b\r\nconnection: x\r\n";
    let body = [framed(0, b"one"), framed(0, b"two")].concat();
    let want = [&body[..], &framed(0x80, b"grpc-status:0\r\ngrpc-message:\r\nx-more:a b\r\n")].concat();
    assert_eq!(recoded(Web::new(false, None, None), &[&body[..3], &body[3..]], trailers), want);
    let text = recoded(Web::new(true, None, None), &[&body[..3], &body[3..]], trailers);
    assert_eq!(text::decode(&text).unwrap(), want);
    assert!(text.starts_with(b"AAAAAANvbmU=AAAAAAN0d28="));

    let said = Some(Status::new(5, "none\u{e9}"));
    let want = framed(0x80, b"grpc-status:5\r\ngrpc-message:none%C3%A9\r\n");
    assert_eq!(recoded(Web::new(false, None, said), &[b"<html>"], ""), want);
    let want = framed(0x80, b"grpc-status:13\r\ngrpc-message:the answer ended without a status\r\n");
    assert_eq!(recoded(Web::new(false, None, None), &[], ""), want);
    let (mut web, mut out) = (Web::new(false, None, None), Vec::new());
    assert!(web.stop(crate::hook::Stop::Late, &mut out));
    assert_eq!(out, framed(0x80, b"grpc-status:4\r\ngrpc-message:the upstream server is timing out\r\n"));
}

#[test]
fn refusals_and_whole_answers_are_told_in_the_form_of_the_call() {
    let mut rig = Rig::new(&DESCRIPTOR, json!({"proto": PROTO}));
    rig.reply = vec![("content-type", "application/grpc")];
    rig.trailers = "grpc-status: 0\r\n";
    let ask = "POST /helloworld.Greeter/SayHello\nContent-Type: application/json\n\n{}";
    let seen = rig.answered(ask, 200, "\0\0\0\0\x04\x0a\x02hi");
    assert_eq!((seen.rewritten.as_deref(), seen.status()), (Some(r#"{"message":"hi"}"#), Some(200)));
    rig.trailers = "grpc-status: 5\r\ngrpc-message: no%20one\r\n";
    let seen = rig.answered(ask, 200, "");
    assert_eq!((seen.rewritten.as_deref(), seen.status()), (Some(r#"{"code":5,"message":"no one"}"#), Some(404)));

    let seen = rig.answered("POST /helloworld.Greeter/SayHello\nContent-Type: application/grpc-web-text\n\n!", 200, "");
    let told = framed(0x80, b"grpc-status:3\r\ngrpc-message:the body is not base64\r\n");
    assert_eq!(seen.rewritten.as_deref(), Some(STANDARD.encode(told).as_str()));
    assert_eq!(
        (seen.client("grpc-status"), seen.client("Content-Type")),
        (Some("3"), Some("application/grpc-web-text"))
    );
}
