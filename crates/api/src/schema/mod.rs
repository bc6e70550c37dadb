//! What the `OpenAPI` document says of parameters, refusals and values of the domain: schemas without a use at run time.
//!
//! Below `dto` and `routes`, which name them; the document itself is `openapi`, above both.

pub(crate) mod enums;
pub(crate) mod objects;
pub(crate) mod params;
pub(crate) mod problems;
