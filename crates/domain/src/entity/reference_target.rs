//! The name by which one entity refers to another.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{EntityName, KindName};

/// The target of a reference, in the namespace of the dependent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Its kind.
    pub kind: KindName,
    /// Its name.
    pub name: EntityName,
}

impl Target {
    /// The target in `KIND/NAME`; `None` when either is missing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        let whole = !kind.is_empty() && !name.is_empty();
        whole.then(|| Self { kind: KindName::from(kind), name: EntityName::from(name) })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}
