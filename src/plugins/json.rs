//! JSON text of a peer → value, within bounds of depth and number. A name given twice is refused: whoever reads the body
//! next may take the other one, and would then act on what nobody has checked.

use crate::base::limits::{JSON_DEPTH_MAX, JSON_NODES_MAX};
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// A value, and how much of one.
#[derive(Debug, PartialEq)]
pub(in crate::plugins) struct Parsed {
    pub(in crate::plugins) value: Value,
    /// Values in it, itself included.
    pub(in crate::plugins) nodes: usize,
}

/// Why a text is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugins) enum Broken {
    /// It is no JSON; what and where, for those who wrote it.
    Syntax(String),
    /// Nested deeper than [`JSON_DEPTH_MAX`].
    Deep,
    /// More values than [`JSON_NODES_MAX`].
    Many,
    /// An object has a name twice.
    Twice,
}

impl Broken {
    /// A word for it, as schemas have for what they refuse.
    pub(in crate::plugins) fn keyword(&self) -> &'static str {
        match self {
            Broken::Syntax(_) => "json",
            Broken::Deep => "depth",
            Broken::Many => "values",
            Broken::Twice => "duplicate",
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Syntax(why) => write!(f, "not JSON: {why}"),
            Broken::Deep => write!(f, "nested deeper than {JSON_DEPTH_MAX} levels"),
            Broken::Many => write!(f, "more than {JSON_NODES_MAX} values"),
            Broken::Twice => f.write_str("an object with the same name twice"),
        }
    }
}

/// Reads a whole text. O(bytes); recursion as deep as [`JSON_DEPTH_MAX`].
pub(in crate::plugins) fn parse(text: &[u8]) -> Result<Parsed, Broken> {
    let mut budget = Budget { nodes: 0, broken: None };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Node { budget: &mut budget, depth: 0 }.deserialize(&mut reader).and_then(|value| {
        reader.end()?;
        Ok(value)
    });
    match (read, budget.broken) {
        (Ok(value), _) => Ok(Parsed { value, nodes: budget.nodes }),
        (Err(_), Some(broken)) => Err(broken),
        (Err(error), None) => Err(Broken::Syntax(error.to_string())),
    }
}

struct Budget {
    nodes: usize,
    /// Which bound was passed.
    broken: Option<Broken>,
}

struct Node<'b> {
    budget: &'b mut Budget,
    depth: usize,
}

impl Node<'_> {
    fn stop<E: Error>(&mut self, broken: Broken) -> E {
        self.budget.broken = Some(broken);
        E::custom("")
    }

    /// For what holds other values.
    fn enter<E: Error>(&mut self) -> Result<(), E> {
        if self.depth >= JSON_DEPTH_MAX {
            return Err(self.stop(Broken::Deep));
        }
        Ok(())
    }

    fn inner(&mut self) -> Node<'_> {
        Node { budget: self.budget, depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(mut self, reader: D) -> Result<Value, D::Error> {
        self.budget.nodes += 1;
        if self.budget.nodes > JSON_NODES_MAX {
            return Err(self.stop(Broken::Many));
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self.inner())? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.inner())?;
            if map.insert(name, value).is_some() {
                return Err(self.stop(Broken::Twice));
            }
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_counted_and_bounds_hold() {
        let read = |text: &str| parse(text.as_bytes());
        let value = json!({"a": [1, -2, 0.5, "x", null, true], "b": {}});
        assert_eq!(read(&value.to_string()), Ok(Parsed { value, nodes: 9 }));
        assert_eq!(read(r#"{"a":1,"\u0061":2}"#), Err(Broken::Twice));
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(&nested(JSON_DEPTH_MAX)).is_ok());
        assert_eq!(read(&nested(JSON_DEPTH_MAX + 1)), Err(Broken::Deep));
        assert_eq!(read(&"[".repeat(1 << 20)), Err(Broken::Deep));
        assert_eq!(read(&"{\"a\":".repeat(100_000)), Err(Broken::Deep));
        let many = |count: usize| format!("[{}0]", "0,".repeat(count - 2));
        assert!(read(&many(JSON_NODES_MAX)).is_ok());
        assert_eq!(read(&many(JSON_NODES_MAX + 1)), Err(Broken::Many));
        for text in ["", "[1", "1e999", "nul", "[1]x", "\u{feff}{}", "{'a':1}", "[01]", "NaN"] {
            assert!(matches!(read(text), Err(Broken::Syntax(_))), "{text}");
        }
        assert!(matches!(parse(b"\"\xff\""), Err(Broken::Syntax(_))));
        // A number of a million digits is a number, and takes no longer than any text of its length.
        assert!(read(&"9".repeat(300)).is_ok());
        assert!(matches!(read(&"9".repeat(1_000_000)), Err(Broken::Syntax(_))));
    }
}
