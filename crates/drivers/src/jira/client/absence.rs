//! Absence: JIRA answers 404 also for what the account may not see, so a 404 alone proves nothing.
//!
//! Proof of the absence of an object is a 404 that JIRA itself wrote, while it knows the account and shows the object's
//! project; proof of the absence of a project is its place in the recycle bin, or a 404 for an administrator, who sees
//! every project.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use stateward_domain::ports::driver::Observation;

use super::send::settling;
use super::{ApiError, CallClient, ErrorKind, Request};
use crate::jira::site::Deployment;

/// Remembered facts at most.
const FACTS_MAX: usize = 50_000;

/// Facts that rarely change: the project of an issue, whose a comment is. Losing them costs a request each.
#[derive(Default)]
pub(in crate::jira) struct FactMemory(Mutex<HashMap<String, String>>);

impl CallClient<'_> {
    /// Remembers a fact.
    pub(in crate::jira) fn remember(self, what: &str, fact: &str) {
        let mut known = self.shared.facts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= FACTS_MAX {
            known.clear();
        }
        known.insert(what.to_owned(), fact.to_owned());
    }

    /// The fact that was remembered.
    pub(in crate::jira) fn remembered(self, what: &str) -> Option<String> {
        let known = self.shared.facts.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(what).cloned()
    }

    /// Remembers the project of an issue.
    pub(in crate::jira) fn remember_project(self, issue: &str, project: &str) {
        self.remember(&format!("project of {issue}"), project);
    }

    /// The project of an issue, by this process's memory or what was last observed of the object of this call.
    pub(in crate::jira) fn known_project(self, issue: &str) -> Option<String> {
        self.remembered(&format!("project of {issue}")).or_else(|| self.last_project())
    }

    /// The project in what was last observed of the object of this call.
    pub(in crate::jira) fn last_project(self) -> Option<String> {
        let last = self.context.control.last_observed()?;
        last["project"].as_str().map(str::to_owned)
    }

    /// What a 404 for an object of `project` means; `object` is its id within the kind. `None` as project = it is not
    /// known.
    ///
    /// # Errors
    /// `error` itself if it is no 404 of JIRA; that nothing is proved yet, right after the object was written.
    pub(in crate::jira) async fn absence(
        self,
        object: &str,
        project: Option<String>,
        error: ApiError,
    ) -> Result<Observation, ApiError> {
        if error.kind != ErrorKind::NotFound {
            return Err(error);
        }
        if self.creation_may_lag(object) {
            return Err(settling("the object was created a moment ago, and is not shown yet"));
        }
        self.is_known().await?;
        let said = error.message;
        let request_id = error.request_id.unwrap_or_else(|| "none".to_owned());
        let Some(project) = project else {
            let reason = format!("{said}; which project shows that is not known");
            return Ok(Observation::Unknown { reason });
        };
        let proof = match self.read(Request::get(&["project", &project])).await {
            Ok(_) => format!("{said}, request {request_id}, while JIRA shows project {project}"),
            Err(error) if error.kind == ErrorKind::NotFound => {
                let Some(proof) = self.project_absence(&project).await? else {
                    let reason = format!("{said}; project {project} is not shown either");
                    return Ok(Observation::Unknown { reason });
                };
                format!("{said}, request {request_id}; {proof}")
            }
            Err(error) => return Err(error),
        };
        Ok(Observation::Absent { proof })
    }

    /// Why a project that is answered by 404 does not exist; `None` = it may exist unseen.
    pub(in crate::jira) async fn project_absence(
        self,
        project: &str,
    ) -> Result<Option<String>, ApiError> {
        if self.in_recycle_bin(project).await?.is_some() {
            return Ok(Some(format!("project {project} is in the recycle bin")));
        }
        let request = Request::get(&["mypermissions"]).query("permissions", "ADMINISTER");
        let reply = self.read(request).await?;
        let sees_all = reply["permissions"]["ADMINISTER"]["havePermission"] == json!(true);
        Ok(sees_all.then(|| format!("an administrator does not see project {project}")))
    }

    /// The project in the recycle bin whose id or key is `project`; always `None` for Data Center, which has no bin.
    pub(in crate::jira) async fn in_recycle_bin(
        self,
        project: &str,
    ) -> Result<Option<Value>, ApiError> {
        if self.deployment() == Deployment::DataCenter {
            return Ok(None);
        }
        let numeric = project.bytes().all(|byte| byte.is_ascii_digit());
        let by = if numeric { "id" } else { "keys" };
        let request =
            Request::get(&["project", "search"]).query(by, project).query("status", "deleted");
        let found = self.rows(request, &["values"]).await?;
        let member = if numeric { "id" } else { "key" };
        Ok(found.into_iter().find(|row| row[member].as_str() == Some(project)))
    }
}
