//! Findings of a load as text for people and as JSON for machines.

use crate::plan::report::{Report, Severity};
use crate::plan::Plan;
use serde_json::{json, Value};

/// One finding a line, in the order of the files, and a line that sums up.
pub(super) fn as_text(report: &Report, plan: Option<&Plan>, files: usize) -> String {
    let mut text: String = report.sorted().iter().map(|finding| format!("{finding}\n")).collect();
    let (faults, warnings) = counts(report);
    let found = format!("{} and {}", count(faults, "fault"), count(warnings, "warning"));
    let files = count(files, "file");
    text += &match plan.filter(|_| faults == 0) {
        Some(plan) => format!(
            "good: {files} with {}, {}, {} and {}; {found}\n",
            count(plan.routes.len(), "route"),
            count(plan.services.len(), "service"),
            count(plan.plugins.len(), "plugin"),
            count(plan.consumers.len(), "consumer"),
        ),
        None => format!("refused: {files}; {found}\n"),
    };
    text
}

/// The same as one JSON document.
pub(super) fn as_json(report: &Report, plan: Option<&Plan>) -> Value {
    let (faults, warnings) = counts(report);
    let findings: Vec<Value> = report
        .sorted()
        .iter()
        .map(|finding| {
            json!({
                "severity": if finding.severity == Severity::Fault { "fault" } else { "warning" },
                "file": &*finding.span.file,
                "line": finding.span.line,
                "column": finding.span.column,
                "path": finding.path,
                "message": finding.message,
                "hint": finding.hint,
            })
        })
        .collect();
    json!({
        "ok": is_good(report, plan),
        "configuration_hash": plan.map(|plan| &plan.hash),
        "faults": faults,
        "warnings": warnings,
        "findings": findings,
    })
}

/// Can it be served?
pub(super) fn is_good(report: &Report, plan: Option<&Plan>) -> bool {
    plan.is_some() && report.is_clean()
}

fn counts(report: &Report) -> (usize, usize) {
    let faults = report.findings.iter().filter(|finding| finding.severity == Severity::Fault).count();
    (faults, report.findings.len() - faults)
}

fn count(n: usize, noun: &str) -> String {
    match n {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::span::Span;
    use crate::control::testing::plan_of;
    use std::sync::Arc;

    fn report() -> Report {
        let file: Arc<str> = Arc::from("a.yml");
        let mut report = Report::default();
        report.warning(&Span::new(&file, 9, 1), "", "later", "");
        report.fault(&Span::new(&file, 2, 3), "services[0]", "unknown field", "did you mean \"host\"?");
        report
    }

    #[test]
    fn findings_are_in_the_order_of_the_file_and_summed_up() {
        assert_eq!(
            as_text(&report(), None, 1),
            "a.yml:2:3: services[0]: unknown field; did you mean \"host\"?\na.yml:9:1: warning: later\n\
             refused: 1 file; 1 fault and 1 warning\n"
        );
        assert_eq!(
            as_text(&Report::default(), Some(&plan_of(&[])), 2),
            "good: 2 files with no routes, no services, no plugins and no consumers; no faults and no warnings\n"
        );
    }

    #[test]
    fn machines_read_the_same() {
        let json = as_json(&report(), None);
        assert_eq!((&json["ok"], &json["faults"], &json["warnings"]), (&json!(false), &json!(1), &json!(1)));
        assert_eq!(json["findings"][0]["line"], 2);
        assert_eq!(json["findings"][1]["severity"], "warning");
        assert_eq!(as_json(&Report::default(), Some(&plan_of(&[])))["ok"], true);
    }
}
