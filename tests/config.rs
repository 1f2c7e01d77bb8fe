//! Files → golden plans and golden reports. `UPDATE_GOLDEN=1 cargo test --test config` rewrites what is expected; look
//! at the difference before you commit it.
//!
//! `good/NAME.*` must load; `NAME.plan` is the plan, with its warnings below. `bad/NAME.*` must not; `NAME.report` is
//! what a person reads. Files `NAME.1.yml`, `NAME.2.yml` … are loaded together; a first line `# env: A=B C=D` sets
//! variables.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its files has nothing to say but where it stood")]

#[path = "config/render.rs"]
mod render;

use ringway::base::rng::Rng;
use ringway::config::{diagnostics, load, Sources};
use ringway::plan::report::Report;
use ringway::plan::Plan;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Loads texts; what nobody wrote is made of a seed, so that it is the same at every run.
fn read(files: &[(String, String)]) -> (Option<Plan>, Report) {
    let first_lines = files.iter().filter_map(|(_, text)| text.lines().next()?.strip_prefix("# env: "));
    let env: Vec<(String, String)> = first_lines
        .flat_map(str::split_whitespace)
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut rng = Rng::new(7);
    let mut random = |bytes: &mut [u8]| bytes.iter_mut().for_each(|b| *b = rng.next_u64() as u8);
    let sources = Sources { files, conf: None, env: &env, read: &|_| Err("no such file".to_owned()) };
    load(&sources, ringway::plugins::ALL, &mut random)
}

/// The cases of a folder: name → its files, in order.
fn cases(folder: &str) -> BTreeMap<String, Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let mut cases: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        if file.ends_with(".plan") || file.ends_with(".report") {
            continue;
        }
        cases.entry(file.split('.').next().unwrap().to_owned()).or_default().push(path);
    }
    cases.values_mut().for_each(|files| files.sort());
    cases
}

fn texts(paths: &[PathBuf]) -> Vec<(String, String)> {
    let one = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    paths.iter().map(one).collect()
}

/// Compares with what is expected, or writes it.
fn golden(path: &Path, got: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return std::fs::write(path, got).unwrap();
    }
    let want = std::fs::read_to_string(path).unwrap_or_default();
    if want != got {
        wrong.push(format!("--- {} expects\n{want}--- and is\n{got}", path.display()));
    }
}

#[test]
fn good_files_make_these_plans() {
    let mut wrong = Vec::new();
    for (name, paths) in cases("good") {
        let (plan, report) = read(&texts(&paths));
        let told = diagnostics::human(&report);
        let Some(plan) = plan else {
            wrong.push(format!("{name} does not load:\n{told}"));
            continue;
        };
        let got = format!("{}{told}", render::plan(&plan));
        golden(&paths[0].with_file_name(format!("{name}.plan")), &got, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bad_files_are_told_all_their_faults() {
    let mut wrong = Vec::new();
    for (name, paths) in cases("bad") {
        let (plan, report) = read(&texts(&paths));
        if plan.is_some() {
            wrong.push(format!("{name} loads"));
        }
        golden(&paths[0].with_file_name(format!("{name}.report")), &diagnostics::human(&report), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_same_files_have_the_same_hash_and_ids() {
    let file = |text: &str| vec![("k.yml".to_owned(), text.to_owned())];
    let text = "_format_version: '3.0'\nservices: [{name: a, host: h, routes: [{name: r, paths: [/]}]}]\n";
    let [one, two] = [read(&file(text)), read(&file(text))].map(|(plan, _)| plan.unwrap());
    assert_eq!(one.hash, two.hash);
    assert_eq!(one.routes[0].id, two.routes[0].id);
    let other = read(&file(&text.replace("host: h", "host: i"))).0.unwrap();
    assert_ne!(one.hash, other.hash);
}

#[test]
fn what_has_no_name_keeps_its_id() {
    let text = "_format_version: '3.0'\nservices:\n\
                - {url: 'http://h', routes: [{paths: [/a]}, {paths: [/b]}, {paths: [/b]}]}\n";
    let ids = |text: &str| -> BTreeMap<String, Vec<_>> {
        let plan = read(&[("k.yml".to_owned(), text.to_owned())]).0.unwrap();
        let mut ids: BTreeMap<String, Vec<_>> = BTreeMap::new();
        plan.routes.iter().for_each(|route| ids.entry(format!("{:?}", route.paths)).or_default().push(route.id));
        ids
    };
    let (one, two) =
        (ids(text), ids(&text.replace("- {url", "- {url: 'http://first', routes: [{paths: [/c]}]}\n- {url")));
    assert_eq!((one.len(), two.len()), (2, 3));
    one.iter().for_each(|(paths, ids)| assert_eq!(&two[paths], ids));
    assert!(one.values().any(|ids| ids.len() == 2 && ids[0] != ids[1]));
}

#[test]
fn no_text_brings_the_reader_down() {
    const SEED: u64 = 0x5eed;
    let mut rng = Rng::new(SEED);
    let pieces = [
        "", "~", "'", "\"", "{", "}", "[", "]", ":", "- ", "\n", "\t", "&a ", "*a", "<<: ", "null", "-1", "1e999", "é",
        "%",
    ];
    for paths in cases("good").into_values().chain(cases("bad").into_values()) {
        for (name, text) in texts(&paths) {
            for _ in 0..100 {
                let mut broken: Vec<char> = text.chars().collect();
                for _ in 0..=rng.below(3) {
                    let at = rng.below(broken.len() as u64) as usize;
                    let end = (at + rng.below(4) as usize).min(broken.len());
                    broken.splice(at..end, pieces[rng.below(pieces.len() as u64) as usize].chars());
                }
                let files = [(name.clone(), broken.into_iter().collect())];
                let (plan, report) = read(&files);
                assert_eq!(plan.is_some(), report.is_clean(), "seed {SEED:#x}: {}", files[0].1);
            }
        }
    }
}
