//! A report for people (`file:line:column: path: message; hint`) and for programs (JSON).

use crate::plan::report::{Finding, Report, Severity};
use serde_json::{json, Value as Json};

/// A line per finding, by place, and a last line that counts them. Empty where there is nothing to say.
pub fn human(report: &Report) -> String {
    let mut out = String::new();
    for finding in report.sorted() {
        out.push_str(&printable(&finding.to_string()));
        out.push('\n');
    }
    let (faults, warnings) = counts(report);
    let many = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (faults, warnings) {
        (0, 0) => {}
        (0, _) => out.push_str(&format!("{}\n", many(warnings, "warning"))),
        (_, 0) => out.push_str(&format!("{}\n", many(faults, "fault"))),
        (_, _) => out.push_str(&format!("{}, {}\n", many(faults, "fault"), many(warnings, "warning"))),
    }
    out
}

/// The same as one JSON object: `{"ok": …, "faults": n, "warnings": n, "findings": [{…}]}`.
pub fn json(report: &Report) -> Json {
    let (faults, warnings) = counts(report);
    let finding = |finding: &&Finding| {
        json!({
            "severity": match finding.severity {
                Severity::Fault => "fault",
                Severity::Warning => "warning",
            },
            "file": &*finding.span.file,
            "line": finding.span.line,
            "column": finding.span.column,
            "path": finding.path,
            "message": finding.message,
            "hint": finding.hint,
        })
    };
    let findings: Vec<Json> = report.sorted().iter().map(finding).collect();
    json!({"ok": faults == 0, "faults": faults, "warnings": warnings, "findings": findings})
}

fn counts(report: &Report) -> (usize, usize) {
    let faults = report.findings.iter().filter(|finding| finding.severity == Severity::Fault).count();
    (faults, report.findings.len() - faults)
}

/// What a file holds must not steer the terminal it is shown on.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::span::Span;
    use std::sync::Arc;

    #[test]
    fn findings_are_told_by_place_and_counted() {
        let file: Arc<str> = Arc::from("k.yml");
        let mut report = Report::default();
        report.fault(&Span::new(&file, 14, 9), "routes[2].paths[0]", "not a path: \"\u{1b}[2J\"", "write \"/foo\"");
        report.warning(&Span::new(&file, 3, 1), "", "old", "");
        let want =
            "k.yml:3:1: warning: old\nk.yml:14:9: routes[2].paths[0]: not a path: \"\\u{1b}[2J\"; write \"/foo\"\n\
                    1 fault, 1 warning\n";
        assert_eq!(human(&report), want);
        let json = json(&report);
        assert_eq!(json["ok"], false);
        assert_eq!(json["findings"][1]["line"], 14);
        assert_eq!(human(&Report::default()), "");
    }
}
