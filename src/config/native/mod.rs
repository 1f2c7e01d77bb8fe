//! The native dialect: `ringway.yaml`.

pub mod log_format;
pub(crate) mod value;
