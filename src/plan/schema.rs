//! The shape of a configuration record, as data: names, kinds, defaults, rules. One table serves validation, the
//! documentation and the Admin API, so that the three cannot disagree. Checking a document against it is `config`'s.

use super::Protocol;

/// One field of a record.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// JSON text of the default; `null` where there is none.
    pub default: &'static str,
    /// Must it be there (after defaults)?
    pub required: bool,
    /// What its values must satisfy.
    pub rules: &'static [Rule],
    /// One sentence: what it does.
    pub about: &'static str,
}

impl Field {
    /// An optional field without a default.
    pub const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Field {
        Field { name, kind, default: "null", required: false, rules: &[], about }
    }

    /// A field with a default, as JSON text.
    pub const fn with_default(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Field {
        Field { name, kind, default, required: false, rules: &[], about }
    }

    /// The same field, required.
    pub const fn required(self) -> Field {
        Field { required: true, ..self }
    }

    /// The same field with rules.
    pub const fn rules(self, rules: &'static [Rule]) -> Field {
        Field { rules, ..self }
    }
}

/// The types values have.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// Text, not empty unless [`Rule::MayBeEmpty`].
    String,
    /// A list; order and duplicates kept.
    Array(&'static Element),
    /// A list without duplicates.
    Set(&'static Element),
    /// A list of `name:value`, or string keys to the same values; kept as written. The element's rules are those of a line.
    Lines(&'static Element),
    /// String keys to values.
    Map(&'static Element),
    /// Fields.
    Record(&'static [Field]),
}

/// What a list or map holds.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    /// Its type.
    pub kind: Kind,
    /// What each must satisfy.
    pub rules: &'static [Rule],
}

/// What a field is an older name of: `redis_host` of `host` in the record `redis`, where `fields` have both.
pub fn alias_of<'f>(fields: &[Field], name: &'f str) -> Option<(&'static str, &'f str)> {
    let record = fields.iter().find_map(|field| match field.kind {
        Kind::Record(inner) => {
            let rest = name.strip_prefix(field.name)?.strip_prefix('_')?;
            inner.iter().any(|inner| inner.name == rest).then_some((field.name, rest))
        }
        _ => None,
    })?;
    fields.iter().any(|field| field.name == name).then_some(record)
}

/// What a value must satisfy beyond its type.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Within these bounds, both included.
    Between(f64, f64),
    /// Larger than this.
    GreaterThan(f64),
    /// Empty text is a value.
    MayBeEmpty,
    /// At least so many elements or characters.
    LengthMin(usize),
    /// May be a reference to a vault, resolved at load; its value is a secret.
    Referenceable,
    /// A header's name: token characters.
    HeaderName,
    /// A URL with scheme and host.
    Url,
    /// One of these numbers.
    OneOfNumbers(&'static [i64]),
    /// A list of such values may stand in the place of one.
    OrList,
    /// Text of its own shape; the error is a sentence.
    Text(fn(&str) -> Result<(), String>),
    /// The name of a file that is read while the configuration is loaded, and of those that it names in turn. What comes of
    /// it is handed to the plugin, see [`PluginInstance::made_of`](super::PluginInstance::made_of); the error is a sentence.
    Reads(fn(&str, Read<'_>) -> Result<Vec<u8>, String>),
}

/// Reads a file.
///
/// # Errors
/// Why it cannot be read, as a sentence.
pub type Read<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// Which protocols instances of a plugin may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// Those of an instance that names none.
    pub default: &'static [Protocol],
    /// All that it may name; of some it will never see a request.
    pub accepted: &'static [Protocol],
}

/// Of a plugin of HTTP requests.
pub const HTTP_PROTOCOLS: Protocols = Protocols { default: HTTP, accepted: HTTP };

/// Of a plugin of HTTP requests whose instances may name any all the same, as they do in files of others.
pub const ANY_PROTOCOLS: Protocols = Protocols { default: HTTP, accepted: EVERY };

const HTTP: &[Protocol] = &[Protocol::Grpc, Protocol::Grpcs, Protocol::Http, Protocol::Https];

/// Every protocol, in the order of their words.
pub const EVERY: &[Protocol] = &[
    Protocol::Grpc,
    Protocol::Grpcs,
    Protocol::Http,
    Protocol::Https,
    Protocol::Tcp,
    Protocol::Tls,
    Protocol::TlsPassthrough,
    Protocol::Udp,
];
