//! What objects inside of an issue need to know of it: its numeric id, its key, its project.

use serde_json::{Value, json};
use stateward_domain::ports::driver::Observation;

use super::attributes::Attributes;
use super::is_number;
use crate::jira::client::{ApiError, CallClient, ErrorKind, Request, nonsense};

/// An issue, as objects inside of it refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IssueFacts {
    pub(super) id: String,
    pub(super) key: String,
    /// Id of its project.
    pub(super) project: String,
}

impl IssueFacts {
    /// Reads an issue by id or key.
    ///
    /// # Errors
    /// `NotFound` if JIRA does not show it, and those of the request.
    pub(super) async fn read(client: CallClient<'_>, issue: &str) -> Result<Self, ApiError> {
        let row = client.read(Request::get(&["issue", issue]).query("fields", "project")).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let project = &row["fields"]["project"];
        match (text(&row["id"]), text(&row["key"]), text(&project["id"])) {
            (Some(id), Some(key), Some(project)) => {
                client.remember_project(&id, &project);
                client.remember(&format!("key of {id}"), &key);
                Ok(Self { id, key, project })
            }
            _ => Err(nonsense("JIRA shows an issue without id, key or project", false)),
        }
    }

    /// An issue by its id, from this process's memory if it was read before.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub(super) async fn known(client: CallClient<'_>, id: &str) -> Result<Self, ApiError> {
        let key = client.remembered(&format!("key of {id}"));
        match (key, client.remembered(&format!("project of {id}"))) {
            (Some(key), Some(project)) => Ok(Self { id: id.to_owned(), key, project }),
            _ => Self::read(client, id).await,
        }
    }

    /// What each object inside of the issue shows of itself and of it.
    pub(super) fn attributes_of(&self, id: &str) -> Attributes {
        let mut attributes = Attributes::default();
        attributes.put("id", json!(id));
        attributes.put("project", json!(self.project));
        attributes.put("issue", json!(self.id));
        attributes.alias("issue", &json!(self.key), &json!(self.id));
        attributes
    }
}

/// What a 404 for an object inside of an issue means: if JIRA shows the issue, the object is absent; without its issue,
/// it is absent as well.
///
/// # Errors
/// Those of [`CallClient::absence`].
pub(super) async fn absence_within(
    client: CallClient<'_>,
    object: &str,
    issue: &str,
    error: ApiError,
) -> Result<Observation, ApiError> {
    if error.kind != ErrorKind::NotFound {
        return Err(error);
    }
    if client.creation_may_lag(object) {
        return client.absence(object, None, error).await;
    }
    match IssueFacts::read(client, issue).await {
        Ok(facts) => {
            let request_id = error.request_id.unwrap_or_else(|| "none".to_owned());
            let (said, key) = (error.message, facts.key);
            let proof = format!("{said}, request {request_id}, while JIRA shows issue {key}");
            Ok(Observation::Absent { proof })
        }
        Err(of_issue) if of_issue.kind == ErrorKind::NotFound => {
            client.absence(object, client.known_project(issue), of_issue).await
        }
        Err(of_issue) => Err(of_issue),
    }
}

/// Issue and id of an object inside of an issue, of its external id `ISSUE/ID`; `None` = another text.
pub(super) fn split(external_id: &str) -> Option<(&str, &str)> {
    external_id.split_once('/').filter(|(issue, id)| is_number(issue) && is_number(id))
}
