//! What users of a kong.yml rely on, as rows: a configuration, a request, what comes back and what the upstream saw.
//!
//! Rows of `cases/*.toml` are in our words and follow the published behaviour of the reference. `RINGWAY_CASE=text` runs
//! only those whose id or name holds the text. Rows that cannot hold yet stand in `cases/disabled.toml` with the reason.

use crate::harness::echo::Echo;
use crate::harness::gateway::ringway;
use crate::harness::text;
use crate::harness::tokens::{words, Token};
use crate::harness::wire::{End, Message};
use crate::harness::{Client, Gateway, Setup};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Texts that rows' configurations may name as `$name`.
    #[serde(default)]
    shared: BTreeMap<String, String>,
    /// Tokens that rows may name as `$name`.
    #[serde(default)]
    tokens: BTreeMap<String, Token>,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    name: String,
    /// kong.yml, without its first line; `$UP`, `$UP2`, `$UP3` are echo upstreams, `$DEAD` a closed port.
    config: String,
    /// Another first line than `_format_version: "3.0"`.
    version: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Settings of `runtime:`.
    #[serde(default)]
    runtime: Vec<String>,
    #[serde(default)]
    step: Vec<Step>,
    /// The configuration is refused; these texts stand in what `check` says.
    #[serde(default)]
    refused: Vec<String>,
    /// It is taken, and `check` warns with these texts.
    #[serde(default)]
    warned: Vec<String>,
}

/// A request, sent `times` times, and what is true of each answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// `GET /x`; the version and `Host: client.test` are added where they are not given.
    #[serde(default)]
    send: String,
    /// Is it sent to the admin listener?
    #[serde(default)]
    admin: bool,
    /// Replaces kong.yml first and waits until it is served.
    reload: Option<String>,
    #[serde(default)]
    headers: Vec<String>,
    body: Option<String>,
    /// The whole request as bytes, in place of `send`.
    raw: Option<String>,
    #[serde(default = "one")]
    times: usize,
    /// All at once, on connections of their own; `statuses` says how many of each.
    #[serde(default)]
    at_once: bool,
    #[serde(default)]
    statuses: BTreeMap<String, usize>,
    #[serde(default)]
    status: u16,
    /// Values of fields: exact, `~regex`, or `-` for none.
    #[serde(default)]
    has: BTreeMap<String, String>,
    /// Pairs of fields that are there and hold the same.
    #[serde(default)]
    equal: Vec<[String; 2]>,
    /// The body, exactly.
    text: Option<String>,
    /// The message of the error template, whose id must be that of the header.
    error: Option<String>,
    /// A piece of the body.
    part: Option<String>,
    /// Values in the body as JSON, by pointer: exact, `~regex`, or `-` for none. The echo's are `/uri`, `/headers/…`.
    #[serde(default)]
    json: BTreeMap<String, Value>,
    /// `1.0` … for several: the value of this field counts down by one from answer to answer.
    counts_down: Option<BTreeMap<String, i64>>,
    /// How many requests the upstreams have seen since the last step: `{ UP = 3 }`.
    #[serde(default)]
    seen: BTreeMap<String, usize>,
    /// Sleeps so many ms before it, where time is the point.
    #[serde(default)]
    after_ms: u64,
    /// Waits for a new minute if this one has less than so many seconds left, so that no window ends in the middle.
    #[serde(default)]
    in_one_minute: u64,
}

fn one() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disabled {
    #[serde(default)]
    disabled: Vec<DisabledRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DisabledRow {
    id: String,
    reason: String,
}

struct World {
    ups: Vec<Echo>,
    dead: u16,
}

fn run(file: &str, rows: &str) {
    let mut file_rows: File = toml::from_str(rows).unwrap_or_else(|e| panic!("cases/{file}: {e}"));
    file_rows.shared.extend(words(&file_rows.tokens));
    let disabled: Disabled = toml::from_str(include_str!("cases/disabled.toml")).unwrap();
    assert!(disabled.disabled.iter().all(|row| row.reason.len() > 10), "disabled.toml: each row needs its reason");
    let only = std::env::var("RINGWAY_CASE").unwrap_or_default();
    let world =
        World { ups: ["UP", "UP2", "UP3"].map(Echo::start).into_iter().collect(), dead: crate::harness::ports::free() };
    let mut failed = Vec::new();
    let mut ran = 0;
    for case in &file_rows.case {
        let is_off = disabled.disabled.iter().any(|row| row.id == case.id);
        if is_off || !format!("{} {}", case.id, case.name).contains(&only) {
            continue;
        }
        ran += 1;
        world.ups.iter().for_each(|up| {
            up.take_count();
        });
        if let Err(why) = run_case(case, &file_rows.shared, &world) {
            failed.push(format!("{} {}:\n   {why}", case.id, case.name));
        }
    }
    assert!(failed.is_empty(), "{} of {ran} rows of {file} fail\n\n{}\n", failed.len(), failed.join("\n\n"));
    println!("{file}: {ran} rows hold");
}

fn filled(text: &str, shared: &BTreeMap<String, String>, world: &World) -> String {
    let mut text = text.to_owned();
    // From the end of the alphabet, so that a longer name is not taken for a shorter one that it begins with.
    for (name, value) in shared.iter().rev() {
        text = text.replace(&format!("${name}"), value);
    }
    // The longer names first: `$UP` is the beginning of `$UP2`.
    text = text.replace("$UP3", &world.ups[2].addr.to_string()).replace("$UP2", &world.ups[1].addr.to_string());
    text.replace("$UP", &world.ups[0].addr.to_string()).replace("$DEAD", &format!("127.0.0.1:{}", world.dead))
}

fn run_case(case: &Case, shared: &BTreeMap<String, String>, world: &World) -> Result<(), String> {
    let version = case.version.clone().unwrap_or_else(|| "_format_version: \"3.0\"".into());
    let with_version = |config: &str| format!("{version}\n{}", filled(config, shared, world));
    let config = with_version(&case.config);
    if !case.refused.is_empty() || !case.warned.is_empty() {
        check_only(case, &config)?;
    }
    if case.step.is_empty() {
        return if case.refused.is_empty() && case.warned.is_empty() { check_only(case, &config) } else { Ok(()) };
    }
    let mut setup = Setup::kong(config);
    for line in &case.runtime {
        setup = setup.runtime(&filled(line, shared, world));
    }
    for (key, value) in &case.env {
        setup = setup.env(key, value);
    }
    let gateway = setup.try_start().map_err(|why| format!("it does not start: {why}"))?;
    let mut client = gateway.client();
    for (number, step) in case.step.iter().enumerate() {
        let place = |why: String| format!("step {}: {why}\n   the gateway said: {}", number + 1, last_words(&gateway));
        if let Some(config) = &step.reload {
            let before = gateway.status()["configuration_hash"].clone();
            gateway.put_kong(&with_version(config));
            gateway.signal("HUP");
            gateway.wait_until("the new configuration is served", || gateway.status()["configuration_hash"] != before);
        }
        std::thread::sleep(std::time::Duration::from_millis(step.after_ms));
        wait_for_a_minute(step.in_one_minute);
        if step.send.is_empty() && step.raw.is_none() {
            continue;
        }
        run_step(step, &gateway, &mut client, shared, world).map_err(place)?;
    }
    Ok(())
}

fn last_words(gateway: &Gateway) -> String {
    let said = gateway.said();
    let lines: Vec<&str> = said.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n   ")
}

/// Only loads it, with `ringway check`.
fn check_only(case: &Case, config: &str) -> Result<(), String> {
    let dir = std::env::temp_dir().join(format!("ringway-check-{}-{}", std::process::id(), case.id));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("kong.yml");
    std::fs::write(&path, config).unwrap();
    let (code, out, err) = ringway(&["check", "-c", &path.display().to_string()]);
    std::fs::remove_dir_all(&dir).ok();
    let said = format!("{out}{err}");
    let want = i32::from(!case.refused.is_empty());
    if code != want {
        return Err(format!("check exits with {code}, wanted {want}:\n{said}"));
    }
    match case.refused.iter().chain(&case.warned).find(|text| !said.contains(*text)) {
        Some(text) => Err(format!("check does not say \"{text}\", but:\n{said}")),
        None => Ok(()),
    }
}

fn wait_for_a_minute(seconds: u64) {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    while seconds > 0 && 60 - now() % 60 < seconds {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

fn run_step(
    step: &Step,
    gateway: &Gateway,
    client: &mut Client,
    shared: &BTreeMap<String, String>,
    world: &World,
) -> Result<(), String> {
    let fill = |text: &str| filled(text, shared, world);
    let request = bytes_of(step, &fill);
    let mut to_admin = step.admin.then(|| Client::to(gateway.admin));
    let client = to_admin.as_mut().unwrap_or(client);
    let method = text::latin1(&request).split(' ').next().unwrap_or("").to_owned();
    if step.at_once {
        return at_once(step, gateway, &request, &method);
    }
    for turn in 0..step.times {
        let answer = exchange(gateway, client, &request, &method).map_err(|end| format!("answer {turn}: {end:?}"))?;
        judge(step, &answer, turn, &fill).map_err(|why| {
            format!("answer {turn}: {why}\n   in {}{}", text::latin1(&answer.head.raw), text::latin1(&answer.body))
        })?;
    }
    for (name, want) in &step.seen {
        let place = ["UP", "UP2", "UP3"].iter().position(|up| up == name).expect("an upstream's name");
        let got = world.ups[place].take_count();
        if got != *want {
            return Err(format!("{name} saw {got} requests, wanted {want}"));
        }
    }
    Ok(())
}

fn bytes_of(step: &Step, fill: &impl Fn(&str) -> String) -> Vec<u8> {
    if let Some(raw) = &step.raw {
        return text::bytes(&fill(raw));
    }
    let mut head = format!("{} HTTP/1.1\r\n", fill(&step.send));
    if !step.headers.iter().any(|row| row.to_ascii_lowercase().starts_with("host:")) {
        head += "Host: client.test\r\n";
    }
    for row in &step.headers {
        head += &format!("{}\r\n", fill(row));
    }
    let body = step.body.as_deref().map(fill);
    if let Some(body) = &body {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    let mut bytes = text::bytes(&head.replace('\\', "\\\\").replace("\r\n", "\\r\\n"));
    bytes.extend(b"\r\n");
    bytes.extend(body.unwrap_or_default().bytes());
    bytes
}

/// On the row's connection, or on a new one where the gateway has closed that.
fn exchange(gateway: &Gateway, client: &mut Client, request: &[u8], method: &str) -> Result<Message, End> {
    client.send(request);
    match client.answer(method) {
        Err(End::Closed | End::Reset) => {
            *client = gateway.client();
            client.send(request);
            client.answer(method)
        }
        answer => {
            if answer.as_ref().is_ok_and(|answer| answer.head.holds("Connection: close")) {
                *client = gateway.client();
            }
            answer
        }
    }
}

fn at_once(step: &Step, gateway: &Gateway, request: &[u8], method: &str) -> Result<(), String> {
    let threads: Vec<_> = (0..step.times)
        .map(|_| {
            let (addr, request, method) = (gateway.proxy, request.to_vec(), method.to_owned());
            std::thread::spawn(move || {
                let mut client = Client::to(addr);
                client.send(request);
                client.answer(&method).map(|answer| answer.head.status().to_string())
            })
        })
        .collect();
    let mut got: BTreeMap<String, usize> = BTreeMap::new();
    for thread in threads {
        *got.entry(thread.join().unwrap().unwrap_or_else(|end| format!("{end:?}"))).or_default() += 1;
    }
    (got == step.statuses).then_some(()).ok_or_else(|| format!("statuses {got:?}, wanted {:?}", step.statuses))
}

fn judge(step: &Step, answer: &Message, turn: usize, fill: &impl Fn(&str) -> String) -> Result<(), String> {
    let head = &answer.head;
    if head.status() != step.status {
        return Err(format!("status {}, wanted {}", head.status(), step.status));
    }
    for (name, want) in &step.has {
        let all = head.all(name);
        let got = (!all.is_empty()).then(|| all.join(", "));
        same(got.as_deref(), &fill(want)).map_err(|why| format!("{name}: {why}"))?;
    }
    for [one, other] in &step.equal {
        if head.one(one).is_none() || head.one(one) != head.one(other) {
            return Err(format!("{one} is {:?}, {other} is {:?}", head.one(one), head.one(other)));
        }
    }
    if step.text.as_ref().is_some_and(|text| fill(text).as_bytes() != answer.body) {
        return Err("another body".into());
    }
    if step.part.as_ref().is_some_and(|part| !text::latin1(&answer.body).contains(&fill(part))) {
        return Err("that is not in the body".into());
    }
    if let Some(message) = &step.error {
        let id = head.one("X-Kong-Request-Id").unwrap_or("(none)");
        let want = format!("{{\n  \"message\":\"{message}\",\n  \"request_id\":\"{id}\"\n}}");
        if want.as_bytes() != answer.body || head.one("Content-Type") != Some("application/json; charset=utf-8") {
            return Err(format!("not the error template: {want}"));
        }
    }
    for (name, first) in step.counts_down.iter().flatten() {
        same(head.one(name), &(first - turn as i64).to_string()).map_err(|why| format!("{name}: {why}"))?;
    }
    if step.json.is_empty() {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(&answer.body).map_err(|e| format!("no JSON: {e}"))?;
    for (pointer, want) in &step.json {
        let got = body.pointer(pointer);
        match want {
            Value::String(want) => {
                let text = got.map(|got| got.as_str().map_or_else(|| got.to_string(), str::to_owned));
                same(text.as_deref(), &fill(want)).map_err(|why| format!("{pointer}: {why}"))?;
            }
            want if got == Some(want) => {}
            want => return Err(format!("{pointer}: {got:?}, wanted {want}")),
        }
    }
    Ok(())
}

/// Exact, `~regex`, or `-` for none.
fn same(got: Option<&str>, want: &str) -> Result<(), String> {
    let holds = match (got, want.strip_prefix('~')) {
        (None, _) => want == "-",
        (Some(got), Some(pattern)) => regex::Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(got),
        (Some(got), None) => got == want,
    };
    holds.then_some(()).ok_or_else(|| format!("{got:?}, wanted {want:?}"))
}

macro_rules! files {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            run(stringify!($name), include_str!(concat!("cases/", stringify!($name), ".toml")));
        }
    )* };
}

files! {
    admin loading routing paths proxying balancing precedence
    acl basic_auth bot_detection consumer_groups correlation_id cors fault_injection grpc_web hmac_auth ip_restriction jwt key_auth limits rate_limiting redirect
    request_size_limiting request_transformer request_validator response_transformer seed termination
}
