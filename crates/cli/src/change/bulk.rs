//! One change of many entities: confirmed, sent a few at a time, then printed.

use clap::Args;
use futures_util::stream::{self, StreamExt};
use serde_json::Value;

use super::results::{ChangeResult, print_results};
use super::wait::WaitOptions;
use crate::client::entity_json::label;
use crate::client::{CONCURRENCY, ChangeReason, Request};
use crate::exit::Exit;
use crate::json_text::text;
use crate::presentation::output::{Format, Output};
use crate::presentation::render::entity::ENTITY_ANYWHERE;
use crate::presentation::terminal;
use crate::select::Selected;
use crate::verb_context::CommandContext;

/// Options of a change of many entities.
#[derive(Args, Clone, Debug)]
pub(crate) struct BulkOptions {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) wait: WaitOptions,
    #[command(flatten)]
    pub(crate) why: ChangeReason,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Asks for confirmation unless each entity was named.
///
/// # Errors
/// A usage error without a terminal.
fn confirm(
    context: &CommandContext,
    selected: &Selected,
    yes: bool,
    verb: &str,
) -> anyhow::Result<bool> {
    for (what, error) in &selected.missing {
        terminal::report_error(what, error);
    }
    if selected.exactly || yes || selected.entities.is_empty() {
        return Ok(true);
    }
    let table = ENTITY_ANYWHERE.list(&selected.entities, Format::Table, context.now, false);
    terminal::note(&table);
    terminal::confirm(&format!("{verb} these {} entities?", selected.entities.len()))
}

/// Sends a change for each selected entity. `words` = the verb of the question, and the word printed for each result.
pub(crate) async fn apply_to_all(
    context: &CommandContext,
    selected: Selected,
    options: &BulkOptions,
    words: (&str, &'static str),
    request: impl Fn(&str) -> Request + Send + Sync,
) -> anyhow::Result<Exit> {
    let (verb, word) = words;
    if !confirm(context, &selected, options.yes, verb)? {
        terminal::note("nothing was done");
        return Ok(Exit::Failure);
    }
    if selected.is_empty() {
        terminal::note("nothing found");
    }
    let client = &context.client.with_reason(&options.why);
    let bar = terminal::progress(verb, selected.entities.len() as u64);
    let send = |entity: &Value| {
        let request = client.with_key(request(&text(entity, "/id")));
        let (label, bar) = (label(entity), bar.clone());
        async move {
            let outcome = client.send(&request).await.map(|reply| (word, reply));
            bar.inc(1);
            ChangeResult { label, request: Some(request), outcome }
        }
    };
    let results: Vec<_> =
        stream::iter(selected.entities.iter().map(send)).buffered(CONCURRENCY).collect().await;
    bar.finish_and_clear();
    let results = options.wait.wait_for_all(client, results).await;
    let exit = print_results(client, &results, options.output).await?;
    Ok(exit.max(selected.exit()))
}
