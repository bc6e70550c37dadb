//! Values of a desired state as JIRA takes them, by the field's declaration on a screen. Pure.

use serde_json::{Map, Value, json};

use crate::jira::site::Deployment;
use crate::jira::text;
use crate::nearest_name::nearest;

/// A field as a create screen, an edit screen or a transition declares it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ScreenField {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) has_default: bool,
    schema: Value,
    allowed: Option<Vec<Value>>,
}

impl ScreenField {
    /// Reads a declaration; `id` = the member's name, where the row does not say it.
    pub(super) fn read(id: Option<&str>, row: &Value) -> Option<Self> {
        let text = |name: &str| row[name].as_str();
        Some(Self {
            id: id.or_else(|| text("fieldId")).or_else(|| text("key"))?.to_owned(),
            name: text("name").unwrap_or_default().to_owned(),
            required: row["required"] == true,
            has_default: row["hasDefaultValue"] == true,
            schema: row["schema"].clone(),
            allowed: row["allowedValues"].as_array().filter(|all| !all.is_empty()).cloned(),
        })
    }

    /// Whether its values are users.
    pub(super) fn is_of_users(&self) -> bool {
        self.schema["type"] == "user" || self.schema["items"] == "user"
    }

    /// Whether it is a text of several lines.
    fn is_text(&self) -> bool {
        let system = self.schema["system"].as_str().unwrap_or_default();
        let custom = self.schema["custom"].as_str().unwrap_or_default();
        matches!(system, "description" | "environment") || custom.ends_with(":textarea")
    }

    /// The value to send; `users` are the ids of the users that it names.
    ///
    /// # Errors
    /// Why JIRA would not take it.
    pub(super) fn encoded(
        &self,
        deployment: Deployment,
        value: &Value,
        users: &Map<String, Value>,
    ) -> Result<Value, String> {
        if self.is_text() {
            return Ok(text::stored(deployment, value));
        }
        match (self.schema["type"].as_str().unwrap_or_default(), value) {
            (_, Value::Null) => Ok(Value::Null),
            ("array", Value::Array(values)) => {
                let items = self.schema["items"].as_str().unwrap_or_default();
                let encoded = values.iter().map(|value| self.one(deployment, items, value, users));
                encoded.collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
            (kind, value) => self.one(deployment, kind, value, users),
        }
    }

    fn one(
        &self,
        deployment: Deployment,
        kind: &str,
        value: &Value,
        users: &Map<String, Value>,
    ) -> Result<Value, String> {
        let Some(text) = value.as_str() else { return Ok(value.clone()) };
        match kind {
            "user" => {
                let id = users.get(text).and_then(Value::as_str).unwrap_or(text);
                Ok(json!({ deployment.user_id(): id }))
            }
            // Of a version or component that was just made, it may not be among the allowed values yet; JIRA itself knows it.
            "issuelink" | "project" | "version" | "component" if is_number(text) => {
                Ok(json!({"id": text}))
            }
            "issuelink" | "project" => Ok(json!({"key": text})),
            "string" | "number" | "date" | "datetime" | "any" | "" => Ok(value.clone()),
            _ => self.chosen(text, kind == "option"),
        }
    }

    /// One of the values that the field allows, by id or name.
    fn chosen(&self, wanted: &str, option: bool) -> Result<Value, String> {
        let Some(allowed) = &self.allowed else {
            return Ok(if option { json!({"value": wanted}) } else { json!({"name": wanted}) });
        };
        let label = |value: &Value| {
            let label = value["name"].as_str().or_else(|| value["value"].as_str());
            label.unwrap_or_default().to_owned()
        };
        let found = allowed
            .iter()
            .find(|value| value["id"].as_str() == Some(wanted))
            .or_else(|| allowed.iter().find(|value| label(value) == wanted))
            .or_else(|| {
                let lower = wanted.to_lowercase();
                // Only these are compared without regard to case.
                let kind = self.schema["type"].as_str().unwrap_or_default();
                let any_case = matches!(kind, "priority" | "resolution" | "issuetype");
                allowed.iter().find(|value| any_case && label(value).to_lowercase() == lower)
            });
        match found {
            Some(value) if value["id"].is_string() => Ok(json!({"id": value["id"]})),
            Some(value) => Ok(value.clone()),
            None => {
                let labels: Vec<_> = allowed.iter().map(label).collect();
                let near = nearest(wanted, labels.iter().map(String::as_str));
                Err(format!("{} has no value `{wanted}`; there is {near}", self.name))
            }
        }
    }
}

/// The declaration of the field that a desired state calls `wanted`, by id or by name.
///
/// # Errors
/// That the screen lacks it, with the nearest names.
pub(super) fn named<'a>(
    fields: &'a [ScreenField],
    wanted: &str,
    screen: &str,
) -> Result<&'a ScreenField, String> {
    let by_name = || fields.iter().find(|field| field.name.eq_ignore_ascii_case(wanted));
    fields.iter().find(|field| field.id == wanted).or_else(by_name).ok_or_else(|| {
        let near = nearest(wanted, fields.iter().map(|field| field.name.as_str()));
        let hint = if near.is_empty() { String::new() } else { format!("; it has {near}") };
        format!("{screen} has no field `{wanted}`{hint}")
    })
}

fn is_number(text: &str) -> bool {
    crate::jira::kinds::is_number(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(schema: Value, allowed: Value) -> ScreenField {
        let row = json!({"key": "f", "name": "F", "schema": schema, "allowedValues": allowed});
        ScreenField::read(None, &row).unwrap()
    }

    #[test]
    fn every_value_is_sent_as_its_field_takes_it() {
        let users = Map::from_iter([("mia@a".to_owned(), json!("5b1"))]);
        let levels = json!([{"id": "1", "name": "High"}, {"id": "2", "name": "Low"}]);
        let options = json!([{"id": "7", "value": "Red"}]);
        let none = Value::Null;
        for (schema, allowed, value, expected) in [
            (json!({"type": "string"}), &none, json!("a"), Ok(json!("a"))),
            (json!({"type": "number"}), &none, json!(5), Ok(json!(5))),
            (json!({"type": "priority"}), &levels, json!("High"), Ok(json!({"id": "1"}))),
            (json!({"type": "priority"}), &levels, json!("low"), Ok(json!({"id": "2"}))),
            (json!({"type": "priority"}), &levels, json!("2"), Ok(json!({"id": "2"}))),
            (
                json!({"type": "priority"}),
                &levels,
                json!("Highh"),
                Err("F has no value `Highh`; there is `High`, `Low`"),
            ),
            (json!({"type": "option"}), &options, json!("Red"), Ok(json!({"id": "7"}))),
            (json!({"type": "option"}), &none, json!("Red"), Ok(json!({"value": "Red"}))),
            (
                json!({"type": "array", "items": "version"}),
                &levels,
                json!(["Low"]),
                Ok(json!([{"id": "2"}])),
            ),
            (
                json!({"type": "array", "items": "version"}),
                &levels,
                json!(["10000"]),
                Ok(json!([{"id": "10000"}])),
            ),
            (json!({"type": "array", "items": "string"}), &none, json!(["x"]), Ok(json!(["x"]))),
            (json!({"type": "user"}), &none, json!("mia@a"), Ok(json!({"accountId": "5b1"}))),
            (json!({"type": "user"}), &none, Value::Null, Ok(Value::Null)),
            (json!({"type": "issuelink"}), &none, json!("A-1"), Ok(json!({"key": "A-1"}))),
            (json!({"type": "issuelink"}), &none, json!("10"), Ok(json!({"id": "10"}))),
            (json!({"type": "unknown"}), &none, json!({"a": 1}), Ok(json!({"a": 1}))),
        ] {
            let field = field(schema.clone(), allowed.clone());
            let encoded = field.encoded(Deployment::Cloud, &value, &users);
            assert_eq!(encoded, expected.map_err(str::to_owned), "{schema} {value}");
        }
        let text = field(json!({"type": "string", "custom": "x:textarea"}), Value::Null);
        let encoded = text.encoded(Deployment::Cloud, &json!("a"), &users).unwrap();
        assert_eq!(encoded["type"], "doc");
    }

    #[test]
    fn a_field_is_found_by_id_and_by_name_and_a_wrong_one_gets_the_nearest() {
        let row =
            |id: &str, name: &str| ScreenField::read(Some(id), &json!({"name": name})).unwrap();
        let fields = [row("duedate", "Due date"), row("customfield_1", "Story Points")];
        for wanted in ["customfield_1", "story points"] {
            assert_eq!(named(&fields, wanted, "the screen").unwrap().id, "customfield_1");
        }
        let message = named(&fields, "Story Point", "the create screen of Task").unwrap_err();
        assert_eq!(
            message,
            "the create screen of Task has no field `Story Point`; it has `Story Points`, `Due date`"
        );
    }
}
