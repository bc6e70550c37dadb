//! Label selectors, with the grammar and the meaning that kubectl gives them
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>).
//!
//! ```text
//! SELECTOR    = REQUIREMENT *( "," REQUIREMENT )                 all of them
//! REQUIREMENT = KEY | "!" KEY | KEY ( "=" | "==" | "!=" ) VALUE | KEY ( "in" | "notin" ) "(" VALUE *( "," VALUE ) ")"
//! ```
//!
//! A key is a label's key. A value is a run of any characters but white space, commas, parentheses, `=`, `!`, `<` and
//! `>`, and may be empty. `!=` and `notin` also select objects without the label.

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// Bytes of a selector's text at most.
pub const BYTES_MAX: usize = 4_096;
/// Requirements of a selector at most.
pub const REQUIREMENTS_MAX: usize = 64;
/// Values of one `in` or `notin` at most.
pub const VALUES_MAX: usize = 128;

/// A label selector. One without requirements selects everything; the empty text is not a selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// All of these have to be met.
    pub requirements: Vec<Requirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// The test of its value.
    pub test: Test,
}

/// Test of a label's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The label exists with one of these values (`=`, `==`, `in`).
    In(BTreeSet<String>),
    /// The label does not exist, or has none of these values (`!=`, `notin`).
    NotIn(BTreeSet<String>),
    /// The label exists.
    Exists,
    /// The label does not exist.
    Missing,
}

/// The text is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("character {position}: {message}")]
pub struct BadSelector {
    /// Position of the first wrong character, counted from 1; at the end, one more than the number of characters.
    pub position: usize,
    /// What was expected.
    pub message: String,
}

impl Requirement {
    /// Requires the label with this value.
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
