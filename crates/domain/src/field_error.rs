//! A fault of one field of a document.

use serde::{Deserialize, Serialize};

/// One fault of a desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer into the desired state.
    pub pointer: String,
    /// What is wrong, for people.
    pub message: String,
}
