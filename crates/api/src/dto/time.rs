//! Times as RFC 3339 texts.

pub(crate) use stateward_domain::time::rfc3339::{parse, text};
