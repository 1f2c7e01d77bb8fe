//! What plugins for callers that speak no gRPC have in common: the types of services, messages as JSON, and how a call has
//! ended.
//!
//! ```text
//!   proto     files → types of messages and methods      message   JSON ↔ messages, within bounds
//!   frames    where messages begin and end               answer    a call's answer as JSON, whole or as it comes
//! ```

pub(super) mod answer;
pub(super) mod frames;
pub(super) mod message;
pub(super) mod proto;
