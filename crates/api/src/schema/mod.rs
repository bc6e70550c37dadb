//! Schemas of parameters, refusals and domain values that only the `OpenAPI` document uses.
//!
//! This module is below `dto` and `routes`, which refer to it; the document itself, `openapi`, is above both.

pub(crate) mod enums;
pub(crate) mod objects;
pub(crate) mod params;
pub(crate) mod problems;
