//! A validation error of one field of a document.

use serde::{Deserialize, Serialize};

/// One error of a desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer into the desired state.
    pub pointer: String,
    /// Message for people.
    pub message: String,
}
