//! What a kind of entity is: data that the driver declares and the engine obeys.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{ActionName, KindName};
use crate::json_pointer;

/// What to do when an object that was there is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Wait for a person's decision: a new one would come back empty.
    Ask,
    /// Make it again.
    Recreate,
    /// Say so and leave it.
    Report,
}

/// A verb of a kind that changes no desired field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionSpec {
    /// Its name in the URL.
    pub name: ActionName,
    /// JSON Schema of the input; `true` accepts anything.
    pub input: Value,
    /// Whether it may be repeated when its outcome is unknown.
    pub idempotent: bool,
}

/// Everything the engine has to know about a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindSpec {
    /// `driver.noun`.
    pub name: KindName,
    /// One sentence for `explain`.
    pub summary: String,
    /// JSON Schema (2020-12) of the desired state.
    pub schema: Value,
    /// Counts incompatible changes of the schema, from 1.
    pub schema_version: u32,
    /// JSON pointers into the desired state that cannot change after creation.
    pub immutable: Vec<String>,
    /// JSON pointers that take only `{"$secret": NAME}` and are never observed.
    pub write_only: Vec<String>,
    /// JSON pointer of the field that names the object in the backend; `None` when the backend does.
    pub identity: Option<String>,
    /// Whether the backend's object has a place for the owner key.
    pub owner_key: bool,
    /// The kind's own verbs.
    pub actions: Vec<ActionSpec>,
    /// How long after an abandoned create "none found" is no proof yet, and how long a call that failed with "not found"
    /// waits for another observation.
    #[serde(with = "millis")]
    pub settle: Duration,
    /// Failures in a row before `erred`.
    pub retry_budget: u32,
    /// What happens when the object is gone, unless the backend's configuration says otherwise.
    pub on_lost: OnLost,
}

impl KindSpec {
    /// The identity in `desired`; `None` when the kind names none or the field is no string.
    #[must_use]
    pub fn identity_of(&self, desired: &Value) -> Option<String> {
        let pointer = self.identity.as_deref()?;
        desired.pointer(pointer)?.as_str().map(str::to_owned)
    }

    /// `value` without its write-only fields, which are kept nowhere.
    #[must_use]
    pub fn without_write_only(&self, value: &Value) -> Value {
        let mut value = value.clone();
        for pointer in &self.write_only {
            let Some((parent, member)) = pointer.rsplit_once('/') else { continue };
            let member = json_pointer::unescape(member);
            if let Some(parent) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
                parent.remove(&member);
            }
        }
        value
    }

    /// The action called `name`; `None` when the kind has none of that name.
    #[must_use]
    pub fn action(&self, name: &ActionName) -> Option<&ActionSpec> {
        self.actions.iter().find(|action| action.name == *name)
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_millis)
    }
}
