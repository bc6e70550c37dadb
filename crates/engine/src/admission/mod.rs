//! Admission: checks of a request before a command decides on it.
//!
//! `proposed_state` checks a desired state with the parts that follow: `compiled_schemas` (JSON Schema), `placeholders` (references
//! without a value yet), `names`, `immutable` fields.

pub mod compiled_schemas;
pub(crate) mod immutable;
pub mod names;
pub(crate) mod placeholders;
pub(crate) mod proposed_state;
mod schema_fields;
