//! The rules of the house that a compiler does not know: who may name whom, who may read a clock, where dialects are
//! spoken. A rule that needs remembering is forgotten; these run with every test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may name whom. `boot` and `cli` may name anything.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("plan", &["base"]),
    ("http", &["base"]),
    ("tls", &["base"]),
    ("route", &["base", "plan", "http"]),
    ("balance", &["base", "plan"]),
    ("limit", &["base"]),
    ("auth", &["base"]),
    ("redis", &["base"]),
    ("hook", &["base", "plan", "http", "redis"]),
    ("plugins", &["base", "plan", "http", "hook", "limit", "auth", "redis"]),
    ("config", &["base", "plan", "auth", "hook"]),
    ("io", &["base", "tls"]),
    ("bus", &["base", "plan", "balance"]),
    ("shard", &["base", "plan", "http", "tls", "route", "balance", "limit", "redis", "hook", "io", "bus"]),
    ("control", &["base", "plan", "http", "tls", "route", "balance", "auth", "hook", "config", "io", "bus"]),
];

struct Source {
    path: String,
    room: String,
    /// Its code without comments and without what only tests see.
    code: String,
}

fn files(under: &Path, suffix: &str, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(under).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, suffix, out);
        } else if path.to_string_lossy().ends_with(suffix) {
            out.push(path);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root().join("src"), ".rs", &mut paths);
    assert!(paths.len() > 50, "the sources were not found");
    let only_tests = ["tests.rs", "testing.rs", "rig.rs", "wild.rs", "naive.rs"];
    paths
        .into_iter()
        .filter(|path| !only_tests.iter().any(|name| path.ends_with(name)))
        .map(|path| {
            let relative = path.strip_prefix(root().join("src")).expect("found there").to_string_lossy().into_owned();
            let room = relative.split('/').next().unwrap_or("").trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).expect("a source is text");
            let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or("");
            let code = before_tests
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .map(|line| line.split(" // ").next().unwrap_or(line))
                .collect::<Vec<_>>()
                .join("\n");
            Source { path: relative, room, code }
        })
        .collect()
}

#[track_caller]
fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Lines of `code` that hold `word` with no word character around it.
fn lines_with<'a>(source: &'a Source, word: &'a str) -> impl Iterator<Item = String> + 'a {
    source
        .code
        .lines()
        .filter(move |line| {
            line.match_indices(word).any(|(at, _)| {
                let bytes = line.as_bytes();
                (at == 0 || !is_word(bytes[at - 1])) && bytes.get(at + word.len()).is_none_or(|&next| !is_word(next))
            })
        })
        .map(|line| format!("{}: {}", source.path, line.trim()))
}

#[test]
fn a_room_names_only_rooms_in_its_row() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut found = Vec::new();
    for source in sources() {
        if ["main", "lib", "boot", "cli"].contains(&source.room.as_str()) {
            continue;
        }
        let Some(may) = layers.get(source.room.as_str()) else {
            found.push(format!("{}: the room {:?} has no row", source.path, source.room));
            continue;
        };
        for (at, _) in source.code.match_indices("crate::") {
            let named: String =
                source.code[at + 7..].chars().take_while(|&c| c.is_alphanumeric() || c == '_').collect();
            if named != source.room && !may.contains(&named.as_str()) && !named.is_empty() {
                found.push(format!("{}: names {named}", source.path));
            }
        }
        assert!(!source.code.contains("use crate::{"), "{}: write one `use` per room", source.path);
    }
    none("rooms that name what is not in their row", found);
}

#[test]
fn nothing_below_io_reads_a_clock_or_touches_the_world() {
    let below = ["base", "plan", "http", "route", "balance", "limit", "auth", "redis", "hook", "plugins", "config"];
    let words = ["Instant", "SystemTime", "TcpStream", "TcpListener", "UdpSocket", "thread", "rand", "File", "spawn"];
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| below.contains(&source.room.as_str())) {
        for word in words {
            // The log's `File` variant is a word of the model, not a file, and so are a compiler's source and what a hint names; a panic hook is no
            // thread.
            let is_word = |line: &String| {
                ["LogPath::File", "File(String)", "\"File", "protox::file", "openssl rand"]
                    .iter()
                    .any(|held| line.contains(held))
            };
            found.extend(lines_with(source, word).filter(|line| !is_word(line)));
        }
    }
    none("clocks, sockets, threads or randomness below io", found);
}

#[test]
fn only_io_names_monoio_and_only_the_control_side_names_tokio() {
    let mut found = Vec::new();
    for source in &sources() {
        if source.room != "io" {
            found.extend(lines_with(source, "monoio"));
        }
        // The traits that the HTTP/2 engine asks of a connection are tokio's; its runtime is not.
        let is_seam = source.path == "io/duplex.rs";
        if !is_seam && !["control", "boot", "cli"].contains(&source.room.as_str()) {
            found.extend(lines_with(source, "tokio"));
        }
    }
    none("runtimes named outside their rooms", found);
}

#[test]
fn no_lock_on_the_path_of_a_request() {
    let rooms = ["shard", "route", "limit", "plugins"];
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| rooms.contains(&source.room.as_str())) {
        for word in ["Mutex", "RwLock"] {
            found.extend(lines_with(source, word));
        }
    }
    none("locks where requests pass", found);
}

#[test]
fn state_hangs_off_the_shard() {
    let mut found = Vec::new();
    for source in &sources() {
        for word in ["thread_local!", "static mut"] {
            found.extend(
                source
                    .code
                    .lines()
                    .filter(|line| line.contains(word))
                    .map(|line| format!("{}: {}", source.path, line.trim())),
            );
        }
    }
    none("state that no struct owns", found);
}

#[test]
fn dialects_are_spoken_in_their_rooms_only() {
    // Names that clients of the dialect rely on, and that a plugin of theirs must keep.
    let kept = [
        "plugins/correlation_id.rs",
        "plugins/request_termination.rs",
        "plugins/request_validator/mod.rs",
        "plugins/response_ratelimiting.rs",
    ];
    let mut found = Vec::new();
    for source in &sources() {
        let own = ["config/", "cli/", "boot.rs"].iter().any(|room| source.path.starts_with(room));
        if own || kept.contains(&source.path.as_str()) {
            continue;
        }
        for (number, line) in source.code.lines().enumerate() {
            let lower = line.to_ascii_lowercase();
            if lower.contains("kong") || lower.contains("envoy") {
                found.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    none("words of a dialect outside config", found);
}

#[test]
fn lints_are_expected_with_a_reason() {
    let mut found = Vec::new();
    for source in &sources() {
        found.extend(
            source
                .code
                .lines()
                .filter(|line| line.contains("#[allow") || line.contains("#![allow"))
                .map(|line| format!("{}: {}", source.path, line.trim())),
        );
    }
    none("bare allows", found);
}

#[test]
fn paths_that_the_map_names_exist() {
    let map = fs::read_to_string(root().join("src/lib.rs")).expect("there is a map");
    let mut named = 0;
    for word in map.split('`').filter(|word| word.starts_with("src/") || word.starts_with("tests/")) {
        named += 1;
        assert!(root().join(word).exists(), "src/lib.rs names {word}, which is not there");
    }
    assert!(named > 10, "the map names {named} paths: is it still read right?");
}

#[test]
fn what_is_disabled_says_why() {
    let mut paths = Vec::new();
    files(&root().join("tests"), "disabled.toml", &mut paths);
    assert!(!paths.is_empty(), "no list of disabled cases was found");
    for path in paths {
        let text = fs::read_to_string(&path).expect("a list is text");
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (case, reason) in &table {
            let said = match reason {
                toml::Value::String(reason) => reason.trim().len() > 10,
                toml::Value::Table(rows) => {
                    rows.values().all(|row| row.as_str().is_some_and(|row| row.trim().len() > 10))
                }
                toml::Value::Array(rows) => rows.iter().all(|row| row.get("reason").is_some()),
                _ => false,
            };
            assert!(said, "{}: {case} has no reason", path.display());
        }
    }
}
