//! Applies one manifest: creates the entity, or changes the members that the manifest names.

use std::collections::BTreeSet;

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
pub(crate) struct ApplyOptions {
    /// Only plans the change.
    pub(crate) dry_run: bool,
    /// The change may replace the object.
    pub(crate) replace: bool,
}

/// What applying a manifest did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApplyOutcome {
    Created,
    Changed,
    Replaced,
    Unchanged,
}

impl ApplyOutcome {
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
pub(crate) struct AppliedManifest {
    pub(crate) outcome: ApplyOutcome,
    /// The reply; the plan with `dry_run`.
    pub(crate) reply: Value,
    /// Why the object is replaced, and what is lost with it; `None` = it is not.
    pub(crate) replacement: Option<String>,
    /// The change that was sent, for [`wait_for_operation`](Client::wait_for_operation); `None` = nothing was sent.
    pub(crate) request: Option<Request>,
}

/// Creates or updates the entity that `manifest` declares.
///
/// # Errors
/// The server's [`Problem`]; a conflict when the manifest names another backend or object than the entity has.
pub(crate) async fn apply_manifest(
    client: &Client,
    manifest: &Value,
    options: ApplyOptions,
) -> anyhow::Result<AppliedManifest> {
    if let Some(entity) = find_entity(client, manifest).await? {
        return update(client, &entity, manifest, options).await;
    }
    match create(client, manifest, options.dry_run).await {
        Err(error) => {
            // The entity was created a moment ago: the read model behind the list does not have it yet.
            let taken = error.downcast_ref::<Problem>().filter(|problem| problem.is("name-taken"));
            let Some(holder) = taken.and_then(Problem::holder) else { return Err(error) };
            let entity = client.send(&Request::get(format!("/v1/entities/{holder}"))).await?;
            update(client, &entity, manifest, options).await
        }
        created => created,
    }
}

/// The current entity of a manifest; `None` = it does not exist.
///
/// # Errors
/// [`Problem`], or the server does not answer.
pub(crate) async fn find_entity(
    client: &Client,
    manifest: &Value,
) -> anyhow::Result<Option<Value>> {
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

async fn create(
    client: &Client,
    manifest: &Value,
    dry_run: bool,
) -> anyhow::Result<AppliedManifest> {
    let body = without(manifest, STATUS);
    let request = Request::post("/v1/entities").json(&body);
    let outcome = ApplyOutcome::Created;
    if dry_run {
        let reply = planned(client, &request).await?;
        return Ok(AppliedManifest { outcome, reply, replacement: None, request: None });
    }
    let request = client.with_key(request);
    let reply = client.send(&request).await?;
    Ok(AppliedManifest { outcome, reply, replacement: None, request: Some(request) })
}

async fn update(
    client: &Client,
    entity: &Value,
    manifest: &Value,
    options: ApplyOptions,
) -> anyhow::Result<AppliedManifest> {
    for member in ["backend", "external_id"] {
        let (is, wanted) = (&entity[member], &manifest[member]);
        if !wanted.is_null() && !is.is_null() && is != wanted {
            let message = format!("{member} is {is} and cannot become {wanted}: delete it first");
            return Err(CliError::conflict(message));
        }
    }
    let body = replaced_members(manifest);
    let id = entity["id"].as_str().context("an entity without an id")?;
    let request = Request::put(format!("/v1/entities/{id}")).json(&body);
    let request = request.maybe("replace", options.replace.then_some("true"));
    // An unchanged manifest is not sent: the server records the key of every accepted request in its log.
    let plan = planned(client, &request).await?;
    let outcome = match plan["plan"]["action"].as_str() {
        Some("none") if differing_members(entity, &body).is_empty() => ApplyOutcome::Unchanged,
        Some("replace") => ApplyOutcome::Replaced,
        _ => ApplyOutcome::Changed,
    };
    let replacement = replacement(&plan["plan"]);
    if options.dry_run {
        return Ok(AppliedManifest { outcome, reply: plan, replacement, request: None });
    }
    if outcome == ApplyOutcome::Unchanged {
        let reply = json!({ "entity": entity, "operation": null });
        return Ok(AppliedManifest { outcome, reply, replacement: None, request: None });
    }
    let request = client.with_key(request);
    let reply = client.send(&request).await?;
    // Another client may have made the same change since.
    let same = reply["operation"].is_null() && reply["entity"]["revision"] == entity["revision"];
    let outcome = if same { ApplyOutcome::Unchanged } else { ApplyOutcome::Changed };
    let replacement = replacement.filter(|_| !same);
    Ok(AppliedManifest { outcome, reply, replacement, request: Some(request) })
}

/// Why a plan replaces the object, and what is lost with it; `None` = it does not.
pub(crate) fn replacement(plan: &Value) -> Option<String> {
    let fields: Vec<_> =
        plan["replaces"].as_array()?.iter().filter_map(|field| field.as_str()).collect();
    if fields.is_empty() {
        return None;
    }
    let loses = plan["loses"].as_str().map(|loses| format!(", which loses {loses}"));
    Some(format!("replaced for {}{}", fields.join(", "), loses.unwrap_or_default()))
}

/// The server's plan for a change (`dry_run`); nothing is written.
async fn planned(client: &Client, request: &Request) -> anyhow::Result<Value> {
    client.send(&request.clone().query("dry_run", "true")).await
}

/// The members of a manifest that PUT replaces; members that it does not name stay as they are.
pub(crate) fn replaced_members(manifest: &Value) -> Value {
    let manifest = without(manifest, NAMING);
    without(&manifest, STATUS)
}

/// Named members other than `desired` that differ. The server compares `desired`, because only it knows the defaults.
pub(crate) fn differing_members(entity: &Value, named: &Value) -> Vec<String> {
    let members = named.as_object().into_iter().flatten();
    let differs = |(name, value): &(&String, &Value)| match name.as_str() {
        "desired" => false,
        "depends_on" => as_set(&entity["depends_on"]) != as_set(value),
        name => entity[name] != **value,
    };
    members.filter(differs).map(|(name, _)| name.clone()).collect()
}

/// The distinct texts of a list, whose order means nothing.
fn as_set(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
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
        assert_eq!(
            replaced_members(&manifest),
            json!({ "desired": { "path": "motd" }, "protected": true })
        );
    }

    #[test]
    fn a_replacement_says_what_it_loses() {
        let plan = |replaces: Value, loses: Value| {
            replacement(&json!({ "replaces": replaces, "loses": loses })).unwrap_or_default()
        };
        let fields = json!(["/cidr", "/ip_version"]);
        assert_eq!(
            plan(fields.clone(), json!("all its data")),
            "replaced for /cidr, /ip_version, which loses all its data"
        );
        assert_eq!(plan(fields, Value::Null), "replaced for /cidr, /ip_version");
        assert_eq!(plan(json!([]), json!("all its data")), "");
        assert_eq!(plan(Value::Null, Value::Null), "", "an update in place");
    }

    #[test]
    fn members_beside_desired_are_compared() {
        let entity = json!({ "labels": { "a": "b" }, "protected": false, "desired": { "x": 1 } });
        let named = json!({ "labels": { "a": "b" }, "protected": true, "desired": { "x": 2 } });
        assert_eq!(differing_members(&entity, &named), ["protected"]);
        let order = |of: Value| json!({ "depends_on": of });
        let entity = order(json!(["a/x", "a/y"]));
        assert!(differing_members(&entity, &order(json!(["a/y", "a/x", "a/y"]))).is_empty());
        assert_eq!(differing_members(&entity, &order(json!(["a/y"]))), ["depends_on"]);
    }
}
