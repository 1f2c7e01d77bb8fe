//! Answers whose bodies are rewritten: however they are framed, and whatever goes wrong before they are whole.

use crate::harness::board::Board;
use crate::harness::upstream::{steps, Step};
use crate::harness::{Gateway, Setup, Upstream};

fn start(upstream: &Upstream) -> Gateway {
    Setup::kong(format!(
        "_format_version: '3.0'\nservices:\n- {{name: s, url: 'http://{}', retries: 0, read_timeout: 500, \
         routes: [{{name: r, paths: [/]}}]}}\n\
         plugins: [{{name: response-transformer, config: {{add: {{json: ['by:gw']}}}}}}]\n",
        upstream.addr
    ))
    .start()
}

/// What a client gets, `status body`, where the upstream does `script`; the next request is served either way.
#[track_caller]
fn check(gateway: &Gateway, upstream: &Upstream, method: &str, script: &str, want: &str) {
    upstream.begin(vec![steps(script)], &Board::default());
    let mut client = gateway.client();
    client.send(format!("{method} /x HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    let answer = client.answer(method).expect(script);
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let shown = if answer.head.status() == 200 { format!("200 {body}") } else { answer.head.status().to_string() };
    assert_eq!(shown, want, "{script}");
    assert!(answer.head.all("Transfer-Encoding").is_empty() || want.ends_with("as it is"), "{script}");
    if answer.head.holds("Connection: close") {
        client = gateway.client();
    }
    assert_eq!(client.get("/canary", "").body, b"GET /canary", "{script}");
}

const JSON: &str = r"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

#[test]
fn an_answer_is_rewritten_however_it_is_framed() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let new = r#"200 {"a":1,"by":"gw"}"#;
    let run = |method: &str, script: String, want: &str| check(&gateway, &upstream, method, &script, want);
    run("GET", format!(r#"{JSON}Content-Length: 7\r\n\r\n{{"a":1}}"#), new);
    run("GET", format!(r#"@drip {JSON}Content-Length: 7\r\n\r\n{{"a":1}}"#), new);
    let chunked = format!(r#"{JSON}Transfer-Encoding: chunked\r\n\r\n3\r\n{{"a\r\n4\r\n":1}}\r\n0\r\nX-T: 1\r\n\r\n"#);
    run("GET", chunked.clone(), new);
    run("GET", format!("@drip {chunked}"), new);
    run("HEAD", format!(r"{JSON}Content-Length: 7\r\n\r\n"), "200 ");
    run("GET", format!(r"{JSON}Content-Length: 8\r\n\r\nno JSON!"), "200 no JSON!");
    run("GET", format!(r"{JSON}Content-Length: 0\r\n\r\n"), "200 ");
    let coded =
        format!(r#"{JSON}Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nas it is\r\n0\r\n\r\n"#);
    run("GET", coded, "200 as it is");
    upstream.begin(vec![[steps(&format!(r#"{JSON}\r\n{{"a":1}}"#)), vec![Step::Close]].concat()], &Board::default());
    assert_eq!(gateway.get("/until-close").body, br#"{"a":1,"by":"gw"}"#);
}

#[test]
fn an_answer_that_cannot_be_rewritten_is_a_502() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let run = |script: &str| check(&gateway, &upstream, "GET", script, "502");
    run(&format!(r"{JSON}Content-Length: 1048577\r\n\r\n\{{x*1048577}}"));
    run(&format!(r"{JSON}Transfer-Encoding: chunked\r\n\r\n100001\r\n\{{x*1048577}}\r\n0\r\n\r\n"));
    run(&format!(r"{JSON}Transfer-Encoding: chunked\r\n\r\nzz\r\n"));
    for end in [Step::Close, Step::Reset] {
        upstream.begin(
            vec![[steps(&format!(r"{JSON}Content-Length: 7\r\n\r\n12")), vec![end]].concat()],
            &Board::default(),
        );
        assert_eq!(gateway.get("/cut").head.status(), 502);
    }
}
