//! `jira.project`: its key is its identity, because a property takes a second request, which a crash may lose.
//!
//! - A key that a project in the recycle bin keeps is taken until that is restored or deleted for good.
//! - `project_deletion` decides whether a deletion is for good, which JIRA does asynchronously.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::entity::state::DriftPolicy;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::{
    Create, Listing, Object, ObjectRef, Observation, Outcome, Search, Update,
};

use super::attributes::Attributes;
use super::job::Work;
use super::users::user_id;
use super::{Job, Kind, Meta, created, deleted, done, is_no_id, is_number, no_job, planned, shown};
use crate::jira::client::{ApiError, CallClient, ErrorKind, Request, nonsense};
use crate::jira::site::Deployment;

const META: Meta = Meta {
    name: "jira.project",
    summary: "A project of JIRA, identified by its key.",
    schema: include_str!("project.schema.json"),
    immutable: &["/key", "/projectTypeKey"],
    unobserved: &["id", "projectTemplateKey", "archived", "project", "aliases"],
    identity: Some("/key"),
    owner_key: false,
    drift: DriftPolicy::Correct,
    loses: Some("the project with all its issues"),
};

/// Time between polls of a task.
const POLL_MS: u64 = 2_000;
/// Type of a project that declares none.
const TYPE: &str = "software";

pub(super) struct Project;

#[async_trait]
impl Kind for Project {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn normalise(&self, _: Deployment, members: &mut Map<String, Value>) -> Vec<FieldError> {
        for field in ["name", "description"] {
            if let Some(Value::String(text)) = members.get_mut(field) {
                *text = text.trim().to_owned();
            }
        }
        Vec::new()
    }

    fn unready(&self, observed: &Value) -> Option<String> {
        (observed["archived"] == true).then(|| "the project is archived".to_owned())
    }

    async fn observe(
        &self,
        client: CallClient<'_>,
        target: &ObjectRef,
    ) -> Result<Observation, ApiError> {
        let id = target.external_id.as_str();
        if !is_number(id) {
            return Ok(is_no_id(id, "project"));
        }
        match read(client, id).await {
            Ok(row) if row["deleted"] == true => {
                let proof = format!("project {id} is in the recycle bin");
                Ok(Observation::Absent { proof })
            }
            Ok(row) => {
                client.is_fresh(id, &row)?;
                Ok(Observation::Present(object(client, &row)?))
            }
            Err(error) if error.kind == ErrorKind::NotFound && !client.creation_may_lag(id) => {
                client.is_known().await?;
                Ok(match client.project_absence(id).await? {
                    Some(proof) => Observation::Absent { proof },
                    None => Observation::Unknown { reason: error.message },
                })
            }
            Err(error) => client.absence(id, None, error).await,
        }
    }

    async fn find(&self, client: CallClient<'_>, search: &Search) -> Result<Vec<Object>, ApiError> {
        let key = search.spec["key"].as_str().unwrap_or_default();
        // A second creation is refused, so no proof of absence is needed but that of the account.
        match shown(client, read(client, key).await).await? {
            // A key that a project had before leads to that project.
            Some(row) if row["key"] == *key && row["deleted"] != true => {
                Ok(vec![object(client, &row)?])
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn list(
        &self,
        client: CallClient<'_>,
        cursor: Option<&str>,
    ) -> Result<Listing, ApiError> {
        let request = match client.deployment() {
            Deployment::Cloud => {
                Request::get(&["project", "search"]).query("expand", "description,lead,url")
            }
            Deployment::DataCenter => {
                Request::get(&["project"]).query("expand", "description,lead,url")
            }
        };
        let (rows, cursor) = client.page(request, &["values"], cursor).await?;
        let objects = rows.iter().map(|row| object(client, row)).collect::<Result<_, _>>()?;
        Ok(Listing { objects, cursor, partial: true })
    }

    async fn create(&self, client: CallClient<'_>, create: &Create) -> Result<Outcome, Failure> {
        let key = create.spec["key"].as_str().unwrap_or_default();
        let body = body(client, create.spec.as_object(), true).await?;
        match client.send(Request::post(&["project"], body)).await {
            Ok(reply) => {
                let id = match &reply.body["id"] {
                    Value::Number(id) => id.to_string(),
                    id => id.as_str().unwrap_or_default().to_owned(),
                };
                if !is_number(&id) {
                    let unnamed = nonsense("JIRA created a project and does not say which", true);
                    return Err(unnamed.into());
                }
                created(client, create, &id).await
            }
            Err(error) if error.kind == ErrorKind::Invalid => Err(taken(client, key, error).await),
            Err(error) => Err(error.into()),
        }
    }

    async fn update(&self, client: CallClient<'_>, update: &Update) -> Result<Outcome, Failure> {
        let id = update.target.external_id.as_str();
        let members = planned(&update.spec, &update.fields);
        let body = body(client, Some(&members), false).await?;
        client.send(Request::put(&["project", id], body)).await?;
        client.wrote(id);
        Ok(done(id))
    }

    async fn delete(&self, client: CallClient<'_>, target: &ObjectRef) -> Result<Outcome, Failure> {
        let id = target.external_id.as_str();
        if !is_number(id) {
            return Ok(deleted());
        }
        match read(client, id).await {
            Ok(row) if row["archived"] == true => {
                let message = "an archived project cannot be deleted: restore it first";
                return Err(in_use("project_archived", message.to_owned()).into());
            }
            // Deleted already, to where it was to go.
            Ok(row) if row["deleted"] == true => return Ok(deleted()),
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(deleted()),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let request = match client.deployment() {
            Deployment::DataCenter => Request::delete(&["project", id]),
            Deployment::Cloud if client.shared.site.recycle_bin => {
                Request::delete(&["project", id]).query("enableUndo", "true")
            }
            Deployment::Cloud => Request::post(&["project", id, "delete"], json!({})),
        };
        match client.send(request).await {
            Ok(reply) => {
                client.removed(id);
                let task = reply.location.filter(|_| reply.status == 303);
                let task = task.or_else(|| reply.body["id"].as_str().map(str::to_owned));
                Ok(match task.filter(|_| reply.status != 204) {
                    Some(task) => Job::new(META.name, id, Work::Task { task }).pending(POLL_MS),
                    None => deleted(),
                })
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(deleted()),
            Err(error) => Err(error.into()),
        }
    }

    async fn resume(&self, client: CallClient<'_>, job: Job) -> Result<Outcome, Failure> {
        let Work::Task { task } = &job.work else { return Err(no_job()) };
        match client.read(Request::get(&["task", task])).await {
            Ok(row) => match task_end(&row) {
                None => Ok(job.pending(POLL_MS)),
                Some(Ok(())) => {
                    client.removed(&job.id);
                    Ok(deleted())
                }
                Some(Err(error)) => Err(error.into()),
            },
            // JIRA forgets tasks; what came of it is observed.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(deleted()),
            Err(error) => Err(error.into()),
        }
    }
}

/// How a task ended; `None` = it still runs.
fn task_end(task: &Value) -> Option<Result<(), ApiError>> {
    match task["status"].as_str().unwrap_or_default() {
        "ENQUEUED" | "RUNNING" | "CANCEL_REQUESTED" => None,
        "COMPLETE" => Some(Ok(())),
        status => {
            let said = task["message"].as_str().unwrap_or_default();
            let message = format!("JIRA's deletion ended {status}: {said}");
            Some(Err(ApiError::harmless(ErrorKind::Forbidden, "task_failed", message).partial()))
        }
    }
}

/// The failure of a creation whose key may be taken.
async fn taken(client: CallClient<'_>, key: &str, error: ApiError) -> Failure {
    if let Ok(row) = read(client, key).await
        && row["key"] == *key
        && row["deleted"] != true
        && let Some(id) = row["id"].as_str()
    {
        let class = ErrorClass::AlreadyExists { external_id: ExternalId(id.to_owned()) };
        return Failure::harmless(class, "key_taken", format!("project {key} exists"));
    }
    match client.in_recycle_bin(key).await {
        Ok(Some(row)) => {
            let name = row["name"].as_str().unwrap_or("?");
            let message = format!(
                "key {key} belongs to project `{name}` in the recycle bin: restore that project, or \
                 delete it there for good"
            );
            in_use("key_in_recycle_bin", message).into()
        }
        _ => error.into(),
    }
}

fn in_use(code: &'static str, message: String) -> ApiError {
    ApiError::harmless(ErrorKind::Blocked, code, message)
}

async fn read(client: CallClient<'_>, project: &str) -> Result<Value, ApiError> {
    let request = Request::get(&["project", project]).query("expand", "description,lead,url");
    client.read(request).await
}

/// The body of a creation or change; the lead is resolved to an id.
async fn body(
    client: CallClient<'_>,
    members: Option<&Map<String, Value>>,
    creates: bool,
) -> Result<Value, ApiError> {
    let mut body = members.cloned().unwrap_or_default();
    if let Some(lead) = body.remove("lead") {
        let id = user_id(client, lead.as_str().unwrap_or_default()).await?;
        let member = match client.deployment() {
            Deployment::Cloud => "leadAccountId",
            Deployment::DataCenter => "lead",
        };
        body.insert(member.to_owned(), json!(id));
    }
    if creates {
        body.entry("projectTypeKey").or_insert_with(|| json!(TYPE));
    } else {
        body.remove("projectTemplateKey");
    }
    Ok(Value::Object(body))
}

fn object(client: CallClient<'_>, row: &Value) -> Result<Object, ApiError> {
    let id = row["id"].as_str().filter(|id| is_number(id));
    let id = id.ok_or_else(|| nonsense("JIRA shows a project without id", false))?;
    let mut attributes = Attributes::default();
    attributes.copy(row, &["id", "key", "name", "projectTypeKey", "assigneeType"]);
    attributes.copy_texts(row, &["description", "url"]);
    attributes.put("archived", json!(row["archived"] == true));
    attributes.user("lead", client.deployment(), &row["lead"]);
    Ok(Object {
        external_id: ExternalId(id.to_owned()),
        attributes: attributes.collected(),
        owner_key: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_runs_until_jira_says_how_it_ended() {
        for (status, ended) in [
            ("ENQUEUED", None),
            ("RUNNING", None),
            ("COMPLETE", Some(true)),
            ("FAILED", Some(false)),
            ("CANCELLED", Some(false)),
            ("DEAD", Some(false)),
        ] {
            let end = task_end(&json!({"status": status, "message": "why"}));
            assert_eq!(end.map(|end| end.is_ok()), ended, "{status}");
        }
    }
}
