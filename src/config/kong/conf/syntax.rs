//! `key = value` lines and `KONG_*` variables → settings with their places.
//!
//! Not here: what a key means (`mod.rs`), and whether it is one (`known.rs`).

use crate::base::span::{At, Span};
use crate::config::kong::Vaults;
use crate::plan::report::Report;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a variable of a node begins with.
pub(crate) const PREFIX: &str = "KONG_";

/// A setting as written.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Its name as its reader knows it: `proxy_listen` in a file, `KONG_PROXY_LISTEN` in the environment.
    pub(crate) shown: String,
    /// Its value, references to vaults resolved. Never shown: it may be a secret.
    pub(crate) value: String,
    /// Was the value a reference? Then it is not repeated in messages.
    pub(crate) secret: bool,
    /// Where the value stands; for a variable its name stands for the file.
    pub(crate) span: Span,
}

impl Setting {
    /// The value as a message may repeat it.
    pub(crate) fn quoted(&self) -> String {
        if self.secret {
            "the referenced value".to_owned()
        } else {
            format!("{:?}", self.value) // escaped: what was written must not steer a terminal
        }
    }
}

/// Settings by their name in the file, lower-case.
pub(crate) type Settings = BTreeMap<String, Setting>;

/// Reads the lines of a file; of a key that stands twice the last one holds.
pub(crate) fn file(name: &str, text: &str, settings: &mut Settings, report: &mut Report) {
    let name: Arc<str> = Arc::from(name);
    for (line, number) in text.lines().zip(1u32..) {
        let bare = uncommented(line);
        if bare.trim().is_empty() {
            continue;
        }
        let column = |offset: usize| bare[..offset].chars().count() as u32 + 1;
        let start = bare.len() - bare.trim_start().len();
        let Some(equals) = bare.find('=') else {
            let span = Span::new(&name, number, column(start));
            report.fault(&span, "", "expected \"key = value\"", "begin a comment with \"#\"");
            continue;
        };
        let key = bare[..equals].trim().to_ascii_lowercase();
        let after = &bare[equals + 1..];
        let value_at = equals + 1 + (after.len() - after.trim_start().len());
        let value = unquoted(after.trim()).replace("\\#", "#");
        let span = Span::new(&name, number, column(value_at));
        settings.insert(key.clone(), Setting { shown: key, value, secret: false, span });
    }
}

/// Takes the `KONG_*` variables; each stands over the file's setting of its name.
pub(crate) fn environment(env: &[(String, String)], settings: &mut Settings) {
    for (name, value) in env {
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        if key.is_empty() || is_foreign(key) {
            continue;
        }
        let span = Span { file: Arc::from(name.as_str()), line: 0, column: 0 };
        let setting = Setting { shown: name.clone(), value: value.trim().to_owned(), secret: false, span };
        settings.insert(key.to_ascii_lowercase(), setting);
    }
}

/// Resolves what is written as `{vault://env/…}`; what cannot be resolved is a warning and becomes empty.
pub(crate) fn resolve(settings: &mut Settings, env: &[(String, String)], report: &mut Report) {
    let vaults = Vaults::new(env);
    for setting in settings.values_mut().filter(|setting| setting.value.starts_with("{vault://")) {
        let resolved = vaults.resolve(&setting.value);
        if let Err(why) = &resolved {
            let message = format!("could not resolve reference {}: {why}", setting.value);
            report.warning(&setting.span, &setting.shown, message, "the setting keeps its default");
        }
        setting.value = resolved.unwrap_or_default();
        setting.secret = true;
    }
}

/// Is this a variable that containers and orchestrators set beside a node's settings? Kubernetes writes the addresses
/// of every service of the namespace (`KONG_PROXY_SERVICE_HOST`, `KONG_PROXY_PORT_80_TCP_ADDR`); images name their
/// version; bootstrap scripts keep a password.
fn is_foreign(key: &str) -> bool {
    const IMAGE: [&str; 6] = ["VERSION", "SHA256", "PASSWORD", "LICENSE_DATA", "LICENSE_PATH", "DOCKER_TAG"];
    let words: Vec<&str> = key.split('_').collect();
    let is_number = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let link = words.windows(3).any(|w| w[0] == "PORT" && is_number(&w[1]) && matches!(w[2], "TCP" | "UDP"));
    let service = words.windows(2).any(|w| w[0] == "SERVICE" && matches!(w[1], "HOST" | "PORT"));
    // `KONG_PROXY_PORT=tcp://10.0.0.1:80`; no setting of a node is called `…_port` but those of databases and mail.
    let port = words.last() == Some(&"PORT") && !matches!(words.first(), Some(&("PG" | "CASSANDRA" | "SMTP")));
    IMAGE.contains(&key) || link || service || port
}

/// A line up to its comment: `#` begins one unless a backslash stands before it.
fn uncommented(line: &str) -> &str {
    let mut before = '\0';
    for (at, c) in line.char_indices() {
        if c == '#' && before != '\\' {
            return &line[..at];
        }
        before = c;
    }
    line
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inside = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        // A quote within means that the outer two are not a pair: `'a' 'b'`.
        if let Some(inside) = inside.filter(|inside| !inside.contains(quote)) {
            return inside;
        }
    }
    text
}

/// A value with its place, for those who take it along.
pub(crate) fn at(setting: &Setting) -> At<String> {
    At::new(setting.value.clone(), setting.span.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn lines_are_keys_and_values() {
        // line, key, value, column
        let rows = [
            ("a = b", "a", "b", 5),
            ("  A=b  ", "a", "b", 5),
            ("a = b # why", "a", "b", 5),
            ("a = b\\#c", "a", "b#c", 5),
            ("a = \"b c\"", "a", "b c", 5),
            ("a = 'b' 'c'", "a", "'b' 'c'", 5),
            ("a =", "a", "", 4),
            ("a = b = c", "a", "b = c", 5),
            ("ä = b", "ä", "b", 5),
        ];
        for (line, key, value, column) in rows {
            let (mut settings, mut report) = (Settings::new(), Report::default());
            file("k.conf", line, &mut settings, &mut report);
            assert!(report.findings.is_empty(), "{line:?}: {:?}", report.findings);
            let got = &settings[key];
            assert_eq!((got.value.as_str(), got.span.column), (value, column), "{line:?}");
        }
        let (mut settings, mut report) = (Settings::new(), Report::default());
        file("k.conf", "# a = b\n\n  nonsense\na = 1\na = 2\n", &mut settings, &mut report);
        assert_eq!(settings["a"].value, "2");
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].span.to_string(), "k.conf:3:3");
    }

    #[test]
    fn the_environment_stands_over_the_file() {
        let (mut settings, mut report) = (Settings::new(), Report::default());
        file("k.conf", "log_level = info", &mut settings, &mut report);
        environment(&pairs(&[("KONG_LOG_LEVEL", "debug"), ("HOME", "/root"), ("KONG_", "x")]), &mut settings);
        assert_eq!(settings["log_level"].value, "debug");
        assert_eq!(settings["log_level"].span.to_string(), "KONG_LOG_LEVEL");
        assert_eq!(settings.len(), 1);
    }

    #[test]
    fn what_orchestrators_write_is_no_setting() {
        let foreign = [
            "VERSION",
            "PROXY_SERVICE_HOST",
            "PROXY_SERVICE_PORT_KONG_PROXY",
            "PROXY_PORT",
            "PROXY_PORT_80_TCP",
            "PROXY_PORT_80_TCP_ADDR",
        ];
        for key in foreign {
            assert!(is_foreign(key), "{key}");
        }
        for key in ["PG_PORT", "PROXY_LISTEN", "PORT_MAPS", "PG_PASSWORD", "SMTP_PORT"] {
            assert!(!is_foreign(key), "{key}");
        }
    }

    #[test]
    fn references_are_resolved_and_not_repeated() {
        let env = pairs(&[("MY_LEVEL", "debug")]);
        let (mut settings, mut report) = (Settings::new(), Report::default());
        file("k.conf", "log_level = {vault://env/my-level}\nx = {vault://env/none}", &mut settings, &mut report);
        resolve(&mut settings, &env, &mut report);
        assert_eq!(settings["log_level"].quoted(), "the referenced value");
        assert_eq!(settings["log_level"].value, "debug");
        assert_eq!(report.findings.len(), 1);
        assert!(report.is_clean());
    }
}
