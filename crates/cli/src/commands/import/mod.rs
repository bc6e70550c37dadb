//! `stateward import`: what a backend holds and nobody manages, as manifests.

mod manifest;
mod tfstate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use reqwest::StatusCode;
use serde_json::Value;

use super::apply::declare_all;
use crate::bulk::{self, WaitOptions};
use crate::client::{Client, Problem, Request, Terms, Why, escaped};
use crate::exit::{Exit, Stop};
use crate::manifests::Document;
use crate::output::{Output, yaml};
use crate::select::InNamespace;
use crate::session::{Run, Session};
use crate::terminal;

/// Pages of one kind at most.
const PAGES_MAX: usize = 10_000;
/// Bytes of a state file at most.
const STATE_BYTES_MAX: u64 = 256 * 1024 * 1024;

#[derive(Args)]
#[command(after_help = "Examples:\n  stateward import --backend cloud --all > cloud.yaml\n  \
    stateward import --backend cloud --kind openstack.volume --apply --wait\n  \
    stateward import --backend cloud --from-tfstate terraform.tfstate --apply\n\n\
    What is taken over is only observed, and stays when its entity is deleted, until its manifest says otherwise.")]
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
    place: InNamespace,
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    output: Output,
}

impl Run for Import {
    async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let manifests = self.manifests(&session.client).await?;
        if manifests.is_empty() {
            terminal::note("nothing found that nobody manages");
            return Ok(Exit::Ok);
        }
        if !self.apply {
            let documents: Vec<_> = manifests.iter().map(yaml).collect();
            terminal::say(&documents.join("---\n"))?;
            return Ok(Exit::Ok);
        }
        let client = &session.client.because(&self.why);
        let document = |value| Document { value, file: self.backend.clone() };
        let documents: Vec<_> = manifests.into_iter().map(document).collect();
        let deeds = declare_all(client, &documents, Terms::default()).await;
        let deeds = self.wait.finish(client, deeds).await;
        bulk::told(client, &deeds, self.output).await
    }
}

impl Import {
    async fn manifests(&self, client: &Client) -> anyhow::Result<Vec<Value>> {
        let wanted = self.from_tfstate.as_ref().map(state).transpose()?;
        let path = format!("/v1/backends/{}", escaped(&self.backend));
        let backend = client.send(&Request::get(&path)).await?;
        let kinds: BTreeSet<String> = match &wanted {
            Some(wanted) => wanted.keys().map(|(kind, _)| kind.clone()).collect(),
            None if self.all => texts(&backend["kinds"]),
            None => self.kinds.iter().cloned().collect(),
        };
        let mut makes = manifest::Maker::new(&self.backend, &self.place.namespace);
        for kind in &kinds {
            let schema = client.send(&Request::get(format!("/v1/kinds/{}", escaped(kind)))).await?;
            let listed = match objects(client, &path, kind).await {
                // A member's credentials show no projects; that hides nothing else.
                Err(error) if self.all && is_forbidden(&error) => {
                    terminal::note(&format!("{kind} is left out: {error}"));
                    continue;
                }
                listed => listed?,
            };
            for object in listed {
                let id = object["external_id"].as_str().unwrap_or_default().to_owned();
                let name = match &wanted {
                    None => None,
                    Some(wanted) => match wanted.get(&(kind.clone(), id)) {
                        Some(name) => Some(name.as_str()),
                        None => continue,
                    },
                };
                if object["managed"] == false {
                    makes.add(kind, &schema["schema"], &object, name);
                }
            }
        }
        Ok(makes.manifests)
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
    Err(Stop::usage(format!("{kind}: too many to import at once")))
}

/// Whether the backend does not let its own credentials list a kind.
fn is_forbidden(error: &anyhow::Error) -> bool {
    let problem = error.chain().find_map(|cause| cause.downcast_ref::<Problem>());
    problem.is_some_and(|problem| {
        let (status, text) = (problem.status, problem.to_string());
        status == StatusCode::SERVICE_UNAVAILABLE && text.contains(": forbidden: ")
    })
}

/// Kind and external id of what a state file holds, with a name for each.
fn state(file: &PathBuf) -> anyhow::Result<BTreeMap<(String, String), String>> {
    let name = file.display();
    let size = std::fs::metadata(file).with_context(|| format!("cannot read {name}"))?.len();
    if size > STATE_BYTES_MAX {
        return Err(Stop::usage(format!("{name} is too large for a state file")));
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let state = serde_json::from_str(&text).with_context(|| format!("{name} is no JSON"))?;
    tfstate::resources(&state).map_err(|message| Stop::usage(format!("{name}: {message}")))
}

fn texts(list: &Value) -> BTreeSet<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
