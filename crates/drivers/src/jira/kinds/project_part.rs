//! `jira.version` and `jira.component`: parts of a project that its name identifies, because they have no place for the
//! owner key. JIRA refuses a second one of the same name.

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
use super::users::user_id;
use super::{Kind, Meta, created, deleted, done, is_no_id, is_number, planned, shown};
use crate::jira::client::{ApiError, CallClient, ErrorKind, Request, nonsense, settling};
use crate::jira::site::Deployment;

/// What the two differ in.
pub(super) struct Part {
    meta: Meta,
    /// In messages and in the path of one.
    noun: &'static str,
    /// In the path of a project's list.
    list: &'static str,
}

pub(super) static VERSION: Part = Part {
    meta: Meta {
        name: "jira.version",
        summary: "A version of a project of JIRA, identified by project and name.",
        schema: include_str!("version.schema.json"),
        immutable: &["/project", "/name"],
        unobserved: &["id", "aliases"],
        identity: Some("/project /name"),
        owner_key: false,
        drift: DriftPolicy::Correct,
        loses: Some("the version in the issues that name it"),
    },
    noun: "version",
    list: "versions",
};

pub(super) static COMPONENT: Part = Part {
    meta: Meta {
        name: "jira.component",
        summary: "A component of a project of JIRA, identified by project and name.",
        schema: include_str!("component.schema.json"),
        immutable: &["/project", "/name"],
        unobserved: &["id", "aliases"],
        identity: Some("/project /name"),
        owner_key: false,
        drift: DriftPolicy::Correct,
        loses: Some("the component in the issues that name it"),
    },
    noun: "component",
    list: "components",
};

/// A project, as its parts refer to it.
struct ProjectFacts {
    id: String,
    key: String,
}

impl ProjectFacts {
    /// Reads a project by id or key; at most a minute old.
    async fn read(client: CallClient<'_>, project: &str) -> Result<Self, ApiError> {
        let rows = client.cached_rows(Request::get(&["project", project]), &[]).await?;
        let text = |name: &str| rows.first().and_then(|row| row[name].as_str());
        match (text("id"), text("key")) {
            (Some(id), Some(key)) => Ok(Self { id: id.to_owned(), key: key.to_owned() }),
            _ => Err(nonsense("JIRA shows a project without id or key", false)),
        }
    }
}

#[async_trait]
impl Kind for Part {
    fn meta(&self) -> &'static Meta {
        // Both parts are static.
        if self.noun == VERSION.noun { &VERSION.meta } else { &COMPONENT.meta }
    }

    fn normalise(&self, _: Deployment, members: &mut Map<String, Value>) -> Vec<FieldError> {
        for field in ["name", "description"] {
            if let Some(Value::String(text)) = members.get_mut(field) {
                *text = text.trim().to_owned();
            }
        }
        Vec::new()
    }

    async fn observe(
        &self,
        client: CallClient<'_>,
        target: &ObjectRef,
    ) -> Result<Observation, ApiError> {
        let id = target.external_id.as_str();
        if !is_number(id) {
            return Ok(is_no_id(id, self.noun));
        }
        let memory = format!("{} {id}", self.noun);
        match client.read(Request::get(&[self.noun, id])).await {
            Ok(row) => {
                client.is_fresh(id, &row)?;
                let facts = self.project_of(client, &row).await?;
                client.remember_project(&memory, &facts.id);
                Ok(Observation::Present(self.object(client, &facts, &row)?))
            }
            Err(error) => client.absence(id, client.known_project(&memory), error).await,
        }
    }

    async fn find(&self, client: CallClient<'_>, search: &Search) -> Result<Vec<Object>, ApiError> {
        let project = search.spec["project"].as_str().unwrap_or_default();
        let name = search.spec["name"].as_str().unwrap_or_default();
        let facts = ProjectFacts::read(client, project).await;
        let Some(facts) = shown(client, facts).await? else { return Ok(Vec::new()) };
        match self.named(client, &facts, name).await? {
            Some(row) => Ok(vec![self.object(client, &facts, &row)?]),
            None => Ok(Vec::new()),
        }
    }

    async fn list(
        &self,
        client: CallClient<'_>,
        cursor: Option<&str>,
    ) -> Result<Listing, ApiError> {
        let request = match client.deployment() {
            Deployment::Cloud => Request::get(&["project", "search"]),
            Deployment::DataCenter => Request::get(&["project"]),
        };
        let (projects, cursor) = client.page(request, &["values"], cursor).await?;
        let mut objects = Vec::new();
        for project in &projects {
            let (Some(id), Some(key)) = (project["id"].as_str(), project["key"].as_str()) else {
                continue;
            };
            let facts = ProjectFacts { id: id.to_owned(), key: key.to_owned() };
            for row in self.rows_of(client, &facts).await? {
                objects.push(self.object(client, &facts, &row)?);
            }
        }
        Ok(Listing { objects, cursor, partial: false })
    }

    async fn create(&self, client: CallClient<'_>, create: &Create) -> Result<Outcome, Failure> {
        let spec = create.spec.as_object().cloned().unwrap_or_default();
        let project = create.spec["project"].as_str().unwrap_or_default();
        let facts = ProjectFacts::read(client, project).await?;
        let mut body = self.body(client, spec).await?;
        if self.noun == VERSION.noun {
            body["projectId"] = json!(facts.id.parse::<u64>().unwrap_or_default());
        } else {
            body["project"] = json!(facts.key);
        }
        match client.send(Request::post(&[self.noun], body)).await {
            Ok(reply) => {
                let id = reply.body["id"].as_str().filter(|id| is_number(id));
                let Some(id) = id else {
                    let unnamed = format!("JIRA created a {} and does not say which", self.noun);
                    return Err(nonsense(&unnamed, true).into());
                };
                client.remember_project(&format!("{} {id}", self.noun), &facts.id);
                client.made(&facts.id);
                created(client, create, id).await
            }
            Err(error) if error.kind == ErrorKind::Invalid => {
                Err(self.refused(client, &facts, create, error).await)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn update(&self, client: CallClient<'_>, update: &Update) -> Result<Outcome, Failure> {
        let id = update.target.external_id.as_str();
        let body = self.body(client, planned(&update.spec, &update.fields)).await?;
        client.send(Request::put(&[self.noun, id], body)).await?;
        client.wrote(id);
        Ok(done(id))
    }

    async fn delete(&self, client: CallClient<'_>, target: &ObjectRef) -> Result<Outcome, Failure> {
        let id = target.external_id.as_str();
        if !is_number(id) {
            return Ok(deleted());
        }
        let request = if self.noun == VERSION.noun {
            // A plain DELETE is deprecated.
            Request::post(&["version", id, "removeAndSwap"], json!({}))
        } else {
            Request::delete(&["component", id])
        };
        Ok(super::delete(client, request, id).await?)
    }
}

impl Part {
    /// The failure of a creation whose name may be taken.
    async fn refused(
        &self,
        client: CallClient<'_>,
        project: &ProjectFacts,
        create: &Create,
        error: ApiError,
    ) -> Failure {
        let name = create.spec["name"].as_str().unwrap_or_default();
        let there = self.named(client, project, name).await.ok().flatten();
        let id = there.and_then(|row| row["id"].as_str().map(str::to_owned));
        match id.filter(|id| !client.deletion_may_lag(id)) {
            Some(id) => {
                let message = format!("project {} has {} `{name}`", project.key, self.noun);
                let class = ErrorClass::AlreadyExists { external_id: ExternalId(id) };
                Failure::harmless(class, "name_taken", message)
            }
            // The list may lag behind another creation.
            None if client.creation_may_lag(&project.id) => settling(&error.message).into(),
            None => error.into(),
        }
    }

    async fn rows_of(
        &self,
        client: CallClient<'_>,
        project: &ProjectFacts,
    ) -> Result<Vec<Value>, ApiError> {
        client.rows(Request::get(&["project", &project.id, self.list]), &["values"]).await
    }

    async fn named(
        &self,
        client: CallClient<'_>,
        project: &ProjectFacts,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        let rows = self.rows_of(client, project).await?;
        Ok(rows.into_iter().find(|row| row["name"].as_str() == Some(name)))
    }

    async fn project_of(
        &self,
        client: CallClient<'_>,
        row: &Value,
    ) -> Result<ProjectFacts, ApiError> {
        let project = match (&row["projectId"], row["project"].as_str()) {
            (Value::Number(id), _) => id.to_string(),
            (_, Some(key)) => key.to_owned(),
            _ => return Err(nonsense("JIRA shows a part of no project", false)),
        };
        ProjectFacts::read(client, &project).await
    }

    fn object(
        &self,
        client: CallClient<'_>,
        project: &ProjectFacts,
        row: &Value,
    ) -> Result<Object, ApiError> {
        let id = row["id"].as_str().filter(|id| is_number(id));
        let id = id.ok_or_else(|| nonsense("JIRA shows a part of a project without id", false))?;
        let mut attributes = Attributes::default();
        attributes.copy(row, &["id", "name"]);
        attributes.copy_texts(row, &["description"]);
        attributes.put("project", json!(project.key));
        attributes.alias("project", &json!(project.id), &json!(project.key));
        if self.noun == VERSION.noun {
            attributes.copy(row, &["startDate", "releaseDate"]);
            for flag in ["released", "archived"] {
                attributes.put(flag, json!(row[flag] == true));
            }
        } else {
            attributes.user("lead", client.deployment(), &row["lead"]);
            attributes.copy(row, &["assigneeType"]);
        }
        let external_id = ExternalId(id.to_owned());
        Ok(Object { external_id, attributes: attributes.collected(), owner_key: None })
    }

    /// The body of a creation or change, without the project.
    async fn body(
        &self,
        client: CallClient<'_>,
        mut members: Map<String, Value>,
    ) -> Result<Value, ApiError> {
        members.remove("project");
        if let Some(lead) = members.remove("lead") {
            let member = match client.deployment() {
                Deployment::Cloud => "leadAccountId",
                Deployment::DataCenter => "leadUserName",
            };
            let id = match lead.as_str() {
                Some(lead) => json!(user_id(client, lead).await?),
                None => json!(""),
            };
            members.insert(member.to_owned(), id);
        }
        Ok(Value::Object(members))
    }
}
