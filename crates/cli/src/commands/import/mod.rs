//! `stateward import`: manifests of the unmanaged objects of a backend.

mod admission;
mod manifest;
mod omitted;
mod tfstate;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use reqwest::StatusCode;
use serde_json::Value;

use super::apply::declare_all;
use crate::change::one_entity::ChangeOptions;
use crate::change::results::print_results;
use crate::client::{ApplyOptions, Client, Problem, Request, escaped};
use crate::exit::{CliError, Exit};
use crate::input_file;
use crate::manifests::Document;
use crate::presentation::output::yaml;
use crate::presentation::terminal;
use crate::verb_context::{ClientCommand, CommandContext};
use admission::Candidate;
use omitted::{Omitted, comments};
use tfstate::Resources;

/// Pages of one kind at most.
const PAGES_MAX: usize = 10_000;
/// Bytes of a state file at most.
const STATE_BYTES_MAX: u64 = 256 * 1024 * 1024;

#[derive(Args)]
#[command(after_help = "Examples:\n  stateward import --backend cloud --all > cloud.yaml\n  \
    stateward import --backend cloud --kind openstack.volume --apply --wait\n  \
    stateward import --backend cloud --from-tfstate terraform.tfstate --apply\n\n\
    What is taken over is only observed, and stays when its entity is deleted, until its manifest says otherwise. \
    What cannot be declared is left out, and listed with the reason.")]
pub(crate) struct Import {
    /// Where the objects are
    #[arg(long, value_name = "NAME")]
    backend: String,
    /// Only this kind; may be repeated
    #[arg(long = "kind", value_name = "KIND", required_unless_present_any = ["all", "from_tfstate"])]
    kinds: Vec<String>,
    /// All kinds of the backend
    #[arg(long, conflicts_with = "kinds")]
    all: bool,
    /// Only what this state file (version 4) holds, named as it is there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kinds", "all"])]
    from_tfstate: Option<PathBuf>,
    /// Take it over at once, instead of writing manifests
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    change: ChangeOptions,
}

impl ClientCommand for Import {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let client = &context.client.with_reason(&self.change.why);
        let (candidates, mut omitted) = self.candidates(client).await?;
        let (manifests, mut more) = admission::check_all(client, candidates).await?;
        omitted.append(&mut more);
        for one in &omitted {
            terminal::note(&format!("left out: {}", one.line()));
        }
        if manifests.is_empty() {
            terminal::note("nothing found that nobody manages");
        }
        if !self.apply {
            let documents: Vec<_> = manifests.iter().map(yaml).collect();
            let text = comments(&omitted) + &documents.join("---\n");
            if !text.is_empty() {
                terminal::print(&text)?;
            }
            return Ok(Exit::Ok);
        }
        if manifests.is_empty() {
            return Ok(Exit::Ok);
        }
        let document = |value| Document { value, file: self.backend.clone() };
        let documents: Vec<_> = manifests.into_iter().map(document).collect();
        let results = declare_all(client, &documents, ApplyOptions::default()).await;
        let results = self.change.wait.wait_for_all(client, results).await;
        print_results(client, &results, self.change.output).await
    }
}

impl Import {
    /// Manifests of unmanaged objects, with those attributes that can be declared; and the omitted ones.
    async fn candidates(&self, client: &Client) -> anyhow::Result<(Vec<Candidate>, Vec<Omitted>)> {
        let path = format!("/v1/backends/{}", escaped(&self.backend));
        let offered = texts(&client.send(&Request::get(&path)).await?["kinds"]);
        let mut wanted = self.from_tfstate.as_deref().map(state).transpose()?;
        let mut omitted =
            wanted.as_mut().map(|state| std::mem::take(&mut state.omitted)).unwrap_or_default();
        let kinds = self.kinds(&offered, wanted.as_ref());
        let mut builder =
            manifest::ManifestBuilder::new(&self.backend, &self.change.place.namespace);
        let mut candidates = Vec::new();
        for kind in &kinds {
            let schema = client.send(&Request::get(format!("/v1/kinds/{}", escaped(kind)))).await?;
            let listed = match objects(client, &path, kind).await {
                // With a member's credentials projects cannot be listed; the other kinds still can.
                Err(error) if self.kinds.is_empty() && is_forbidden(&error) => {
                    let why = format!("{error:#}");
                    omitted.extend(not_listed(kind, wanted.as_mut(), &why));
                    continue;
                }
                listed => listed?,
            };
            for name in self.names(client, kind).await? {
                builder.reserve(kind, &name);
            }
            let mut managed = 0;
            for object in listed {
                let id = object["external_id"].as_str().unwrap_or_default().to_owned();
                let named = match &mut wanted {
                    None => None,
                    Some(state) => match state.found.remove(&(kind.clone(), id.clone())) {
                        None => continue,
                        named => named,
                    },
                };
                let what = label(kind, &id, named.as_ref().map(|named| named.address.as_str()));
                if let Some(why) = object["unobserved"].as_str() {
                    omitted.push(Omitted::new(what, format!("it cannot be observed: {why}")));
                    continue;
                }
                if object["managed"] == true {
                    match named {
                        Some(named) => omitted.push(Omitted::new(
                            named.address,
                            format!("{kind} {id} is managed already"),
                        )),
                        None => managed += 1,
                    }
                    continue;
                }
                let name = named.as_ref().map(|named| named.name.as_str());
                let manifest = builder.manifest(kind, &schema["schema"], &object, name);
                let required = texts(&schema["schema"]["required"]).into_iter().collect();
                omitted.extend(not_understood(&what, &object["attributes"]));
                candidates.push(Candidate { what, manifest, required });
            }
            if managed > 0 {
                omitted.push(Omitted::new(kind, format!("{managed} managed already")));
            }
        }
        for ((kind, id), resource) in wanted.into_iter().flat_map(|state| state.found) {
            let backend = &self.backend;
            let why = if kinds.contains(&kind) {
                format!("backend {backend} shows no {kind} {id}")
            } else {
                format!("backend {backend} has no kind {kind}")
            };
            omitted.push(Omitted::new(resource.address, why));
        }
        Ok((candidates, omitted))
    }

    fn kinds(&self, offered: &BTreeSet<String>, wanted: Option<&Resources>) -> BTreeSet<String> {
        match wanted {
            Some(state) => {
                let kinds = state.found.keys().map(|(kind, _)| kind);
                kinds.filter(|kind| offered.contains(*kind)).cloned().collect()
            }
            None if self.all => offered.clone(),
            None => self.kinds.iter().cloned().collect(),
        }
    }

    /// Names that entities of a kind have already.
    async fn names(&self, client: &Client, kind: &str) -> anyhow::Result<Vec<String>> {
        let request = Request::get("/v1/entities")
            .query("kind", kind)
            .query("namespace", &*self.change.place.namespace);
        let entities = client.list(&request, None).await?;
        let names = entities.iter().filter_map(|entity| entity["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }
}

/// An object in the list of what is left out: with `address`, its place in a state file.
fn label(kind: &str, id: &str, address: Option<&str>) -> String {
    match address {
        Some(address) => format!("{address} ({kind} {id})"),
        None => format!("{kind} {id}"),
    }
}

/// All objects of a kind.
async fn objects(client: &Client, backend: &str, kind: &str) -> anyhow::Result<Vec<Value>> {
    let (mut objects, mut token) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let request = Request::get(format!("{backend}/objects")).query("kind", kind);
        let mut page = client.send(&request.maybe("page_token", token.as_deref())).await?;
        if let Some(more) = page["items"].as_array_mut() {
            objects.append(more);
        }
        token = page["next_page_token"].as_str().map(str::to_owned);
        if token.is_none() {
            return Ok(objects);
        }
    }
    Err(CliError::usage(format!("{kind}: too many to import at once")))
}

/// What an import leaves out of a kind that cannot be listed: every resource of it that a state file names.
fn not_listed(kind: &str, wanted: Option<&mut Resources>, why: &str) -> Vec<Omitted> {
    let Some(state) = wanted else { return vec![Omitted::new(kind, why)] };
    let keys: Vec<_> = state.found.keys().filter(|(known, _)| known == kind).cloned().collect();
    let gone = keys.iter().filter_map(|key| state.found.remove(key));
    gone.map(|resource| Omitted::new(resource.address, why)).collect()
}

/// The parts of an object that the driver does not understand: they are not managed, and stay as they are.
fn not_understood(what: &str, attributes: &Value) -> Vec<Omitted> {
    let parts = attributes["unmanaged"].as_object().into_iter().flatten();
    parts
        .map(|(field, value)| {
            Omitted::new(what, format!("{field} {value} is not understood, and stays as it is"))
        })
        .collect()
}

/// Whether the backend refuses to list a kind with the configured credentials.
fn is_forbidden(error: &anyhow::Error) -> bool {
    let problem = error.chain().find_map(|cause| cause.downcast_ref::<Problem>());
    problem.is_some_and(|problem| {
        let (status, text) = (problem.status, problem.to_string());
        status == StatusCode::SERVICE_UNAVAILABLE && text.contains(": forbidden: ")
    })
}

/// Reads a state file.
fn state(file: &Path) -> anyhow::Result<Resources> {
    let name = file.display();
    let text = input_file::read(file, STATE_BYTES_MAX)?;
    let state = serde_json::from_str(&text).with_context(|| format!("{name} is no JSON"))?;
    tfstate::resources(&state).map_err(|message| CliError::usage(format!("{name}: {message}")))
}

fn texts(list: &Value) -> BTreeSet<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_resource_of_a_kind_that_cannot_be_listed_is_named() {
        let resource = |kind: &str, name: &str| json!({"mode": "managed", "type": kind, "name": name, "instances": [{"attributes": {"id": name}}]});
        let state = json!({"version": 4, "resources": [
            resource("openstack_identity_project_v3", "a"),
            resource("openstack_identity_project_v3", "b"),
            resource("openstack_networking_network_v2", "c"),
        ]});
        let mut state = tfstate::resources(&state).unwrap();
        let lines: Vec<_> = not_listed("openstack.project", Some(&mut state), "forbidden")
            .iter()
            .map(Omitted::line)
            .collect();
        let of = |name: &str| format!("openstack_identity_project_v3.{name}: forbidden");
        assert_eq!(lines, [of("a"), of("b")]);
        assert_eq!(state.found.len(), 1, "the other kinds are still taken over");
        assert_eq!(not_listed("k.a", None, "no")[0].line(), "k.a: no");
    }

    #[test]
    fn what_is_not_understood_is_left_out_with_its_value() {
        let attributes =
            json!({"rules": [], "unmanaged": {"rules": [{"remote_address_group_id": "ag"}]}});
        let lines: Vec<_> =
            not_understood("k.a x", &attributes).iter().map(Omitted::line).collect();
        let value = r#"[{"remote_address_group_id":"ag"}]"#;
        assert_eq!(lines, [format!("k.a x: rules {value} is not understood, and stays as it is")]);
        assert!(not_understood("k.a x", &json!({"rules": []})).is_empty());
    }
}
