//! Messages as JSON, and JSON as messages: the mapping of protobuf, within bounds.
//!
//! What a client sends wrong is told by its place, never by what stands there.

use crate::base::limits::POINTER_SHOWN_BYTES_MAX;
use crate::hook::Unfit;
use crate::plugins::json::{self, Broken};
use prost_reflect::prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

/// How JSON is written and read.
#[derive(Clone, Debug)]
pub(in crate::plugins) struct Mapping {
    write: SerializeOptions,
    read: DeserializeOptions,
}

impl Mapping {
    /// `canonical`: names in camel case, integers of 64 bits as text, no defaults. Otherwise names as in the `.proto`,
    /// integers as numbers, and every field of a message. `strict`: names that a message does not have are refused.
    pub(in crate::plugins) fn new(canonical: bool, strict: bool) -> Mapping {
        let write = SerializeOptions::new()
            .stringify_64_bit_integers(canonical)
            .use_proto_field_name(!canonical)
            .skip_default_fields(canonical);
        Mapping { write, read: DeserializeOptions::new().deny_unknown_fields(strict) }
    }

    /// The message that a value stands for, on the wire.
    ///
    /// # Errors
    /// Where the value misses the message's type, as a sentence that a client may read.
    pub(in crate::plugins) fn message(&self, kind: &MessageDescriptor, value: Value) -> Result<Vec<u8>, String> {
        let mut track = serde_path_to_error::Track::new();
        let reader = serde_path_to_error::Deserializer::new(value, &mut track);
        match DynamicMessage::deserialize_with_options(kind.clone(), reader, &self.read) {
            Ok(message) => Ok(message.encode_to_vec()),
            Err(_) => {
                let path = track.path().to_string();
                Err(match path.as_str() {
                    "." | "" => "the request has an unknown field, or not the shape of its message".to_owned(),
                    path if path.len() > POINTER_SHOWN_BYTES_MAX => "a field deep in the request is wrong".to_owned(),
                    path => format!("invalid value or unknown field at {path}"),
                })
            }
        }
    }

    /// Appends a message as JSON, or where `field` names one of its fields, that.
    ///
    /// # Errors
    /// Where the bytes are no such message.
    pub(in crate::plugins) fn json(
        &self,
        kind: &MessageDescriptor,
        bytes: &[u8],
        field: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        let message = DynamicMessage::decode(kind.clone(), bytes).map_err(|_| Unfit)?;
        let Some(field) = field else {
            let mut writer = serde_json::Serializer::new(out);
            return message.serialize_with_options(&mut writer, &self.write).map_err(|_| Unfit);
        };
        let write = self.write.clone().skip_default_fields(false).use_proto_field_name(true);
        let mut value = message.serialize_with_options(serde_json::value::Serializer, &write).map_err(|_| Unfit)?;
        let value = value.get_mut(field).map_or(Value::Null, Value::take);
        serde_json::to_writer(out, &value).map_err(|_| Unfit)
    }
}

/// Reads a JSON text of a client.
///
/// # Errors
/// What is wrong with it, in words that show nothing of it.
pub(in crate::plugins) fn parse(text: &[u8]) -> Result<Value, String> {
    match json::parse(text) {
        Ok(parsed) => Ok(parsed.value),
        Err(Broken::Syntax(_)) => Err("the body is not JSON".to_owned()),
        Err(bound) => Err(format!("the body is {bound}")),
    }
}
