//! What the two transformers share: the lines of their configurations, templates, and bodies that are taken apart and put
//! together again.

pub(super) mod arguments;
mod expression;
pub(super) mod json;
pub(super) mod lines;
pub(super) mod multipart;
pub(super) mod template;
pub(super) mod values;
pub(super) mod words;
