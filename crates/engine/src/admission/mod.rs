//! Admission: what is checked of a request before anything is decided.

pub(crate) mod immutable;
pub mod kinds;
pub mod names;
pub(crate) mod placeholders;
pub(crate) mod proposed;
mod schema_fields;
