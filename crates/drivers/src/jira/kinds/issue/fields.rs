//! Fields of an issue as attributes, and their comparison with a desired state. Pure.

use serde_json::{Map, Value, json};
use stateward_domain::id::OwnerKey;

use crate::jira::kinds::attributes::{self, Attributes, sorted};
use crate::jira::owner::{PROPERTY, Property, is_label};
use crate::jira::site::Deployment;
use crate::jira::text;

/// Member that holds custom fields, by id.
pub(super) const CUSTOM: &str = "fields";
/// Member that maps names of custom fields to ids.
const NAMES: &str = "fieldNames";
/// Member that lists the labels that the desired state added.
pub(super) const OWN_LABELS: &str = "ownLabels";
/// Custom fields that change by themselves all the time.
const RESTLESS: &[&str] = &["gh-lexo-rank", "devsummary", "dev-summary", "vulnerability"];

/// Adds names and schemas of the site's fields to an issue, as its members `names` and `schema`.
pub(super) fn described(row: &mut Value, catalog: &[Value]) {
    let (mut names, mut schemas) = (Map::new(), Map::new());
    for field in catalog {
        if let Some(id) = field["id"].as_str() {
            names.insert(id.to_owned(), field["name"].clone());
            schemas.insert(id.to_owned(), field["schema"].clone());
        }
    }
    row["names"] = Value::Object(names);
    row["schema"] = Value::Object(schemas);
}

/// Attributes of an issue as JIRA shows it, after [`described`].
pub(super) fn observed(deployment: Deployment, row: &Value) -> Value {
    let fields = &row["fields"];
    let property = property(row);
    let mut attributes = Attributes::default();
    attributes.put("id", row["id"].clone());
    attributes.put("key", row["key"].clone());
    let project = &fields["project"];
    attributes.put("project", project["key"].clone());
    attributes.alias("project", &project["id"], &project["key"]);
    for field in ["issuetype", "priority", "status", "resolution"] {
        attributes.named(field, &fields[field]);
    }
    attributes.copy(fields, &["summary", "duedate"]);
    attributes.put("description", text::canonical(&fields["description"]));
    for field in ["assignee", "reporter"] {
        attributes.user(field, deployment, &fields[field]);
        for (name, id) in &property.users {
            if *id == fields[field][deployment.user_id()] {
                attributes.alias(field, &json!(name), id);
            }
        }
    }
    for field in ["components", "fixVersions", "versions"] {
        attributes.named_set(field, &fields[field]);
    }
    let parent = &fields["parent"];
    attributes.put("parent", parent["key"].clone());
    attributes.alias("parent", &parent["id"], &parent["key"]);
    let labels = fields["labels"].as_array().into_iter().flatten();
    let labels = labels.filter(|label| !label.as_str().is_some_and(is_label)).cloned();
    attributes.put("labels", sorted(labels.collect()));
    attributes.put(OWN_LABELS, sorted(property.labels.iter().map(|label| json!(label)).collect()));
    custom_fields(&mut attributes, deployment, row);
    attributes.collected()
}

/// The entity property of an issue.
pub(super) fn property(row: &Value) -> Property {
    Property::read(&row["properties"][PROPERTY])
}

/// Whose the issue is.
pub(super) fn owner(row: &Value) -> Option<OwnerKey> {
    property(row).owner
}

fn custom_fields(attributes: &mut Attributes, deployment: Deployment, row: &Value) {
    let (mut custom, mut names) = (Map::new(), Map::new());
    for (id, value) in row["fields"].as_object().into_iter().flatten() {
        let kind = row["schema"][id.as_str()]["custom"].as_str().unwrap_or_default();
        let restless = RESTLESS.iter().any(|restless| kind.contains(restless));
        if !id.starts_with("customfield_") || value.is_null() || restless {
            continue;
        }
        let decoded_value = match value {
            Value::String(wiki) if kind.ends_with(":textarea") => json!({"wiki": wiki}),
            value => decoded(deployment, value),
        };
        custom.insert(id.clone(), decoded_value);
        if let Some(name) = row["names"][id.as_str()].as_str() {
            names.entry(name).or_insert_with(|| json!(id));
        }
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for (name, user) in &property(row).users {
            if values.iter().any(|value| value[deployment.user_id()] == *user) {
                attributes.alias(id, &json!(name), user);
            }
        }
        for value in values.iter().filter(|value| value.is_object()) {
            for other in ["id", "displayName", "emailAddress", "key"] {
                attributes.alias(id, &value[other], &decoded(deployment, value));
            }
        }
    }
    attributes.put(CUSTOM, Value::Object(custom));
    attributes.put(NAMES, Value::Object(names));
}

/// A value of a custom field as a desired state would say it.
fn decoded(deployment: Deployment, value: &Value) -> Value {
    match value {
        Value::Array(values) => {
            sorted(values.iter().map(|value| decoded(deployment, value)).collect())
        }
        Value::Object(members) if members.get("type") == Some(&json!("doc")) => {
            text::canonical(value)
        }
        Value::Object(members) if members.contains_key("child") => {
            json!({"value": value["value"], "child": {"value": value["child"]["value"]}})
        }
        Value::Object(members) => {
            let member = [deployment.user_id(), "value", "name", "key"]
                .into_iter()
                .find_map(|member| members.get(member));
            member.unwrap_or(value).clone()
        }
        value => value.clone(),
    }
}

/// Whether a field is as desired.
pub(super) fn is_same(
    deployment: Deployment,
    observed: &Value,
    field: &str,
    desired: &Value,
) -> bool {
    match field {
        "description" => text::is_same(deployment, &observed[field], desired),
        "labels" => label_changes(observed, desired) == (Vec::new(), Vec::new()),
        "status" | "issuetype" | "priority" | "resolution" => {
            let spelled = attributes::spelled(observed, field, desired);
            let same = |text: &str| text.eq_ignore_ascii_case(spelled.as_str().unwrap_or_default());
            observed[field] == spelled || observed[field].as_str().is_some_and(same)
        }
        CUSTOM => {
            let mut desired = desired.as_object().into_iter().flatten();
            desired.all(|(name, value)| is_custom_same(deployment, observed, name, value))
        }
        _ => attributes::is_same(observed, field, desired),
    }
}

fn is_custom_same(deployment: Deployment, observed: &Value, name: &str, desired: &Value) -> bool {
    let names = &observed[NAMES];
    let id = names[name].as_str().unwrap_or(name);
    let there = &observed[CUSTOM][id];
    match (there, desired) {
        (Value::Number(there), Value::Number(desired)) => there.as_f64() == desired.as_f64(),
        (Value::Object(there), _) if there.get("type") == Some(&json!("doc")) => {
            text::is_same(deployment, &observed[CUSTOM][id], desired)
        }
        (Value::Object(there), _) if there.contains_key("wiki") => {
            text::is_same(deployment, &there["wiki"], desired)
        }
        (Value::Null, Value::String(desired)) => desired.is_empty(),
        (Value::String(there), Value::String(wanted)) if there.trim() == wanted.trim() => true,
        _ => {
            let spelled = attributes::spelled(observed, id, desired);
            *there == spelled || (there.is_null() && spelled == json!([]))
        }
    }
}

/// Labels to add and to remove. Those that others added stay: only labels that an earlier desired state added are
/// removed.
pub(super) fn label_changes(observed: &Value, desired: &Value) -> (Vec<String>, Vec<String>) {
    let texts = |value: &Value| {
        let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let (there, own) = (texts(&observed["labels"]), texts(&observed[OWN_LABELS]));
    let desired = texts(desired);
    let mut added: Vec<_> =
        desired.iter().filter(|label| !there.contains(label)).cloned().collect();
    added.dedup();
    let surplus = |label: &&String| there.contains(label) && !desired.contains(label);
    let removed = own.iter().filter(surplus).cloned().collect();
    (added, removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Value {
        json!({"id": "10001", "key": "A-1", "names": {"customfield_1": "Story Points", "customfield_2": "Colour"},
        "schema": {"customfield_9": {"custom": "com.pyxis:gh-lexo-rank"}},
        "properties": {"managed-entity": {"labels": ["ours"], "users": {"mia@a": "5b1"}}},
        "fields": {
            "project": {"id": "1", "key": "A"}, "issuetype": {"id": "3", "name": "Task"},
            "status": {"id": "4", "name": "To Do"}, "summary": "s", "description": null,
            "assignee": {"accountId": "5b1", "displayName": "Mia"},
            "labels": ["ours", "theirs", "managed-entity-00000000-0000-0000-0000-000000000007"],
            "customfield_1": 5.0, "customfield_2": {"id": "7", "value": "Red"},
            "customfield_3": null, "customfield_9": "0|hzzzzz:",
        }})
    }

    #[test]
    fn a_field_is_as_desired_in_every_spelling() {
        let observed = observed(Deployment::Cloud, &row());
        assert_eq!(observed["labels"], json!(["ours", "theirs"]), "no mark of ours");
        assert!(observed[CUSTOM].get("customfield_9").is_none(), "a rank changes by itself");
        for (field, desired, same) in [
            ("project", json!("A"), true),
            ("project", json!("1"), true),
            ("project", json!("B"), false),
            ("status", json!("to do"), true),
            ("status", json!("4"), true),
            ("status", json!("Done"), false),
            ("description", Value::Null, true),
            ("description", json!("text"), false),
            ("assignee", json!("mia@a"), true),
            ("assignee", json!("Mia"), true),
            ("assignee", json!("Ann"), false),
            ("labels", json!(["ours"]), true),
            ("labels", json!(["ours", "theirs"]), true),
            ("labels", json!([]), false),
            ("labels", json!(["new", "ours"]), false),
            ("priority", Value::Null, true),
            (CUSTOM, json!({"Story Points": 5, "Colour": "Red"}), true),
            (CUSTOM, json!({"customfield_2": "7"}), true),
            (CUSTOM, json!({"customfield_1": 6}), false),
            (CUSTOM, json!({"customfield_3": null}), true),
        ] {
            let found = is_same(Deployment::Cloud, &observed, field, &desired);
            assert_eq!(found, same, "{field} {desired}");
        }
    }

    #[test]
    fn labels_of_others_stay() {
        let observed =
            json!({"labels": ["a", "ours", "theirs"], OWN_LABELS: ["a", "ours", "gone"]});
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let changes = label_changes(&observed, &json!(["a", "new"]));
        assert_eq!(changes, (texts(&["new"]), texts(&["ours"])));
    }
}
