//! `jira.issue_link`: type and both issues identify it. JIRA answers a creation without an id and swallows a repetition, so
//! the id is read from the links of the inward issue. Its external id is `INWARD/ID`.

use async_trait::async_trait;
use serde_json::{Value, json};
use stateward_domain::entity::state::DriftPolicy;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::{
    Create, Listing, Object, ObjectRef, Observation, Outcome, Search, Update,
};

use super::attributes::Attributes;
use super::issue_facts::{IssueFacts, absence_within, split};
use super::job::Work;
use super::{Job, Kind, Meta, deleted, done, is_no_id, no_job, shown};
use crate::jira::client::{ApiError, CallClient, ErrorKind, Request, nonsense};
use crate::jira::owner::PROPERTY;

const META: Meta = Meta {
    name: "jira.issue_link",
    summary: "A link between two issues of JIRA, identified by its type and both issues.",
    schema: include_str!("issue_link.schema.json"),
    immutable: &["/type", "/inwardIssue", "/outwardIssue"],
    unobserved: &["id", "project", "aliases"],
    identity: Some("/type /inwardIssue /outwardIssue"),
    owner_key: false,
    drift: DriftPolicy::Correct,
    loses: None,
};

/// Time between polls for the id of a new link.
const POLL_MS: u64 = 500;
/// Polls for it at most.
const POLLS_MAX: u32 = 60;

pub(super) struct IssueLink;

/// What identifies a link.
struct Ends {
    kind: String,
    inward: IssueFacts,
    outward: IssueFacts,
}

#[async_trait]
impl Kind for IssueLink {
    fn meta(&self) -> &'static Meta {
        &META
    }

    async fn observe(
        &self,
        client: CallClient<'_>,
        target: &ObjectRef,
    ) -> Result<Observation, ApiError> {
        let external_id = target.external_id.as_str();
        let Some((inward, id)) = split(external_id) else {
            return Ok(is_no_id(external_id, "link"));
        };
        match client.read(Request::get(&["issueLink", id])).await {
            Ok(row) => {
                client.is_fresh(external_id, &row)?;
                if row["inwardIssue"]["id"] != *inward {
                    return Err(nonsense("JIRA shows another link", false));
                }
                let project = IssueFacts::known(client, inward).await?.project;
                Ok(Observation::Present(object(&project, &row)?))
            }
            Err(error) => absence_within(client, external_id, inward, error).await,
        }
    }

    async fn find(&self, client: CallClient<'_>, search: &Search) -> Result<Vec<Object>, ApiError> {
        let ends = Ends::read(client, &search.spec).await;
        let Some(ends) = shown(client, ends).await? else { return Ok(Vec::new()) };
        let Some(id) = ends.link(client).await? else { return Ok(Vec::new()) };
        match client.read(Request::get(&["issueLink", &id])).await {
            Ok(row) => Ok(vec![object(&ends.inward.project, &row)?]),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn list(
        &self,
        client: CallClient<'_>,
        cursor: Option<&str>,
    ) -> Result<Listing, ApiError> {
        let jql = "project is not EMPTY ORDER BY updated DESC";
        let fields = ["issuelinks", "project"];
        let (issues, cursor) = client.search_page(jql, &fields, PROPERTY, cursor).await?;
        let mut objects = Vec::new();
        for issue in &issues {
            let project = issue["fields"]["project"]["id"].as_str().unwrap_or_default();
            for link in issue["fields"]["issuelinks"].as_array().into_iter().flatten() {
                // Each link is listed once: at its inward issue, which sees the outward one.
                if link["outwardIssue"].is_object() {
                    let mut row = link.clone();
                    row["inwardIssue"] = json!({"id": issue["id"], "key": issue["key"]});
                    objects.push(object(project, &row)?);
                }
            }
        }
        Ok(Listing { objects, cursor, partial: false })
    }

    async fn create(&self, client: CallClient<'_>, create: &Create) -> Result<Outcome, Failure> {
        let ends = Ends::read(client, &create.spec).await?;
        if let Some(id) = ends.link(client).await? {
            let class = ErrorClass::AlreadyExists { external_id: ends.external_id(&id) };
            return Err(Failure::harmless(class, "link_exists", "the issues are linked like that"));
        }
        let by = if super::is_number(&ends.kind) { "id" } else { "name" };
        let body = json!({
            "type": {by: ends.kind},
            "inwardIssue": {"id": ends.inward.id}, "outwardIssue": {"id": ends.outward.id},
        });
        client.send(Request::post(&["issueLink"], body)).await?;
        let work = Work::NewLink { spec: create.spec.clone() };
        visible(client, &ends, Job::new(META.name, "", work)).await
    }

    /// All its fields identify it.
    async fn update(&self, _: CallClient<'_>, update: &Update) -> Result<Outcome, Failure> {
        Ok(done(update.target.external_id.as_str()))
    }

    async fn delete(&self, client: CallClient<'_>, target: &ObjectRef) -> Result<Outcome, Failure> {
        let external_id = target.external_id.as_str();
        let Some((_, id)) = split(external_id) else { return Ok(deleted()) };
        Ok(super::delete(client, Request::delete(&["issueLink", id]), external_id).await?)
    }

    async fn resume(&self, client: CallClient<'_>, job: Job) -> Result<Outcome, Failure> {
        let Work::NewLink { spec } = &job.work else { return Err(no_job()) };
        let ends = Ends::read(client, spec).await?;
        visible(client, &ends, job).await
    }
}

/// The end of a creation, once the inward issue shows the link.
async fn visible(client: CallClient<'_>, ends: &Ends, job: Job) -> Result<Outcome, Failure> {
    match ends.link(client).await? {
        Some(id) => {
            let external_id = ends.external_id(&id);
            client.made(external_id.as_str());
            client.context.control.record_id(&external_id).await?;
            Ok(Outcome::Done { external_id: Some(external_id), attributes: Value::Null })
        }
        None if job.polls < POLLS_MAX => Ok(job.pending(POLL_MS)),
        None => Err(nonsense("JIRA accepted a link and does not show it", true).into()),
    }
}

impl Ends {
    async fn read(client: CallClient<'_>, spec: &Value) -> Result<Self, ApiError> {
        let text = |name: &str| spec[name].as_str().unwrap_or_default();
        Ok(Self {
            kind: text("type").to_owned(),
            inward: IssueFacts::read(client, text("inwardIssue")).await?,
            outward: IssueFacts::read(client, text("outwardIssue")).await?,
        })
    }

    /// The id of the link between both issues; `None` = they are not linked like that.
    async fn link(&self, client: CallClient<'_>) -> Result<Option<String>, ApiError> {
        let request = Request::get(&["issue", &self.inward.id]).query("fields", "issuelinks");
        let row = client.read(request).await?;
        let links = row["fields"]["issuelinks"].as_array().into_iter().flatten();
        let mut same = links.filter(|link| {
            let id = link["id"].as_str().unwrap_or_default();
            if client.deletion_may_lag(self.external_id(id).as_str()) {
                return false;
            }
            let kind = &link["type"];
            let named =
                kind["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(&self.kind));
            link["outwardIssue"]["id"] == *self.outward.id
                && (named || kind["id"].as_str() == Some(&self.kind))
        });
        Ok(same.next().and_then(|link| link["id"].as_str()).map(str::to_owned))
    }

    fn external_id(&self, id: &str) -> ExternalId {
        ExternalId(format!("{}/{id}", self.inward.id))
    }
}

fn object(project: &str, row: &Value) -> Result<Object, ApiError> {
    let (id, inward) = (row["id"].as_str(), row["inwardIssue"]["id"].as_str());
    let (Some(id), Some(inward)) = (id, inward) else {
        return Err(nonsense("JIRA shows a link without id or issue", false));
    };
    let mut attributes = Attributes::default();
    attributes.put("id", json!(id));
    attributes.put("project", json!(project));
    attributes.named("type", &row["type"]);
    for end in ["inwardIssue", "outwardIssue"] {
        attributes.put(end, row[end]["id"].clone());
        attributes.alias(end, &row[end]["key"], &row[end]["id"]);
    }
    let external_id = ExternalId(format!("{inward}/{id}"));
    Ok(Object { external_id, attributes: attributes.collected(), owner_key: None })
}
