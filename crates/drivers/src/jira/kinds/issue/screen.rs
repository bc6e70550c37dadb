//! What a screen takes: the desired state checked against it and encoded, before anything is sent.

use serde_json::{Map, Value, json};

use super::encode::{ScreenField, named};
use super::fields::CUSTOM;
use crate::jira::client::{ApiError, CallClient, ErrorKind, Request};
use crate::jira::kinds::users::user_id;
use crate::nearest_name::nearest;

/// The members of a request, and the ids of the users that they name.
#[derive(Default)]
pub(super) struct Encoded {
    pub(super) fields: Map<String, Value>,
    pub(super) users: Map<String, Value>,
}

/// The fields of the create screen of an issue type in a project.
///
/// # Errors
/// `NoReference` if the project has no such issue type.
pub(super) async fn create_screen(
    client: CallClient<'_>,
    project: &str,
    issuetype: &str,
) -> Result<(String, Vec<ScreenField>), ApiError> {
    let path = ["issue", "createmeta", project, "issuetypes"];
    let types = client.cached_rows(Request::get(&path), &["issueTypes", "values"]).await;
    // A project that was just made may not be shown yet.
    let types = types.map_err(|error| match error.kind {
        ErrorKind::Invalid => error.with_kind(ErrorKind::NotFound),
        _ => error,
    })?;
    let is = |row: &&Value| {
        row["id"] == *issuetype
            || row["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(issuetype))
    };
    let found = types.iter().find(is).and_then(|row| row["id"].as_str());
    let Some(id) = found.map(str::to_owned) else {
        client.forget_lists();
        let near = nearest(issuetype, types.iter().filter_map(|row| row["name"].as_str()));
        let message = format!("project {project} has no issue type `{issuetype}`; there is {near}");
        return Err(ApiError::harmless(ErrorKind::NoReference, "no_such_issue_type", message));
    };
    let path = ["issue", "createmeta", project, "issuetypes", &id];
    let rows = client.cached_rows(Request::get(&path), &["fields", "values"]).await?;
    Ok((id, rows.iter().filter_map(|row| ScreenField::read(None, row)).collect()))
}

/// The fields of the edit screen of an issue.
pub(super) async fn edit_screen(
    client: CallClient<'_>,
    id: &str,
) -> Result<Vec<ScreenField>, ApiError> {
    let reply = client.read(Request::get(&["issue", id, "editmeta"])).await?;
    Ok(screen_fields(&reply["fields"]))
}

/// The fields of a screen that is an object.
pub(super) fn screen_fields(fields: &Value) -> Vec<ScreenField> {
    let fields = fields.as_object().into_iter().flatten();
    fields.filter_map(|(id, row)| ScreenField::read(Some(id), row)).collect()
}

/// Encodes the members of a desired state for a screen; custom fields are in the member `fields`.
///
/// # Errors
/// `Invalid` for what the screen lacks or does not take; `NoReference` for a user that is not there.
pub(super) async fn encoded(
    client: CallClient<'_>,
    screen: &str,
    fields: &[ScreenField],
    spec: &Map<String, Value>,
) -> Result<Encoded, ApiError> {
    let mut encoded = Encoded::default();
    let custom = spec.get(CUSTOM).and_then(Value::as_object).into_iter().flatten();
    let plain = spec.iter().filter(|(name, _)| *name != CUSTOM);
    for (name, value) in plain.chain(custom) {
        let field = named(fields, name, screen).map_err(|why| refused("no_such_field", why))?;
        if field.is_of_users() {
            let values = match value {
                Value::Array(values) => values.as_slice(),
                value => std::slice::from_ref(value),
            };
            for wanted in values.iter().filter_map(Value::as_str) {
                if !encoded.users.contains_key(wanted) {
                    let id = user_id(client, wanted).await?;
                    encoded.users.insert(wanted.to_owned(), json!(id));
                }
            }
        }
        let value = field.encoded(client.deployment(), value, &encoded.users);
        let value = value.map_err(|why| refused("no_such_value", why))?;
        encoded.fields.insert(field.id.clone(), value);
    }
    Ok(encoded)
}

/// The required fields of a screen that `given` lacks, by name.
pub(super) fn missing(fields: &[ScreenField], given: &Map<String, Value>) -> Vec<String> {
    let lacks = |field: &&ScreenField| {
        field.required
            && !field.has_default
            && !given.contains_key(&field.id)
            // JIRA takes the caller.
            && field.id != "reporter"
    };
    fields.iter().filter(lacks).map(|field| field.name.clone()).collect()
}

/// The error of a desired state that a screen does not take.
pub(super) fn refused(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::harmless(ErrorKind::Invalid, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_required_fields_without_a_default_are_missing() {
        let fields = screen_fields(&json!({
            "summary": {"name": "Summary", "required": true},
            "customfield_1": {"name": "Team", "required": true},
            "priority": {"name": "Priority", "required": true, "hasDefaultValue": true},
            "reporter": {"name": "Reporter", "required": true},
            "duedate": {"name": "Due date", "required": false},
        }));
        let given = Map::from_iter([("summary".to_owned(), json!("s"))]);
        assert_eq!(missing(&fields, &given), ["Team"]);
    }
}
