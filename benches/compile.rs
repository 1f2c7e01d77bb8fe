//! What a reload costs before the shards see it: text → plan → tables, for few and for many routes and consumers.
//!
//! `cargo bench --bench compile`. All of it runs off the shards; what matters is how long a change takes to arrive, and
//! how much memory passes through. divan counts allocations here.

use divan::{black_box, AllocProfiler, Bencher};
use ringway::boot::descriptors;
use ringway::config::{self, Sources};
use ringway::hook::Shelf;
use ringway::plan::Plan;
use ringway::shard::Tables;
use std::fmt::Write;
use std::sync::Arc;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Routes, and as many consumers.
const COUNTS: [usize; 3] = [10, 1_000, 10_000];

fn main() {
    divan::main();
}

/// A native file: one service, `count` routes and `count` consumers with a key each.
fn text(count: usize) -> String {
    let mut text = String::from("services:\n  - name: origin\n    url: http://127.0.0.1:18080\n    routes:\n");
    for n in 0..count {
        let _ = writeln!(text, "      - {{name: r{n}, paths: [/r/{n}/]}}");
    }
    text.push_str("consumers:\n");
    for n in 0..count {
        let _ = writeln!(text, "  - {{username: c{n}, keyauth_credentials: [{{key: key-of-consumer-{n}}}]}}");
    }
    text.push_str("plugins:\n  - {name: correlation-id, config: {header_name: X-Correlation-ID}}\n");
    text
}

fn plan(files: &[(String, String)]) -> Plan {
    let sources = Sources { files, conf: None, env: &[], read: &|path| Err(format!("no {path} here")) };
    // Ids that nobody wrote need only differ.
    let mut serial = 0u8;
    let mut random = |bytes: &mut [u8]| {
        for byte in bytes {
            serial = serial.wrapping_add(1);
            *byte = serial;
        }
    };
    let (plan, report) = config::load(&sources, descriptors(), &mut random);
    plan.unwrap_or_else(|| panic!("{report:?}"))
}

/// A kong.yml: `count` services with a route, a limit and an expression each, and as many consumers with a key.
fn kong(count: usize) -> String {
    let mut text = String::from("_format_version: '3.0'\nservices:\n");
    for n in 0..count {
        let _ = write!(
            text,
            "- name: s{n}\n  url: http://h{n}.test:80\n  routes:\n  - name: r{n}\n    hosts: [h{n}.test]\n    \
             paths: [/a/{n}, '~/b/\\d+/{n}']\n    methods: [GET, POST]\n    plugins:\n    - name: rate-limiting\n      \
             config: {{minute: 5}}\n"
        );
    }
    text.push_str("consumers:\n");
    for n in 0..count {
        let _ = writeln!(text, "- username: u{n}\n  keyauth_credentials: [{{key: key-{n}}}]");
    }
    text
}

/// Text to plan, of a file of Kong's.
#[divan::bench(args = COUNTS, sample_count = 10)]
fn read_kong(bencher: Bencher<'_, '_>, count: usize) {
    let files = [("kong.yml".to_owned(), kong(count))];
    bencher.bench(|| plan(black_box(&files)));
}

/// Text to plan: parsing, checks, links.
#[divan::bench(args = COUNTS, sample_count = 10)]
fn read(bencher: Bencher<'_, '_>, count: usize) {
    let files = [("bench.yaml".to_owned(), text(count))];
    bencher.bench(|| plan(black_box(&files)));
}

/// Plan to tables: the routing table, chains of plugins, the directory of consumers.
#[divan::bench(args = COUNTS, sample_count = 10)]
fn compile(bencher: Bencher<'_, '_>, count: usize) {
    let plan = Arc::new(plan(&[("bench.yaml".to_owned(), text(count))]));
    let shelf = Shelf::default();
    bencher.bench(|| match Tables::compile(black_box(plan.clone()), descriptors(), &shelf) {
        Ok(tables) => tables,
        Err(faults) => panic!("{faults:?}"),
    });
}
