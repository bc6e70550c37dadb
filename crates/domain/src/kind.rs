//! The specification of a kind: declared by its driver, interpreted by the engine.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::entity::state::DriftPolicy;
use crate::id::{ActionName, KindName};
use crate::json_pointer;

/// Policy for an object that was present and is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Wait for a person's decision: a new object would be empty.
    Ask,
    /// Create it again.
    Recreate,
    /// Only report it.
    Report,
}

/// An action of a kind: it changes no field of the desired state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionSpec {
    /// Its name in the URL.
    pub name: ActionName,
    /// JSON Schema of the input; `true` accepts anything.
    pub input: Value,
    /// Whether it may be repeated when its outcome is unknown.
    pub idempotent: bool,
}

/// A step from entities to related ones of one kind, in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationStep {
    /// To those that they refer to.
    To(KindName),
    /// To those that refer to them.
    From(KindName),
}

impl RelationStep {
    /// The kind that it leads to.
    #[must_use]
    pub const fn kind(&self) -> &KindName {
        let (Self::To(kind) | Self::From(kind)) = self;
        kind
    }

    /// The steps from where `steps`, which begin at `kind`, end, back to `kind`.
    #[must_use]
    pub fn reversed(steps: &[Self], kind: &KindName) -> Vec<Self> {
        let before = std::iter::once(kind).chain(steps.iter().map(Self::kind));
        let back = steps.iter().zip(before).map(|(step, before)| match step {
            Self::To(_) => Self::From(before.clone()),
            Self::From(_) => Self::To(before.clone()),
        });
        let mut back: Vec<_> = back.collect();
        back.reverse();
        back
    }
}

/// The specification of a kind.
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
    /// JSON pointer of the field that identifies the object in the backend, or of several that do so together, with a
    /// blank between; `None` when the backend assigns its name.
    pub identity: Option<String>,
    /// Whether the backend's object has a place for the owner key.
    pub owner_key: bool,
    /// Whether the backend copies the owner key into objects that are made from this one, such as a restored backup. Then
    /// a second object with the key may be a user's, and is not cleaned up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copies_owner_key: bool,
    /// The kind's actions.
    pub actions: Vec<ActionSpec>,
    /// Steps from an entity to those that come first, though it does not refer to them: what is being created is created
    /// before it, and of what is being deleted it goes first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub implicit: Vec<Vec<RelationStep>>,
    /// How long a create request whose reply was lost may still run in the backend, at most, and its object stay
    /// invisible: until then "none found" proves nothing. Counted from the end of the call, or from when the call had to
    /// end if that is not known.
    #[serde(with = "millis")]
    pub settle: Duration,
    /// Consecutive failures before `erred`.
    pub retry_budget: u32,
    /// Policy for an absent object, unless the backend's configuration overrides it.
    pub on_lost: OnLost,
    /// Policy for drift of an entity whose declaration says none.
    #[serde(default, skip_serializing_if = "DriftPolicy::is_default")]
    pub drift_policy: DriftPolicy,
    /// What is lost when the object is replaced, for people; `None` = nothing but its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loses: Option<String>,
}

impl KindSpec {
    /// JSON pointers of the fields that identify the object.
    pub fn identity_fields(&self) -> impl Iterator<Item = &str> {
        self.identity.as_deref().into_iter().flat_map(str::split_whitespace)
    }

    /// The identity in `desired`; `None` when the kind has none, or a field of it is not a string (yet): a reference has
    /// no value before its target exists.
    #[must_use]
    pub fn identity_of(&self, desired: &Value) -> Option<String> {
        let parts: Option<Vec<&str>> =
            self.identity_fields().map(|field| desired.pointer(field)?.as_str()).collect();
        parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join("/"))
    }

    /// `value` without its write-only fields, which are never stored.
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

    /// The action `name`; `None` when the kind has none of that name.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_one_field_or_several_together() {
        let kind = |identity: Option<&str>| KindSpec {
            name: KindName::from("a.b"),
            summary: String::new(),
            schema: Value::Bool(true),
            schema_version: 1,
            immutable: Vec::new(),
            write_only: Vec::new(),
            identity: identity.map(str::to_owned),
            owner_key: false,
            copies_owner_key: false,
            actions: Vec::new(),
            implicit: Vec::new(),
            settle: Duration::ZERO,
            retry_budget: 1,
            on_lost: OnLost::Ask,
            drift_policy: DriftPolicy::default(),
            loses: None,
        };
        let desired = serde_json::json!({"project": "A", "name": "1.0", "other": {"$ref": "x"}});
        for (identity, found) in [
            (None, None),
            (Some("/name"), Some("1.0")),
            (Some("/project /name"), Some("A/1.0")),
            (Some("/other /name"), None),
            (Some("/missing"), None),
        ] {
            assert_eq!(kind(identity).identity_of(&desired).as_deref(), found, "{identity:?}");
        }
    }

    #[test]
    fn steps_lead_back_to_where_they_began() {
        let kind = |name: &str| KindName::from(name);
        let steps = [
            RelationStep::To(kind("port")),
            RelationStep::To(kind("network")),
            RelationStep::From(kind("subnet")),
        ];
        let back = RelationStep::reversed(&steps, &kind("address"));
        let expected = [
            RelationStep::To(kind("network")),
            RelationStep::From(kind("port")),
            RelationStep::From(kind("address")),
        ];
        assert_eq!(back, expected);
        assert_eq!(RelationStep::reversed(&back, &kind("subnet")), steps);
    }
}
