//! Label selectors, with the grammar and the meaning that kubectl gives them
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>).
//!
//! ```text
//! SELECTOR    = REQUIREMENT *( "," REQUIREMENT )                 all of them
//! REQUIREMENT = KEY | "!" KEY | KEY ( "=" | "==" | "!=" ) VALUE | KEY ( "in" | "notin" ) "(" VALUE *( "," VALUE ) ")"
//! ```
//!
//! A key is what a label may be called. A value is a run of anything but white space, commas, parentheses, `=`, `!`, `<`
//! and `>`, and may be empty. `!=` and `notin` also select objects without the label.

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// Bytes of a selector's text at most.
pub const BYTES_MAX: usize = 4_096;
/// Requirements of a selector at most.
pub const REQUIREMENTS_MAX: usize = 64;
/// Values of one `in` or `notin` at most.
pub const VALUES_MAX: usize = 128;

/// Which labels an object must have. Without requirements it selects everything; no text means that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// All of these hold.
    pub requirements: Vec<Requirement>,
}

/// What is required of one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is required of it.
    pub test: Test,
}

/// What is required of a label's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is there, and its value is one of these (`=`, `==`, `in`).
    In(BTreeSet<String>),
    /// It is not there, or its value is none of these (`!=`, `notin`).
    NotIn(BTreeSet<String>),
    /// It is there.
    Exists,
    /// It is not there.
    Missing,
}

/// The text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("character {position}: {message}")]
pub struct BadSelector {
    /// Of the first character that does not fit, counted from 1; one more than there are characters at the end.
    pub position: usize,
    /// What was expected.
    pub message: String,
}

impl Requirement {
    /// The label is there and has this value.
    #[must_use]
    pub fn equal(key: &str, value: &str) -> Self {
        Self { key: key.to_owned(), test: Test::In([value.to_owned()].into()) }
    }

    /// Whether an object with these labels meets it.
    #[must_use]
    pub fn is_met(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
        }
    }
}

impl Selector {
    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| requirement.is_met(labels))
    }
}

impl FromStr for Selector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        parse::selector(text)
    }
}

#[cfg(test)]
mod tests;
