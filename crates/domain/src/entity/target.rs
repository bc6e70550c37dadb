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

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}
