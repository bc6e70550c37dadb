//! The owner key as JIRA's objects carry it: an entity property, and for issues a label beside it, because only labels
//! can be searched for.

use serde_json::{Map, Value, json};
use stateward_domain::id::{Incarnation, OwnerKey};

/// Key of the entity property.
pub(super) const PROPERTY: &str = OwnerKey::MARKER;

/// The entity property of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Property {
    /// Whose the object is.
    pub(super) owner: Option<OwnerKey>,
    /// The labels that the desired state added; others' labels stay.
    pub(super) labels: Vec<String>,
    /// Ids of users by the names that the desired state has for them: JIRA may hide addresses.
    pub(super) users: Map<String, Value>,
}

impl Property {
    /// Reads the property's value; `Null` = it has none.
    pub(super) fn read(value: &Value) -> Self {
        let labels = value["labels"].as_array().into_iter().flatten();
        Self {
            owner: value["owner"].as_str().and_then(decode),
            labels: labels.filter_map(Value::as_str).map(str::to_owned).collect(),
            users: value["users"].as_object().cloned().unwrap_or_default(),
        }
    }

    /// The value to write.
    pub(super) fn value(&self) -> Value {
        let mut value = json!({});
        if let Some(owner) = &self.owner {
            value["owner"] = Value::from(encode(owner));
        }
        if !self.labels.is_empty() {
            value["labels"] = json!(self.labels);
        }
        if !self.users.is_empty() {
            value["users"] = Value::Object(self.users.clone());
        }
        value
    }

    /// As a member of the list `properties` of a request.
    pub(super) fn entry(&self) -> Value {
        json!({"key": PROPERTY, "value": self.value()})
    }
}

/// The label of an entity's issues; `None` for a malformed key, which never occurs.
pub(super) fn label(key: &OwnerKey) -> Option<String> {
    key.parse().map(|(entity, _)| format!("{}-{entity}", OwnerKey::MARKER))
}

/// Whether a label is one of ours.
pub(super) fn is_label(label: &str) -> bool {
    label
        .strip_prefix(OwnerKey::MARKER)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|id| id.parse::<uuid::Uuid>().is_ok())
}

fn encode(key: &OwnerKey) -> String {
    match key.parse() {
        Some((entity, incarnation)) => format!("{entity}.{incarnation}"),
        None => key.0.clone(),
    }
}

fn decode(text: &str) -> Option<OwnerKey> {
    let (entity, incarnation) = text.split_once('.')?;
    Some(OwnerKey::new(entity.parse().ok()?, Incarnation(incarnation.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use stateward_domain::id::EntityId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_property_comes_back_as_it_was_written() {
        let owner = OwnerKey::new(EntityId(Uuid::from_u128(7)), Incarnation(3));
        let property = Property {
            owner: Some(owner.clone()),
            labels: vec!["a".to_owned()],
            users: Map::from_iter([("a@b".to_owned(), json!("5b1"))]),
        };
        assert_eq!(Property::read(&property.value()), property);
        assert_eq!(Property::read(&Value::Null), Property::default());
        assert_eq!(Property::read(&json!({"owner": "x"})).owner, None);
        let label = label(&owner).unwrap();
        assert_eq!(label, "managed-entity-00000000-0000-0000-0000-000000000007");
        assert!(is_label(&label) && !is_label("managed-entity-x") && !is_label("a"));
    }
}
