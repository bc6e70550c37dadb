//! `jira.remote_link`: issue and global id identify it. JIRA replaces the whole link with each change, so what the desired
//! state does not declare is sent as it was observed. Its external id is `ISSUE/ID`.

use async_trait::async_trait;
use serde_json::{Map, Value};
use stateward_domain::entity::state::DriftPolicy;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::{
    Create, Listing, Object, ObjectRef, Observation, Outcome, Search, Update,
};

use super::attributes;
use super::issue_facts::{IssueFacts, absence_within, split};
use super::{Kind, Meta, created, deleted, done, is_no_id, is_number, shown};
use crate::jira::client::{ApiError, CallClient, ErrorKind, Request, nonsense, settling};
use crate::jira::owner::PROPERTY;
use crate::jira::site::Deployment;

const META: Meta = Meta {
    name: "jira.remote_link",
    summary: "A link from an issue of JIRA to a page elsewhere, identified by issue and `globalId`.",
    schema: include_str!("remote_link.schema.json"),
    immutable: &["/issue", "/globalId"],
    unobserved: &["id", "project", "aliases"],
    identity: Some("/issue /globalId"),
    owner_key: false,
    drift: DriftPolicy::Correct,
    loses: None,
};

/// Members of a link that a change replaces.
const MEMBERS: &[&str] = &["globalId", "application", "relationship", "object"];

pub(super) struct RemoteLink;

#[async_trait]
impl Kind for RemoteLink {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn is_same(&self, _: Deployment, observed: &Value, field: &str, desired: &Value) -> bool {
        match field {
            "object" | "application" => holds(&observed[field], desired),
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
            return Ok(is_no_id(external_id, "remote link"));
        };
        match client.read(Request::get(&["issue", issue, "remotelink", id])).await {
            Ok(row) => {
                client.is_fresh(external_id, &row)?;
                let facts = IssueFacts::known(client, issue).await?;
                Ok(Observation::Present(object(&facts, &row)?))
            }
            Err(error) => absence_within(client, external_id, issue, error).await,
        }
    }

    async fn find(&self, client: CallClient<'_>, search: &Search) -> Result<Vec<Object>, ApiError> {
        let issue = search.spec["issue"].as_str().unwrap_or_default();
        let facts = IssueFacts::read(client, issue).await;
        let Some(facts) = shown(client, facts).await? else { return Ok(Vec::new()) };
        let global_id = search.spec["globalId"].as_str().unwrap_or_default();
        let row = named(client, &facts, global_id).await?;
        row.map(|row| object(&facts, &row)).transpose().map(|found| found.into_iter().collect())
    }

    async fn list(
        &self,
        client: CallClient<'_>,
        cursor: Option<&str>,
    ) -> Result<Listing, ApiError> {
        let jql = "project is not EMPTY ORDER BY updated DESC";
        let (issues, cursor) = client.search_page(jql, &["project"], PROPERTY, cursor).await?;
        let mut objects = Vec::new();
        for issue in &issues {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let facts = IssueFacts {
                id: text(&issue["id"]),
                key: text(&issue["key"]),
                project: text(&issue["fields"]["project"]["id"]),
            };
            for row in client.rows(Request::get(&["issue", &facts.id, "remotelink"]), &[]).await? {
                // Links of other tools need no global id, and cannot be declared without.
                if row["globalId"].is_string() {
                    objects.push(object(&facts, &row)?);
                }
            }
        }
        Ok(Listing { objects, cursor, partial: false })
    }

    async fn create(&self, client: CallClient<'_>, create: &Create) -> Result<Outcome, Failure> {
        let issue = create.spec["issue"].as_str().unwrap_or_default();
        let facts = IssueFacts::read(client, issue).await?;
        let global_id = create.spec["globalId"].as_str().unwrap_or_default();
        // The request would replace another's link; one of a moment ago may not be shown yet.
        let identity = format!("{} {global_id}", facts.id);
        if client.creation_may_lag(&identity) {
            return Err(settling("a link of that id was made a moment ago").into());
        }
        if let Some(row) = named(client, &facts, global_id).await? {
            let external_id = object(&facts, &row)?.external_id;
            let message = format!("issue {} has a link `{global_id}`", facts.key);
            let class = ErrorClass::AlreadyExists { external_id };
            return Err(Failure::harmless(class, "link_exists", message));
        }
        let body = whole(&create.spec, &Value::Null);
        let reply = client.send(Request::post(&["issue", &facts.id, "remotelink"], body)).await?;
        match number(&reply.body["id"]) {
            Some(id) => {
                client.made(&identity);
                created(client, create, &format!("{}/{id}", facts.id)).await
            }
            None => Err(nonsense("JIRA made a link and does not say which", true).into()),
        }
    }

    async fn update(&self, client: CallClient<'_>, update: &Update) -> Result<Outcome, Failure> {
        let external_id = update.target.external_id.as_str();
        let Some((issue, id)) = split(external_id) else { return Ok(done(external_id)) };
        let body = whole(&update.spec, &update.observed);
        client.send(Request::put(&["issue", issue, "remotelink", id], body)).await?;
        client.wrote(external_id);
        Ok(done(external_id))
    }

    async fn delete(&self, client: CallClient<'_>, target: &ObjectRef) -> Result<Outcome, Failure> {
        let external_id = target.external_id.as_str();
        let Some((issue, id)) = split(external_id) else { return Ok(deleted()) };
        let request = Request::delete(&["issue", issue, "remotelink", id]);
        Ok(super::delete(client, request, external_id).await?)
    }
}

async fn named(
    client: CallClient<'_>,
    facts: &IssueFacts,
    global_id: &str,
) -> Result<Option<Value>, ApiError> {
    let request = Request::get(&["issue", &facts.id, "remotelink"]).query("globalId", global_id);
    match client.read(request).await {
        Ok(row) if row["globalId"] == *global_id => {
            let gone = client.deletion_may_lag(object(facts, &row)?.external_id.as_str());
            Ok(Some(row).filter(|_| !gone))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The whole link: what is declared, over what was observed.
fn whole(spec: &Value, observed: &Value) -> Value {
    let mut body = Map::new();
    for member in MEMBERS {
        let merged = merged(&observed[*member], spec.get(*member));
        if !merged.is_null() {
            body.insert((*member).to_owned(), merged);
        }
    }
    Value::Object(body)
}

fn merged(there: &Value, wanted: Option<&Value>) -> Value {
    match (there, wanted) {
        (there, None) => there.clone(),
        (Value::Object(there), Some(Value::Object(wanted))) => {
            let mut all = there.clone();
            for (name, value) in wanted {
                let below = merged(&all.remove(name).unwrap_or_default(), Some(value));
                all.insert(name.clone(), below);
            }
            Value::Object(all)
        }
        (_, Some(wanted)) => wanted.clone(),
    }
}

/// Whether `there` has every member of `wanted`; a missing one and an empty one are the same.
fn holds(there: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(members) => members.iter().all(|(name, value)| holds(&there[name], value)),
        Value::Null => there.is_null(),
        Value::String(text) if text.is_empty() => there.is_null() || there == wanted,
        wanted => there == wanted,
    }
}

fn number(id: &Value) -> Option<String> {
    let id = match id {
        Value::Number(id) => id.to_string(),
        id => id.as_str()?.to_owned(),
    };
    is_number(&id).then_some(id)
}

fn object(facts: &IssueFacts, row: &Value) -> Result<Object, ApiError> {
    let id = number(&row["id"]);
    let id = id.ok_or_else(|| nonsense("JIRA shows a remote link without id", false))?;
    let mut attributes = facts.attributes_of(&id);
    for member in MEMBERS {
        attributes.put(member, without_nulls(&row[*member]));
    }
    let external_id = ExternalId(format!("{}/{id}", facts.id));
    Ok(Object { external_id, attributes: attributes.collected(), owner_key: None })
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_keeps_what_is_not_declared() {
        let observed = json!({"globalId": "g", "relationship": "causes",
            "object": {"url": "u", "title": "t", "status": {"resolved": true}}});
        let spec = json!({"issue": "1", "globalId": "g", "object": {"url": "u", "title": "new"}});
        let body = json!({"globalId": "g", "relationship": "causes",
            "object": {"url": "u", "title": "new", "status": {"resolved": true}}});
        assert_eq!(whole(&spec, &observed), body);
        assert!(holds(&body["object"], &spec["object"]));
        assert!(!holds(&observed["object"], &spec["object"]));
    }
}
