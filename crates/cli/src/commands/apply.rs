//! `stateward apply`.

use std::path::PathBuf;

use clap::Args;
use futures_util::stream::{self, StreamExt};

use crate::change::results::{ChangeResult, print_results};
use crate::change::wait::WaitOptions;
use crate::client::{
    ApplyOptions, ApplyOutcome, CONCURRENCY, ChangeReason, Client, apply_manifest,
};
use crate::exit::{CliError, Exit};
use crate::manifests::{self, Document};
use crate::presentation::output::Output;
use crate::presentation::terminal;
use crate::select::InNamespace;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(after_help = "Examples:\n  stateward apply -f examples/\n  \
    stateward apply -f site.yaml --wait --reason 'ticket 7'\n  \
    stateward get local.file/motd -o yaml | sed s/blue/green/ | stateward apply -f -\n\n\
    What a document does not name is left as it is. One that fails does not keep the others back. The order of\n\
    documents means nothing: what refers to another waits for it, and so does what depends on it by depends_on.")]
pub(crate) struct Apply {
    /// Manifests: a file, a folder, or - for standard input; may be repeated
    #[arg(short, long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    place: InNamespace,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Where a field cannot change in place, delete the object and make another
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    why: ChangeReason,
    #[command(flatten)]
    output: Output,
}

impl ClientCommand for Apply {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let documents = manifests::read_all(&self.files, &self.place.namespace)?;
        if documents.is_empty() {
            return Err(CliError::usage("there is no manifest in what was named"));
        }
        let client = &context.client.with_reason(&self.why);
        self.place.check(client).await?;
        let options = ApplyOptions { dry_run: self.dry_run, replace: self.replace };
        let results = declare_all(client, &documents, options).await;
        let results = self.wait.wait_for_all(client, results).await;
        print_results(client, &results, self.output).await
    }
}

/// Applies every document; the results in the same order.
pub(super) async fn declare_all(
    client: &Client,
    documents: &[Document],
    options: ApplyOptions,
) -> Vec<ChangeResult> {
    let bar = terminal::progress("applying", documents.len() as u64);
    let apply = |document: &Document| {
        let (document, bar) = (document.clone(), bar.clone());
        async move {
            let declared = apply_manifest(client, &document.value, options).await;
            bar.inc(1);
            let replacement = declared.as_ref().ok().and_then(|it| it.replacement.clone());
            (result_of(&document, declared, options.dry_run), replacement)
        }
    };
    // Sent in order, a few at a time, so that they share commits. The server resolves dependencies later.
    let results: Vec<_> =
        stream::iter(documents.iter().map(apply)).buffered(CONCURRENCY).collect().await;
    bar.finish_and_clear();
    let reported = |(result, replacement): (ChangeResult, Option<String>)| {
        if let Some(replacement) = replacement {
            terminal::note(&format!("{}: {replacement}", result.label));
        }
        result
    };
    results.into_iter().map(reported).collect()
}

fn result_of(
    document: &Document,
    declared: anyhow::Result<crate::client::AppliedManifest>,
    dry_run: bool,
) -> ChangeResult {
    let (request, outcome) = match declared {
        Ok(declared) => (declared.request, Ok((word(declared.outcome, dry_run), declared.reply))),
        Err(error) => (None, Err(error.context(document.file.clone()))),
    };
    ChangeResult { label: document.label(), request, outcome }
}

const fn word(outcome: ApplyOutcome, dry_run: bool) -> &'static str {
    match outcome {
        ApplyOutcome::Unchanged => ApplyOutcome::Unchanged.word(),
        ApplyOutcome::Created if dry_run => "would be created",
        ApplyOutcome::Changed if dry_run => "would be changed",
        ApplyOutcome::Replaced if dry_run => "would be replaced",
        other => other.word(),
    }
}
