//! References to vaults: `{vault://env/my-secret/key?prefix=X_#2}`. There is one kind of vault, the environment.

use crate::config::doc::Node;
use std::collections::BTreeMap;

/// The vaults of a configuration, and the environment behind them.
#[derive(Clone, Debug, Default)]
pub struct Vaults {
    variables: BTreeMap<String, String>,
    /// Name of a vault → what it puts before names of variables.
    prefixes: BTreeMap<String, String>,
}

impl Vaults {
    /// The one vault that is always there, over these variables.
    pub fn new(env: &[(String, String)]) -> Vaults {
        let prefixes = BTreeMap::from([("env".to_owned(), String::new())]);
        Vaults { variables: env.iter().cloned().collect(), prefixes }
    }

    /// Learns the vaults that a document declares; what is wrong with them is said when they are read as entities.
    pub fn learn(&mut self, doc: &Node) {
        for vault in doc.get("vaults").and_then(Node::seq).unwrap_or_default() {
            let Some(name) = vault.get("prefix").and_then(Node::str) else { continue };
            let prefix = vault.get("config").and_then(|config| config.get("prefix")).and_then(Node::str);
            self.prefixes.insert(name.to_owned(), prefix.unwrap_or_default().to_owned());
        }
    }

    /// What a reference stands for.
    ///
    /// # Errors
    /// Why there is nothing.
    pub fn resolve(&self, text: &str) -> Result<String, String> {
        let inner = text.strip_prefix("{vault://").and_then(|rest| rest.strip_suffix('}'));
        let inner = inner.ok_or("not a reference")?;
        let (inner, version) = inner.split_once('#').unwrap_or((inner, ""));
        let (inner, query) = inner.split_once('?').unwrap_or((inner, ""));
        let mut parts = inner.splitn(3, '/');
        let (vault, resource) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let key = parts.next().filter(|key| !key.is_empty());
        if resource.is_empty() {
            return Err("it names no variable".to_owned());
        }
        let prefix = self.prefixes.get(vault).ok_or_else(|| format!("there is no vault '{vault}'"))?;
        let given = query.split('&').find_map(|option| option.strip_prefix("prefix="));
        let mut name = format!("{}{resource}", given.unwrap_or(prefix)).replace('-', "_").to_uppercase();
        if version == "2" {
            name.push_str("_PREVIOUS");
        }
        let value = self.variables.get(&name).ok_or_else(|| format!("there is no variable {name}"))?;
        let Some(key) = key else { return Ok(value.clone()) };
        let json: serde_json::Value =
            serde_json::from_str(value).map_err(|_| format!("the variable {name} does not hold JSON"))?;
        match json.get(key) {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(other) if !other.is_null() => Ok(other.to_string()),
            _ => Err(format!("the variable {name} has no key '{key}'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::report::Report;
    use std::sync::Arc;

    #[test]
    fn references_name_variables() {
        let env = [("MY_SECRET", "s"), ("MY_SECRET_PREVIOUS", "old"), ("SSL_KEY", "k"), ("J", r#"{"a":"b","n":1}"#)];
        let mut vaults = Vaults::new(&env.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let text = "vaults: [{prefix: my-ssl, name: env, config: {prefix: ssl_}}]";
        vaults.learn(&crate::config::doc::parse(&Arc::from("f"), text, &mut Report::default()).unwrap());
        let rows = [
            ("{vault://env/my-secret}", "s"),
            ("{vault://env/my_secret#2}", "old"),
            ("{vault://my-ssl/key}", "k"),
            ("{vault://env/key?prefix=SSL_}", "k"),
            ("{vault://env/j/a}", "b"),
            ("{vault://env/j/n}", "1"),
            ("{vault://env/j/x}", "the variable J has no key 'x'"),
            ("{vault://env/gone}", "there is no variable GONE"),
            ("{vault://other/x}", "there is no vault 'other'"),
            ("{vault://env}", "it names no variable"),
        ];
        for (text, want) in rows {
            assert_eq!(vaults.resolve(text).unwrap_or_else(|why| why), want, "{text}");
        }
    }
}
