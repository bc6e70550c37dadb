//! Attributes of an object, in the spelling of the desired state: names of what has a name, ids of users. What else a
//! desired state may say for the same is in the member `aliases`, so that both compare equal.

use serde_json::{Map, Value, json};

use crate::jira::site::Deployment;

/// Member that maps other spellings of a field's values to the one in the attributes.
const ALIASES: &str = "aliases";

/// Attributes that are being collected.
#[derive(Default)]
pub(super) struct Attributes {
    members: Map<String, Value>,
    aliases: Map<String, Value>,
}

impl Attributes {
    /// Sets a field.
    pub(super) fn put(&mut self, field: &str, value: Value) {
        self.members.insert(field.to_owned(), value);
    }

    /// Copies fields; a missing one is `Null`.
    pub(super) fn copy(&mut self, row: &Value, fields: &[&str]) {
        for field in fields {
            self.put(field, row[*field].clone());
        }
    }

    /// Copies text fields; a missing one is empty.
    pub(super) fn copy_texts(&mut self, row: &Value, fields: &[&str]) {
        for field in fields {
            self.put(field, json!(row[*field].as_str().unwrap_or_default()));
        }
    }

    /// Sets a field to the name of what `row` shows; its id is an alias.
    pub(super) fn named(&mut self, field: &str, row: &Value) {
        self.put(field, row["name"].clone());
        self.alias(field, &row["id"], &row["name"]);
    }

    /// Sets a field to the names of what `rows` show, in one order.
    pub(super) fn named_set(&mut self, field: &str, rows: &Value) {
        let rows: Vec<_> = rows.as_array().into_iter().flatten().collect();
        for row in &rows {
            self.alias(field, &row["id"], &row["name"]);
        }
        let names: Vec<_> = rows.iter().map(|row| row["name"].clone()).collect();
        self.put(field, sorted(names));
    }

    /// Sets a field to the id of a user; names and addresses are aliases.
    pub(super) fn user(&mut self, field: &str, deployment: Deployment, row: &Value) {
        let id = &row[deployment.user_id()];
        self.put(field, id.clone());
        for other in ["displayName", "emailAddress", "key"] {
            self.alias(field, &row[other], id);
        }
    }

    /// Lets a desired state say `other` for `value`.
    pub(super) fn alias(&mut self, field: &str, other: &Value, value: &Value) {
        let (Some(other), Some(_)) = (as_text(other), as_text(value)) else { return };
        if Some(other.as_str()) != value.as_str() {
            let known = self.aliases.entry(field.to_owned()).or_insert_with(|| json!({}));
            known[other] = value.clone();
        }
    }

    /// All of them.
    pub(super) fn collected(mut self) -> Value {
        if !self.aliases.is_empty() {
            self.members.insert(ALIASES.to_owned(), Value::Object(self.aliases));
        }
        Value::Object(self.members)
    }
}

/// The value of a field as the attributes spell it, lists in one order.
pub(super) fn spelled(observed: &Value, field: &str, desired: &Value) -> Value {
    let aliases = &observed[ALIASES][field];
    // JIRA finds people in any case.
    let in_any_case = |text: &str| {
        let mut known = aliases.as_object().into_iter().flatten();
        known.find(|(other, _)| other.eq_ignore_ascii_case(text)).map(|(_, value)| value)
    };
    let one = |value: &Value| match value.as_str() {
        Some(text) => aliases.get(text).or_else(|| in_any_case(text)).unwrap_or(value).clone(),
        None => value.clone(),
    };
    match desired {
        Value::Array(values) => sorted(values.iter().map(one).collect()),
        value => one(value),
    }
}

/// Whether a field is as desired: equal, or spelled otherwise; lists are sets.
pub(super) fn is_same(observed: &Value, field: &str, desired: &Value) -> bool {
    match &observed[field] {
        Value::Array(values) => sorted(values.clone()) == spelled(observed, field, desired),
        // No list and an empty one are the same.
        Value::Null => {
            matches!(desired, Value::Null) || desired.as_array().is_some_and(Vec::is_empty)
        }
        value => *value == spelled(observed, field, desired),
    }
}

/// A list in one order, without repetitions.
pub(super) fn sorted(mut values: Vec<Value>) -> Value {
    values.sort_by_key(Value::to_string);
    values.dedup();
    Value::Array(values)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_as_desired_by_name_by_id_and_in_any_order() {
        let mut attributes = Attributes::default();
        attributes.named("priority", &json!({"id": "2", "name": "High"}));
        let user = json!({"accountId": "5b1", "displayName": "Mia", "emailAddress": "mia@a"});
        attributes.user("assignee", Deployment::Cloud, &user);
        attributes
            .named_set("components", &json!([{"id": "7", "name": "b"}, {"id": "6", "name": "a"}]));
        attributes.put("duedate", Value::Null);
        let observed = attributes.collected();
        for (field, desired, same) in [
            ("priority", json!("High"), true),
            ("priority", json!("2"), true),
            ("priority", json!("Low"), false),
            ("assignee", json!("mia@a"), true),
            ("assignee", json!("Mia"), true),
            ("assignee", json!("MIA@a"), true),
            ("assignee", Value::Null, false),
            ("components", json!(["7", "a"]), true),
            ("components", json!(["a"]), false),
            ("duedate", Value::Null, true),
            ("duedate", json!("2026-01-01"), false),
            ("unknown", json!([]), true),
        ] {
            assert_eq!(is_same(&observed, field, &desired), same, "{field} {desired}");
        }
    }
}
