//! Admission: checks of a request before a command decides on it.
//!
//! `proposed` checks a desired state with the parts that follow: `kinds` (JSON Schema), `placeholders` (references
//! without a value yet), `names`, `immutable` fields.

pub(crate) mod immutable;
pub mod kinds;
pub mod names;
pub(crate) mod placeholders;
pub(crate) mod proposed;
mod schema_fields;
