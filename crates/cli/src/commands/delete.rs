//! `stateward delete`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::change::bulk::{self, BulkOptions};
use crate::client::entity_json::label;
use crate::client::{Client, Request, find_entity};
use crate::exit::{CliError, Exit};
use crate::json_text::text;
use crate::manifests;
use crate::presentation::terminal;
use crate::select::{Selected, Selection, check_namespace};
use crate::verb_context::{ClientCommand, CommandContext};

/// The server lists at most so many dependents of an entity; with this many there may be more.
const DEPENDENTS_MAX: usize = 1_000;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward delete file/motd --wait\n  stateward delete -f site.yaml\n  \
    stateward delete -l app=site --yes\n  stateward delete network/blue --cascade    # and what uses it\n  stateward delete file/motd --policy orphan    # the file stays\n\n\
    What is selected and not named one by one is shown, and asked for. That nothing is selected, or that what a\n\
    manifest names is gone already, is said and no failure."
)]
pub(crate) struct Delete {
    #[command(flatten)]
    selection: Selection,
    /// What these manifests name
    #[arg(short, long = "file", value_name = "PATH", conflicts_with = "targets")]
    files: Vec<PathBuf>,
    /// Also everything that uses it, and what uses that
    #[arg(long)]
    cascade: bool,
    /// What happens to the object [default: the entity's own policy]
    #[arg(long, value_enum)]
    policy: Option<Policy>,
    #[command(flatten)]
    options: BulkOptions,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    /// It is deleted
    Delete,
    /// It stays, unmanaged
    Orphan,
}

impl Policy {
    const fn word(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Orphan => "orphan",
        }
    }
}

impl ClientCommand for Delete {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let mut selected = if !self.files.is_empty() {
            if let Some(name) = self.selection.filter.explicit_namespace() {
                check_namespace(&context.client, name).await?;
            }
            entities_of_manifests(&context.client, &self.files, self.selection.filter.namespace())
                .await?
        } else if self.selection.is_empty() {
            return Err(CliError::usage("name what to delete, or select it (-l, --state, -n, …)"));
        } else {
            self.selection.resolve(&context.client).await?
        };
        if self.cascade {
            add_dependents(&context.client, &mut selected).await?;
        }
        let policy = self.policy.map(Policy::word);
        bulk::apply_to_all(context, selected, &self.options, ("delete", "deleted"), |id| {
            Request::delete(format!("/v1/entities/{id}")).maybe("policy", policy)
        })
        .await
    }
}

/// Adds the transitive dependents of the selected entities. The server deletes dependents first.
async fn add_dependents(client: &Client, selected: &mut Selected) -> anyhow::Result<()> {
    let mut known: BTreeSet<String> =
        selected.entities.iter().map(|entity| text(entity, "/id")).collect();
    let mut next = 0;
    while let Some(entity) = selected.entities.get(next) {
        let path = format!("/v1/entities/{}", text(entity, "/id"));
        let entity = client.send(&Request::get(path).query("implicit", "true")).await?;
        let dependents = entity["referenced_by"].as_array().cloned().unwrap_or_default();
        if dependents.len() >= DEPENDENTS_MAX {
            let label = label(&entity);
            return Err(CliError::usage(format!(
                "{label} has {DEPENDENTS_MAX} dependents or more: delete some of them first"
            )));
        }
        for dependent in dependents {
            if known.insert(text(&dependent, "/id")) {
                let path = format!("/v1/entities/{}", text(&dependent, "/id"));
                selected.entities.push(client.send(&Request::get(path)).await?);
                selected.exactly = false;
            }
        }
        next += 1;
    }
    Ok(())
}

/// The existing entities that manifests name.
async fn entities_of_manifests(
    client: &Client,
    files: &[PathBuf],
    place: Option<&str>,
) -> anyhow::Result<Selected> {
    let mut selected = Selected { entities: Vec::new(), missing: Vec::new(), exactly: true };
    for document in manifests::read_all(files, place.unwrap_or("default"))? {
        match find_entity(client, &document.value).await? {
            Some(entity) => selected.entities.push(entity),
            // Deleted already: the desired result.
            None => terminal::note(&format!("{}: there is none of that name", document.label())),
        }
    }
    // Later manifests may depend on earlier ones.
    selected.entities.reverse();
    Ok(selected)
}
