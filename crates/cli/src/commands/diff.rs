//! `stateward diff`.

use std::path::PathBuf;

use clap::Args;
use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use crate::client::entity_json::label;
use crate::client::{
    Client, Problem, Request, differing_members, exit_of, find_entity, replaced_members,
    replacement,
};
use crate::exit::{CliError, Exit};
use crate::json_text::text;
use crate::manifests::{self, Document};
use crate::presentation::output::yaml;
use crate::presentation::render::diff::{Difference, unified};
use crate::presentation::terminal;
use crate::select::{InNamespace, find_one};
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward diff -f examples/               # what apply would change\n  \
    stateward diff -f examples/ --observed    # what is declared against what is there\n  \
    stateward diff file/motd                  # the same for one that the server holds\n\n\
    Exit codes: 0 the same, 1 it differs, 2 and above an error."
)]
pub(crate) struct Diff {
    /// Manifests: a file, a folder, or - for standard input; may be repeated
    #[arg(short, long = "file", value_name = "PATH", required_unless_present = "targets")]
    files: Vec<PathBuf>,
    /// Entities whose desired state is compared with what is observed
    #[arg(value_name = "KIND/NAME|ID", conflicts_with = "files")]
    targets: Vec<String>,
    /// Against what is observed, not against what is desired
    #[arg(long)]
    observed: bool,
    #[command(flatten)]
    place: InNamespace,
}

impl ClientCommand for Diff {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        // Exit code 1 means that something differs, so a failure needs another code.
        match self.differences(context).await {
            Ok(true) => Ok(Exit::Failure),
            Ok(false) => Ok(Exit::Ok),
            Err(error) if exit_of(&error) == Exit::Failure => {
                Err(CliError::usage(terminal::error_line(&error)))
            }
            Err(error) => Err(error),
        }
    }
}

impl Diff {
    async fn differences(&self, context: &CommandContext) -> anyhow::Result<bool> {
        let client = &context.client;
        let mut found = Vec::new();
        let documents = manifests::read_all(&self.files, &self.place.namespace)?;
        self.place.check(client).await?;
        for document in documents {
            let entity = find_entity(client, &document.value).await?;
            found.push(if self.observed {
                let desired = canonical(client, &document, entity.as_ref()).await?;
                against_observed(document.label(), entity.as_ref(), &desired)
            } else {
                against_desired(client, &document, entity.as_ref()).await?
            });
        }
        for target in &self.targets {
            let entity = find_one(client, target, &self.place.namespace).await?;
            found.push(against_observed(label(&entity), Some(&entity), &entity["desired"]));
        }
        let differs = found.iter().any(Difference::differs);
        for difference in &found {
            terminal::print(&unified(difference, context.color))?;
        }
        Ok(differs)
    }
}

/// Compares observed with desired state, for managed fields only: a field that is not declared is not managed.
fn against_observed(label: String, entity: Option<&Value>, desired: &Value) -> Difference {
    let attributes = entity.map(|entity| &entity["observed"]["attributes"]);
    let old = match (attributes, desired) {
        (Some(Value::Object(attributes)), Value::Object(desired)) => {
            let mut managed = attributes.clone();
            managed.retain(|name, _| desired.contains_key(name));
            yaml(&json!(managed))
        }
        _ => String::new(),
    };
    Difference { label, old_name: "observed", new_name: "desired", old, new: yaml(desired) }
}

/// Compares the server's state with that after `apply`.
async fn against_desired(
    client: &Client,
    document: &Document,
    entity: Option<&Value>,
) -> anyhow::Result<Difference> {
    let wanted = replaced_members(&document.value);
    let mut label = document.label();
    let (old, new) = match entity {
        None => {
            let created = created(client, &document.value).await?;
            (String::new(), yaml(&created))
        }
        Some(entity) => {
            let (after, replacement) = changed(client, entity, &wanted).await?;
            if let Some(replacement) = replacement {
                label = format!("{label} ({replacement})");
            }
            let members = after.as_object().into_iter().flatten();
            let before: Map<_, _> =
                members.map(|(name, _)| (name.clone(), entity[name].clone())).collect();
            (yaml(&json!(before)), yaml(&after))
        }
    };
    Ok(Difference { label, old_name: "server", new_name: "file", old, new })
}

async fn created(client: &Client, manifest: &Value) -> anyhow::Result<Value> {
    let mut after = replaced_members(manifest);
    let request = Request::post("/v1/entities").query("dry_run", "true").json(manifest);
    if let Some(plan) = planned(client, &request).await? {
        after["desired"] = plan["changes"][0]["to"].clone();
    }
    Ok(after)
}

/// The named members after the change, and why it would replace the object. The server plans the change, because only it
/// knows the defaults.
async fn changed(
    client: &Client,
    entity: &Value,
    wanted: &Value,
) -> anyhow::Result<(Value, Option<String>)> {
    let mut after = json!({});
    let mut replaces = None;
    for name in differing_members(entity, wanted) {
        after[&name] = wanted[&name].clone();
    }
    if wanted["desired"].is_null() {
        return Ok((after, replaces));
    }
    let path = format!("/v1/entities/{}", text(entity, "/id"));
    // A dry run may allow replacement, to find out which fields would force it.
    let request = Request::put(path).query("dry_run", "true").query("replace", "true").json(wanted);
    after["desired"] = match planned(client, &request).await? {
        Some(plan) if plan["changes"].as_array().is_none_or(Vec::is_empty) => {
            entity["desired"].clone()
        }
        Some(plan) => {
            replaces = replacement(&plan);
            with_changes(&entity["desired"], &plan["changes"], &wanted["desired"])
        }
        None => wanted["desired"].clone(),
    };
    Ok((after, replaces))
}

/// The desired state after the planned changes, in the server's form: what differs only in form is no change. A member
/// that becomes null is gone, unless `wanted` has a null.
fn with_changes(before: &Value, changes: &Value, wanted: &Value) -> Value {
    let mut after = before.as_object().cloned().unwrap_or_default();
    for change in changes.as_array().into_iter().flatten() {
        let name = change["field"].as_str().unwrap_or_default().trim_start_matches('/');
        let name = name.replace("~1", "/").replace("~0", "~");
        let to = &change["to"];
        if to.is_null() && wanted.get(&name).is_none() {
            after.remove(&name);
        } else {
            after.insert(name, to.clone());
        }
    }
    json!(after)
}

/// The desired state of a document, in the server's form.
async fn canonical(
    client: &Client,
    document: &Document,
    entity: Option<&Value>,
) -> anyhow::Result<Value> {
    let after = match entity {
        Some(entity) => changed(client, entity, &replaced_members(&document.value)).await?.0,
        None => created(client, &document.value).await?,
    };
    Ok(after["desired"].clone())
}

/// The server's plan; `None` for a caller who may only read: then the file itself is compared.
async fn planned(client: &Client, request: &Request) -> anyhow::Result<Option<Value>> {
    match client.send(request).await {
        Ok(reply) => Ok(Some(reply["plan"].clone())),
        Err(error) => {
            let problem = error.downcast_ref::<Problem>();
            let forbidden = problem.is_some_and(|problem| problem.status == StatusCode::FORBIDDEN);
            if forbidden { Ok(None) } else { Err(error) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_in_the_servers_form() {
        let before =
            json!({ "rules": [{ "direction": "ingress" }], "name": "a", "a/b": 1, "old": 2 });
        let changes = json!([
            { "field": "/name", "from": "a", "to": "b" },
            { "field": "/a~1b", "from": 1, "to": 3 },
            { "field": "/old", "from": 2, "to": null },
            { "field": "/none", "from": 2, "to": null },
        ]);
        let wanted = json!({ "rules": [{}], "name": "b", "a/b": 3, "none": null });
        let expected =
            json!({ "rules": [{ "direction": "ingress" }], "name": "b", "a/b": 3, "none": null });
        assert_eq!(with_changes(&before, &changes, &wanted), expected);
    }
}
