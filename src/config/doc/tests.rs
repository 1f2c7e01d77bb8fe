use super::*;

/// The tree as JSON, or the fault as people see it.
fn read(name: &str, text: &str) -> String {
    let mut report = Report::default();
    let root = parse(&Arc::from(name), text, &mut report);
    match root {
        Some(root) => root.json().to_string(),
        None => report.findings[0].to_string(),
    }
}

#[track_caller]
fn check(rows: &[(&str, &str)], name: &str) {
    for (text, want) in rows {
        assert_eq!(&read(name, text), want, "{text:?}");
    }
}

#[test]
fn yaml_scalars_mean_what_they_mean_there() {
    check(
        &[
            ("[yes, No, ON, off, true, y, n]", r#"[true,false,true,false,true,"y","n"]"#),
            ("[~, null, '', Null]", r#"[null,null,"",null]"#),
            ("[3.0, '3.0', 1e3, .5, 1_000, 0755, 08, 0x1F, 0b11, -4]", "[3.0,\"3.0\",1000.0,0.5,1000,493,8,31,3,-4]"),
            ("[1:30, 190:20:30, a:80, 1:75, 10.0.0.1, ::1]", r#"[90,685230,"a:80","1:75","10.0.0.1","::1"]"#),
            ("[!!str 5, ! 6, \"7\"]", r#"["5","6","7"]"#),
            ("[_, '-', +, 1.2.3, 0x, 1e, v1]", r#"["_","-","+","1.2.3","0x","1e","v1"]"#),
            ("[99999999999999999999]", "[1e+20]"),
            ("a:\n  b: |\n    x\n    y\n", r#"{"a":{"b":"x\ny\n"}}"#),
            ("", "null"),
        ],
        "k.yml",
    );
}

#[test]
fn anchors_and_merges_are_written_out() {
    check(
        &[
            ("x: &a {k: 1, l: 2}\ny:\n  <<: *a\n  l: 3\n", r#"{"x":{"k":1,"l":2},"y":{"l":3,"k":1}}"#),
            (
                "x: &a {k: 1}\nb: &b {k: 2, m: 4}\ny:\n  <<: [*a, *b]\n",
                r#"{"x":{"k":1},"b":{"k":2,"m":4},"y":{"k":1,"m":4}}"#,
            ),
            ("x: &a [1]\ny: *a", r#"{"x":[1],"y":[1]}"#),
            ("a: &a [*a]", "k.yml:1:8: an alias within its own anchor"),
            ("a: 1\nb:\n  <<: 5\n", "k.yml:3:7: << merges maps only"),
        ],
        "k.yml",
    );
}

#[test]
fn faults_of_syntax_have_a_place() {
    check(
        &[
            ("a: 1\nb: 2\na: 3\n", "k.yml:3:1: the key \"a\" is already given in line 1"),
            ("? [x]\n: 1\n", "k.yml:1:3: a key must be text"),
        ],
        "k.yml",
    );
    assert!(read("k.yml", "a: 'x").starts_with("k.yml:1:"), "{}", read("k.yml", "a: 'x"));
    assert!(read("k.yml", "a: *x").contains("not YAML"));
    assert_eq!(read("k.yml", &"[".repeat(100)).split(": ").nth(1), Some("nested deeper than 64 levels"));
}

#[test]
fn laughter_is_bounded() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let of = format!("*a{}", n - 1);
        text.push_str(&format!("a{n}: &a{n} [{}]\n", [of.as_str(); 10].join(", ")));
    }
    assert!(read("k.yml", &text).ends_with("too large: its aliases multiply"));
}

#[test]
fn json_is_read_with_places() {
    check(
        &[
            (
                "{\t\"a\": [1, -2.5, true, null, \"x\\u00e9\\ud83d\\ude00\\n\"]}",
                "{\"a\":[1,-2.5,true,null,\"xé😀\\n\"]}",
            ),
            ("{}", "{}"),
            ("{\"a\": 1,\n\"a\": 2}", "k.json:2:1: the key \"a\" is already given in line 1"),
            ("{\"a\": 01}", "k.json:1:7: not JSON: a number with a leading zero"),
            ("{\"a\": yes}", "k.json:1:7: not JSON: expected a value"),
            ("{\"a\": 1,}", "k.json:1:9: not JSON: expected a key in quotes"),
            ("{\"é\": \"\\ud800\"}", "k.json:1:8: not JSON: not a character"),
            ("[1] 2", "k.json:1:5: not JSON: text after the value"),
            ("{\"a\": \"x", "k.json:1:8: not JSON: a string without its closing quote"),
        ],
        "k.json",
    );
}

#[test]
fn text_that_begins_with_a_brace_is_json_or_flow() {
    check(&[("{\t\"a\": 1\n\t}", r#"{"a":1}"#), ("{a: yes}", r#"{"a":true}"#)], "-");
}

#[test]
fn nodes_know_their_places() {
    let mut report = Report::default();
    let root = parse(&Arc::from("k"), "services:\n- name: a\n  paths: [ /x, /y ]\n", &mut report).unwrap();
    let service = &root.get("services").unwrap().seq().unwrap()[0];
    assert_eq!(service.span.to_string(), "k:2:3");
    let (key, paths) = service.entry("paths").unwrap();
    assert_eq!((key.span.to_string(), paths.seq().unwrap()[1].span.to_string()), ("k:3:3".into(), "k:3:16".into()));
}
