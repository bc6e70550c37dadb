//! Applies one manifest: creates the entity, or changes the members that the manifest names.

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::{Client, Problem, Request};
use crate::exit::CliError;

/// Members of a manifest that identify the entity or its object; they cannot be changed.
pub(crate) const NAMING: &[&str] = &["kind", "name", "namespace", "backend", "external_id"];
/// Members of an entity that only the server writes: `get -o yaml` shows them, `apply` ignores them.
const STATUS: &[&str] = &[
    "conditions",
    "created_at",
    "drift",
    "error",
    "generation",
    "id",
    "observed",
    "referenced_by",
    "references",
    "revision",
    "state",
    "updated_at",
    "version",
];

/// Whether only the server writes a member of a manifest.
pub(crate) fn is_status(member: &str) -> bool {
    STATUS.contains(&member)
}

/// How a manifest is applied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// Only plans the change.
    pub(crate) dry_run: bool,
    /// The change may replace the object.
    pub(crate) replace: bool,
}

/// What applying a manifest did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created,
    Changed,
    Replaced,
    Unchanged,
}

impl Outcome {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Replaced => "replaced",
            Self::Unchanged => "unchanged",
        }
    }
}

/// The result of an applied manifest.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) outcome: Outcome,
    /// The reply; the plan with `dry_run`.
    pub(crate) reply: Value,
    /// The change that was sent, for [`finish`](Client::finish); `None` = nothing was sent.
    pub(crate) request: Option<Request>,
}

/// Creates or updates the entity that `manifest` declares.
///
/// # Errors
/// The server's [`Problem`]; a conflict when the manifest names another backend or object than the entity has.
pub(crate) async fn declare(
    client: &Client,
    manifest: &Value,
    terms: Terms,
) -> anyhow::Result<Declared> {
    if let Some(entity) = find(client, manifest).await? {
        return update(client, &entity, manifest, terms).await;
    }
    match create(client, manifest, terms.dry_run).await {
        Err(error) => {
            // The entity was created a moment ago: the read model behind the list does not have it yet.
            let taken = error.downcast_ref::<Problem>().filter(|problem| problem.is("name-taken"));
            let Some(holder) = taken.and_then(Problem::holder) else { return Err(error) };
            let entity = client.send(&Request::get(format!("/v1/entities/{holder}"))).await?;
            update(client, &entity, manifest, terms).await
        }
        created => created,
    }
}

/// The current entity of a manifest; `None` = it does not exist.
///
/// # Errors
/// [`Problem`], or the server does not answer.
pub(crate) async fn find(client: &Client, manifest: &Value) -> anyhow::Result<Option<Value>> {
    let text = |member: &str| manifest[member].as_str();
    let request = Request::get("/v1/entities")
        .maybe("kind", text("kind"))
        .maybe("name", text("name"))
        .query("namespace", text("namespace").unwrap_or("default"));
    let found = client.send(&request).await?;
    let Some(id) = found.pointer("/items/0/id").and_then(Value::as_str) else { return Ok(None) };
    // The list may lag behind; the entity itself never does.
    let entity = client.send(&Request::get(format!("/v1/entities/{id}"))).await?;
    Ok((entity["state"] != "deleted").then_some(entity))
}

async fn create(client: &Client, manifest: &Value, dry_run: bool) -> anyhow::Result<Declared> {
    let body = without(manifest, STATUS);
    let request = Request::post("/v1/entities").json(&body);
    let outcome = Outcome::Created;
    if dry_run {
        let reply = planned(client, &request).await?;
        return Ok(Declared { outcome, reply, request: None });
    }
    let request = client.keyed(request);
    let reply = client.send(&request).await?;
    Ok(Declared { outcome, reply, request: Some(request) })
}

async fn update(
    client: &Client,
    entity: &Value,
    manifest: &Value,
    terms: Terms,
) -> anyhow::Result<Declared> {
    for member in ["backend", "external_id"] {
        let (is, wanted) = (&entity[member], &manifest[member]);
        if !wanted.is_null() && !is.is_null() && is != wanted {
            let message = format!("{member} is {is} and cannot become {wanted}: delete it first");
            return Err(CliError::conflict(message));
        }
    }
    let body = named(manifest);
    let id = entity["id"].as_str().context("an entity without an id")?;
    let request = Request::put(format!("/v1/entities/{id}")).json(&body);
    let request = request.maybe("replace", terms.replace.then_some("true"));
    // An unchanged manifest is not sent: the server records the key of every accepted request in its log.
    let plan = planned(client, &request).await?;
    let outcome = match plan["plan"]["action"].as_str() {
        Some("none") if differing(entity, &body).is_empty() => Outcome::Unchanged,
        Some("replace") => Outcome::Replaced,
        _ => Outcome::Changed,
    };
    if terms.dry_run {
        return Ok(Declared { outcome, reply: plan, request: None });
    }
    if outcome == Outcome::Unchanged {
        let reply = json!({ "entity": entity, "operation": null });
        return Ok(Declared { outcome, reply, request: None });
    }
    let request = client.keyed(request);
    let reply = client.send(&request).await?;
    // Another client may have made the same change since.
    let same = reply["operation"].is_null() && reply["entity"]["revision"] == entity["revision"];
    let outcome = if same { Outcome::Unchanged } else { Outcome::Changed };
    Ok(Declared { outcome, reply, request: Some(request) })
}

/// The server's plan for a change (`dry_run`); nothing is written.
async fn planned(client: &Client, request: &Request) -> anyhow::Result<Value> {
    client.send(&request.clone().query("dry_run", "true")).await
}

/// The members of a manifest that PUT replaces; members that it does not name stay as they are.
pub(crate) fn named(manifest: &Value) -> Value {
    let manifest = without(manifest, NAMING);
    without(&manifest, STATUS)
}

/// Named members other than `desired` that differ. The server compares `desired`, because only it knows the defaults.
pub(crate) fn differing(entity: &Value, named: &Value) -> Vec<String> {
    let members = named.as_object().into_iter().flatten();
    let differs =
        |(name, value): &(&String, &Value)| *name != "desired" && entity[*name] != **value;
    members.filter(differs).map(|(name, _)| name.clone()).collect()
}

fn without(manifest: &Value, members: &[&str]) -> Value {
    let mut left: Map<String, Value> = manifest.as_object().cloned().unwrap_or_default();
    left.retain(|name, _| !members.contains(&name.as_str()));
    json!(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_manifest_names_is_sent() {
        let manifest = json!({
            "kind": "local.file", "name": "motd", "namespace": "default", "backend": "local",
            "desired": { "path": "motd" }, "protected": true, "state": "ok", "revision": 7,
        });
        assert_eq!(named(&manifest), json!({ "desired": { "path": "motd" }, "protected": true }));
    }

    #[test]
    fn members_beside_desired_are_compared() {
        let entity = json!({ "labels": { "a": "b" }, "protected": false, "desired": { "x": 1 } });
        let named = json!({ "labels": { "a": "b" }, "protected": true, "desired": { "x": 2 } });
        assert_eq!(differing(&entity, &named), ["protected"]);
    }
}
