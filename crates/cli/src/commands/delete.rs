//! `stateward delete`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::bulk::{self, BulkOptions};
use crate::client::{Client, Request, find};
use crate::exit::{Exit, Stop};
use crate::manifests;
use crate::select::{Selected, Selection};
use crate::session::{Run, Session};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward delete file/motd --wait\n  stateward delete -f site.yaml\n  \
    stateward delete -l app=site --yes\n  stateward delete file/motd --policy orphan    # the file stays\n\n\
    What is selected and not named one by one is shown, and asked for."
)]
pub(crate) struct Delete {
    #[command(flatten)]
    selection: Selection,
    /// What these manifests name
    #[arg(short, long = "file", value_name = "PATH", conflicts_with = "targets")]
    files: Vec<PathBuf>,
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

impl Run for Delete {
    async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let selected = if !self.files.is_empty() {
            named(&session.client, &self.files, self.selection.filter.place()).await?
        } else if self.selection.is_empty() {
            return Err(Stop::usage("name what to delete, or select it (-l, --state, -n, …)"));
        } else {
            self.selection.resolve(&session.client).await?
        };
        let policy = self.policy.map(Policy::word);
        bulk::each(session, selected, &self.options, ("delete", "deleted"), |id| {
            Request::delete(format!("/v1/entities/{id}")).maybe("policy", policy)
        })
        .await
    }
}

/// What manifests name.
async fn named(
    client: &Client,
    files: &[PathBuf],
    place: Option<&str>,
) -> anyhow::Result<Selected> {
    let mut selected = Selected { entities: Vec::new(), missing: Vec::new(), exactly: true };
    for document in manifests::read_all(files, place.unwrap_or("default"))? {
        let Some(entity) = find(client, &document.value).await? else {
            let error = Stop::not_found("there is none of that name");
            selected.missing.push((document.label(), error));
            continue;
        };
        selected.entities.push(entity);
    }
    // The last that was declared may need the ones before it.
    selected.entities.reverse();
    Ok(selected)
}
