//! Names as written, each with its place. Every front-end writes one of these; [`super::link`] reads it.
