//! `jira.issue`.
//!
//! - The creation writes the owner key as entity property and, where the create screen has labels, as label: one atomic
//!   request. A search by label finds it, the property confirms whose it is.
//! - Its numeric id identifies it: the key changes when the issue is moved.
//! - Labels and fields of others stay. The status is reached by transitions alone, see `status`.

mod encode;
mod fields;
mod screen;
mod status;
mod transition;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use stateward_domain::entity::state::DriftPolicy;
use stateward_domain::failure::Failure;
use stateward_domain::field_error::FieldError;
use stateward_domain::id::ExternalId;
use stateward_domain::kind::ActionSpec;
use stateward_domain::ports::driver::{
    Act, Create, Listing, Object, ObjectRef, Observation, Outcome, Search, Update,
};

use super::job::Work;
use super::{Job, Kind, Meta, attributes, delete, deleted, fault, is_no_id, is_number, no_job};
use crate::jira::client::{ApiError, CallClient, ErrorKind, Request, nonsense};
use crate::jira::owner::{PROPERTY, label};
use crate::jira::site::Deployment;
use crate::jira::text;

/// Fields of a read: everything but what has kinds of its own or is long.
const READ_FIELDS: &str = "*all,-comment,-worklog,-attachment,-issuelinks";

const META: Meta = Meta {
    name: "jira.issue",
    summary: "An issue of JIRA, with its status and custom fields.",
    schema: include_str!("../issue.schema.json"),
    immutable: &["/project"],
    unobserved: &["statusPath", "id", "key", "aliases", "fieldNames", "ownLabels"],
    identity: None,
    owner_key: true,
    // People work in issues: their changes are theirs unless a desired state is to win.
    drift: DriftPolicy::Report,
    loses: Some("the issue with its comments, attachments, links and history"),
};

pub(super) struct Issue;

#[async_trait]
impl Kind for Issue {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn actions(&self) -> Vec<ActionSpec> {
        transition::actions()
    }

    fn normalise(
        &self,
        deployment: Deployment,
        members: &mut Map<String, Value>,
    ) -> Vec<FieldError> {
        normalise(deployment, members)
    }

    fn is_same(
        &self,
        deployment: Deployment,
        observed: &Value,
        field: &str,
        desired: &Value,
    ) -> bool {
        fields::is_same(deployment, observed, field, desired)
    }

    async fn observe(
        &self,
        client: CallClient<'_>,
        target: &ObjectRef,
    ) -> Result<Observation, ApiError> {
        let id = target.external_id.as_str();
        if !is_number(id) {
            return Ok(is_no_id(id, "issue"));
        }
        match read(client, id).await {
            Ok(row) => {
                client.is_fresh(id, &row)?;
                Ok(Observation::Present(object(client, &row)?))
            }
            Err(error) => client.absence(id, client.known_project(id), error).await,
        }
    }

    async fn find(&self, client: CallClient<'_>, search: &Search) -> Result<Vec<Object>, ApiError> {
        let Some(label) = label(&search.owner_key) else { return Ok(Vec::new()) };
        let jql = format!("labels = \"{label}\"");
        let mut rows = client.search(&jql, &["labels", "creator", "project"], PROPERTY).await?;
        if rows.is_empty() && !labels_are_on_screen(client, &search.spec).await? {
            // Marked by the property alone, which cannot be searched for.
            let project = search.spec["project"].as_str().unwrap_or_default();
            let project = project.replace(['"', '\\'], "");
            let jql = format!(
                "project = \"{project}\" AND creator = currentUser() ORDER BY created DESC"
            );
            rows = client.search(&jql, &["creator", "project"], PROPERTY).await?;
        }
        rows.retain(|row| fields::owner(row).as_ref() == Some(&search.owner_key));
        by_one_creator(&mut rows);
        let mut found = Vec::new();
        for row in rows {
            let Some(id) = row["id"].as_str() else { continue };
            if let Some(project) = row["fields"]["project"]["id"].as_str() {
                client.remember_project(id, project);
            }
            // The index may still have what was deleted, or lack a property that was changed.
            match read(client, id).await {
                Ok(row) if fields::owner(&row).as_ref() == Some(&search.owner_key) => {
                    found.push(object(client, &row)?);
                }
                Ok(_) => {}
                Err(error) => match client.absence(id, client.known_project(id), error).await? {
                    Observation::Absent { .. } => {}
                    _ => return Err(nonsense("an issue that a search finds is not shown", false)),
                },
            }
        }
        Ok(found)
    }

    async fn list(
        &self,
        client: CallClient<'_>,
        cursor: Option<&str>,
    ) -> Result<Listing, ApiError> {
        let jql = "project is not EMPTY ORDER BY created DESC";
        let fields: Vec<_> = READ_FIELDS.split(',').collect();
        let (mut rows, cursor) = client.search_page(jql, &fields, PROPERTY, cursor).await?;
        let catalog = catalog(client).await?;
        let objects = rows.iter_mut().map(|row| {
            fields::described(row, &catalog);
            object(client, row)
        });
        let objects = objects.collect::<Result<_, _>>()?;
        Ok(Listing { objects, cursor, partial: false })
    }

    async fn create(&self, client: CallClient<'_>, create: &Create) -> Result<Outcome, Failure> {
        write::create(client, create).await
    }

    async fn update(&self, client: CallClient<'_>, update: &Update) -> Result<Outcome, Failure> {
        write::update(client, update).await
    }

    /// Subtasks are never deleted with it: they may be others'.
    async fn delete(&self, client: CallClient<'_>, target: &ObjectRef) -> Result<Outcome, Failure> {
        let id = target.external_id.as_str();
        if !is_number(id) {
            return Ok(deleted());
        }
        let request = Request::delete(&["issue", id]).query("deleteSubtasks", "false");
        match delete(client, request, id).await {
            Err(error) if error.kind == ErrorKind::Invalid => {
                Err(blocked_by_subtasks(client, id, error).await.into())
            }
            outcome => Ok(outcome?),
        }
    }

    async fn resume(&self, client: CallClient<'_>, job: Job) -> Result<Outcome, Failure> {
        match &job.work {
            Work::Transition { .. } => transition::resume(client, job).await,
            _ => Err(no_job()),
        }
    }

    async fn act(&self, client: CallClient<'_>, act: &Act) -> Result<Outcome, Failure> {
        transition::act(client, act).await
    }
}

fn normalise(deployment: Deployment, members: &mut Map<String, Value>) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if let Some(why) = members.get("description").and_then(|value| text::fault(deployment, value)) {
        faults.push(fault("description", why));
    }
    if members
        .get("summary")
        .and_then(Value::as_str)
        .is_some_and(|text| text.contains(['\n', '\r']))
    {
        faults.push(fault("summary", "must be one line"));
    }
    if let Some(Value::String(summary)) = members.get_mut("summary") {
        // JIRA cuts blanks at both ends.
        *summary = summary.trim().to_owned();
        if summary.is_empty() {
            faults.push(fault("summary", "must not be empty"));
        }
    }
    for field in ["labels", "components", "fixVersions", "versions"] {
        // A reference stays in its place until it has a value.
        if let Some(Value::Array(values)) = members.get(field)
            && values.iter().all(Value::is_string)
        {
            let values = attributes::sorted(values.clone());
            members.insert(field.to_owned(), values);
        }
    }
    faults
}

/// Reads an issue with its property, and the names of its fields.
async fn read(client: CallClient<'_>, id: &str) -> Result<Value, ApiError> {
    let request =
        Request::get(&["issue", id]).query("fields", READ_FIELDS).query("properties", PROPERTY);
    let mut row = client.read(request).await?;
    if row["id"] != *id {
        return Err(nonsense("JIRA shows another issue", false));
    }
    if let Some(project) = row["fields"]["project"]["id"].as_str() {
        client.remember_project(id, project);
    }
    fields::described(&mut row, &catalog(client).await?);
    Ok(row)
}

/// The fields of the site, at most a minute old.
async fn catalog(client: CallClient<'_>) -> Result<Arc<Vec<Value>>, ApiError> {
    client.cached_rows(Request::get(&["field"]), &[]).await
}

fn object(client: CallClient<'_>, row: &Value) -> Result<Object, ApiError> {
    let id = row["id"].as_str().filter(|id| is_number(id));
    let id = id.ok_or_else(|| nonsense("JIRA shows an issue without id", false))?;
    Ok(Object {
        external_id: ExternalId(id.to_owned()),
        attributes: fields::observed(client.deployment(), row),
        owner_key: fields::owner(row),
    })
}

/// Keeps issues of the creator of the oldest one: a copy that someone else made is not ours to delete.
fn by_one_creator(rows: &mut Vec<Value>) {
    rows.sort_by_key(|row| row["id"].as_str().and_then(|id| id.parse::<u64>().ok()));
    if let Some(creator) = rows.first().map(|row| row["fields"]["creator"].clone()) {
        rows.retain(|row| row["fields"]["creator"] == creator);
    }
}

async fn labels_are_on_screen(client: CallClient<'_>, spec: &Value) -> Result<bool, ApiError> {
    let (Some(project), Some(issuetype)) = (spec["project"].as_str(), spec["issuetype"].as_str())
    else {
        return Ok(true);
    };
    match screen::create_screen(client, project, issuetype).await {
        Ok((_, fields)) => Ok(fields.iter().any(|field| field.id == "labels")),
        // Nothing can have been created there.
        Err(error) if matches!(error.kind, ErrorKind::NoReference | ErrorKind::NotFound) => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

async fn blocked_by_subtasks(client: CallClient<'_>, id: &str, error: ApiError) -> ApiError {
    let row = client.read(Request::get(&["issue", id]).query("fields", "subtasks")).await;
    let row = row.unwrap_or_default();
    let keys: Vec<_> = row["fields"]["subtasks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|subtask| subtask["key"].as_str())
        .collect();
    if keys.is_empty() && error.message.to_lowercase().contains("subtask") {
        // One that reads do not show yet.
        return error.with_kind(ErrorKind::Blocked);
    }
    if keys.is_empty() {
        return error;
    }
    let message = format!("it has subtasks, which are not deleted with it: {}", keys.join(", "));
    ApiError { message, code: "has_subtasks", ..error }.with_kind(ErrorKind::Blocked)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_desired_state_is_normalised_once() {
        let Value::Object(mut members) = json!({
            "summary": " a ", "labels": ["b", "a"], "description": "x",
            "components": ["z", {"$ref": "jira.component/c"}],
        }) else {
            unreachable!("an object")
        };
        assert_eq!(normalise(Deployment::Cloud, &mut members), []);
        assert_eq!(members["summary"], "a");
        assert_eq!(members["labels"], json!(["a", "b"]));
        assert_eq!(members["components"][0], "z", "references stay in their places");
        let Value::Object(mut members) = json!({"summary": "a\nb", "description": {"wiki": "x"}})
        else {
            unreachable!("an object")
        };
        let faults = normalise(Deployment::Cloud, &mut members);
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/description", "/summary"]);
    }

    #[test]
    fn a_copy_of_someone_else_is_not_ours() {
        let row =
            |id: &str, creator: &str| json!({"id": id, "fields": {"creator": {"name": creator}}});
        let mut rows = vec![row("12", "us"), row("9", "us"), row("10", "them")];
        by_one_creator(&mut rows);
        let ids: Vec<_> = rows.iter().map(|row| row["id"].clone()).collect();
        assert_eq!(ids, ["9", "12"]);
    }
}
