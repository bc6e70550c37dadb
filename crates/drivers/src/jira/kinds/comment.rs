//! `jira.comment`: the owner key is an entity property in the request that creates it. Its external id is `ISSUE/ID`.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::entity::state::DriftPolicy;
use stateward_domain::failure::Failure;
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{ExternalId, OwnerKey};
use stateward_domain::ports::driver::{
    Create, Listing, Object, ObjectRef, Observation, Outcome, Search, Update,
};

use super::attributes;
use super::issue_facts::{IssueFacts, absence_within, split};
use super::{Kind, Meta, created, deleted, done, fault, is_no_id, is_number, not_created, planned};
use crate::jira::client::{ApiError, CallClient, ErrorKind, Request, nonsense};
use crate::jira::owner::{PROPERTY, Property};
use crate::jira::site::Deployment;
use crate::jira::text;

const META: Meta = Meta {
    name: "jira.comment",
    summary: "A comment on an issue of JIRA.",
    schema: include_str!("comment.schema.json"),
    immutable: &["/issue"],
    unobserved: &["id", "project", "aliases"],
    identity: None,
    owner_key: true,
    drift: DriftPolicy::Correct,
    loses: Some("the comment's place in the discussion"),
};

pub(super) struct Comment;

#[async_trait]
impl Kind for Comment {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn normalise(
        &self,
        deployment: Deployment,
        members: &mut Map<String, Value>,
    ) -> Vec<FieldError> {
        let why = members.get("body").and_then(|body| text::fault(deployment, body));
        why.map(|why| fault("body", why)).into_iter().collect()
    }

    fn is_same(
        &self,
        deployment: Deployment,
        observed: &Value,
        field: &str,
        desired: &Value,
    ) -> bool {
        match field {
            "body" => text::is_same(deployment, &observed[field], desired),
            _ => attributes::is_same(observed, field, desired),
        }
    }

    async fn observe(
        &self,
        client: CallClient<'_>,
        target: &ObjectRef,
    ) -> Result<Observation, ApiError> {
        let external_id = target.external_id.as_str();
        let Some((issue, id)) = split(external_id) else {
            return Ok(is_no_id(external_id, "comment"));
        };
        match client.read(Request::get(&["issue", issue, "comment", id])).await {
            Ok(row) => {
                client.is_fresh(external_id, &row)?;
                let facts = IssueFacts::known(client, issue).await?;
                let owner = owner(client, &row).await?;
                Ok(Observation::Present(object(client, &facts, &row, owner)?))
            }
            Err(error) => absence_within(client, external_id, issue, error).await,
        }
    }

    async fn find(&self, client: CallClient<'_>, search: &Search) -> Result<Vec<Object>, ApiError> {
        let Some(issue) = search.spec["issue"].as_str() else { return Ok(Vec::new()) };
        let facts = match IssueFacts::read(client, issue).await {
            Ok(facts) => facts,
            // Without its issue there is no comment, once that is proved.
            Err(error) => {
                let known = client.known_project(issue);
                return match client.absence(issue, known, error).await? {
                    Observation::Absent { .. } => Ok(Vec::new()),
                    _ => Err(nonsense("JIRA does not show the issue of the comment", false)),
                };
            }
        };
        let request = Request::get(&["issue", &facts.id, "comment"]).query("expand", "properties");
        let mut found = Vec::new();
        for row in client.rows(request, &["comments"]).await? {
            if owner(client, &row).await?.as_ref() == Some(&search.owner_key) {
                let object = object(client, &facts, &row, Some(search.owner_key.clone()))?;
                found.push(object);
            }
        }
        Ok(found)
    }

    async fn list(
        &self,
        client: CallClient<'_>,
        cursor: Option<&str>,
    ) -> Result<Listing, ApiError> {
        let jql = "project is not EMPTY ORDER BY updated DESC";
        let fields = ["project", "comment"];
        let (issues, cursor) = client.search_page(jql, &fields, PROPERTY, cursor).await?;
        let me = client.cached_rows(Request::get(&["myself"]), &[]).await?;
        let me = &me.first().unwrap_or(&Value::Null)[client.deployment().user_id()];
        let mut objects = Vec::new();
        for issue in &issues {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let facts = IssueFacts {
                id: text(&issue["id"]),
                key: text(&issue["key"]),
                project: text(&issue["fields"]["project"]["id"]),
            };
            for row in comments(client, &facts, &issue["fields"]["comment"]).await? {
                // Comments of others carry no mark of ours, and each is a request.
                let ours = row["author"][client.deployment().user_id()] == *me;
                let owner = if ours { owner(client, &row).await? } else { None };
                objects.push(object(client, &facts, &row, owner)?);
            }
        }
        Ok(Listing { objects, cursor, partial: false })
    }

    async fn create(&self, client: CallClient<'_>, create: &Create) -> Result<Outcome, Failure> {
        let issue = create.spec["issue"].as_str().unwrap_or_default();
        let facts = IssueFacts::read(client, issue).await?;
        let property = Property { owner: Some(create.owner_key.clone()), ..Property::default() };
        let mut body = body(client.deployment(), create.spec.as_object());
        body["properties"] = json!([property.entry()]);
        let reply = client.send(Request::post(&["issue", &facts.id, "comment"], body)).await;
        let reply = reply.map_err(|error| not_created(client, create, error))?;
        let Some(id) = reply.body["id"].as_str().filter(|id| is_number(id)) else {
            client.wrote(&create.owner_key.0);
            let unnamed = nonsense("JIRA created a comment and does not say which", true);
            return Err(unnamed.into());
        };
        client.remember(&format!("owner of comment {id}"), &create.owner_key.0);
        created(client, create, &format!("{}/{id}", facts.id)).await
    }

    async fn update(&self, client: CallClient<'_>, update: &Update) -> Result<Outcome, Failure> {
        let external_id = update.target.external_id.as_str();
        let Some((issue, id)) = split(external_id) else { return Ok(done(external_id)) };
        let mut whole = planned(&update.spec, &update.fields);
        // The request replaces both.
        for field in ["body", "visibility"] {
            let value = update.spec.get(field).unwrap_or_else(|| &update.observed[field]);
            whole.entry(field).or_insert_with(|| value.clone());
        }
        let body = body(client.deployment(), Some(&whole));
        client.send(Request::put(&["issue", issue, "comment", id], body)).await?;
        client.wrote(external_id);
        Ok(done(external_id))
    }

    async fn delete(&self, client: CallClient<'_>, target: &ObjectRef) -> Result<Outcome, Failure> {
        let external_id = target.external_id.as_str();
        let Some((issue, id)) = split(external_id) else { return Ok(deleted()) };
        let request = Request::delete(&["issue", issue, "comment", id]);
        Ok(super::delete(client, request, external_id).await?)
    }
}

/// The body of a creation or change.
fn body(deployment: Deployment, members: Option<&Map<String, Value>>) -> Value {
    let member = |name: &str| members.and_then(|members| members.get(name));
    let mut body =
        json!({"body": text::stored(deployment, member("body").unwrap_or(&Value::Null))});
    if let Some(visibility) = member("visibility") {
        body["visibility"] = visibility.clone();
    }
    body
}

/// The comments of an issue that a search shows with the first of them.
async fn comments(
    client: CallClient<'_>,
    issue: &IssueFacts,
    shown: &Value,
) -> Result<Vec<Value>, ApiError> {
    if let (Some(rows), Some(total)) = (shown["comments"].as_array(), shown["total"].as_u64())
        && rows.len() as u64 >= total
    {
        return Ok(rows.clone());
    }
    client.rows(Request::get(&["issue", &issue.id, "comment"]), &["comments"]).await
}

/// Whose a comment is; its property is read where the list does not show it.
async fn owner(client: CallClient<'_>, row: &Value) -> Result<Option<OwnerKey>, ApiError> {
    if let Some(properties) = row["properties"].as_array() {
        let ours = properties.iter().find(|property| property["key"] == PROPERTY);
        return Ok(ours.and_then(|property| Property::read(&property["value"]).owner));
    }
    let Some(id) = row["id"].as_str() else { return Ok(None) };
    let memory = format!("owner of comment {id}");
    if let Some(owner) = client.remembered(&memory) {
        return Ok(Some(OwnerKey(owner)));
    }
    let owner = match client.read(Request::get(&["comment", id, "properties", PROPERTY])).await {
        Ok(property) => Property::read(&property["value"]).owner,
        Err(error) if error.kind == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    // A 404 may be one of a read that lags: only an owner is remembered.
    if let Some(owner) = &owner {
        client.remember(&memory, &owner.0);
    }
    Ok(owner)
}

fn object(
    client: CallClient<'_>,
    facts: &IssueFacts,
    row: &Value,
    owner_key: Option<OwnerKey>,
) -> Result<Object, ApiError> {
    let id = row["id"].as_str().filter(|id| is_number(id));
    let id = id.ok_or_else(|| nonsense("JIRA shows a comment without id", false))?;
    let mut attributes = facts.attributes_of(id);
    attributes.put("body", text::canonical(&row["body"]));
    let visibility = &row["visibility"];
    let visibility = match visibility["type"].as_str() {
        Some(_) => json!({"type": visibility["type"], "value": visibility["value"]}),
        None => Value::Null,
    };
    attributes.put("visibility", visibility);
    attributes.user("author", client.deployment(), &row["author"]);
    let external_id = ExternalId(format!("{}/{id}", facts.id));
    Ok(Object { external_id, attributes: attributes.collected(), owner_key })
}
