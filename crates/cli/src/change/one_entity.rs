//! A change of one named entity.

use clap::Args;
use serde_json::Value;

use super::results::{ChangeResult, print_results};
use super::wait::WaitOptions;
use crate::client::entity_json::label;
use crate::client::{ChangeReason, Request, escaped};
use crate::exit::Exit;
use crate::json_text::text;
use crate::presentation::output::Output;
use crate::select::{InNamespace, find_one};
use crate::verb_context::CommandContext;

/// The options of such a change.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChangeOptions {
    #[command(flatten)]
    pub(crate) place: InNamespace,
    #[command(flatten)]
    pub(crate) wait: WaitOptions,
    #[command(flatten)]
    pub(crate) why: ChangeReason,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Sends a change of the entity that `target` names. `word` = the word printed for its result.
pub(crate) async fn apply_to_one(
    context: &CommandContext,
    target: &str,
    options: &ChangeOptions,
    word: &'static str,
    request: impl Fn(&str) -> Request,
) -> anyhow::Result<Exit> {
    let entity: Value = find_one(&context.client, target, &options.place.namespace).await?;
    let requests = vec![(label(&entity), request(&text(&entity, "/id")))];
    send_all(context, requests, options, word).await
}

/// Sends a change of the entity that `target` names; `request` gets the entity's kind as well. `word` = the word printed
/// for its result.
pub(crate) async fn apply_with_kind(
    context: &CommandContext,
    target: &str,
    options: &ChangeOptions,
    word: &'static str,
    request: impl Fn(&str, &Value) -> anyhow::Result<Request>,
) -> anyhow::Result<Exit> {
    let entity: Value = find_one(&context.client, target, &options.place.namespace).await?;
    let path = format!("/v1/kinds/{}", escaped(&text(&entity, "/kind")));
    let kind = context.client.send(&Request::get(path)).await?;
    let requests = vec![(label(&entity), request(&text(&entity, "/id"), &kind)?)];
    send_all(context, requests, options, word).await
}

/// Sends changes one after the other.
pub(crate) async fn send_all(
    context: &CommandContext,
    requests: Vec<(String, Request)>,
    options: &ChangeOptions,
    word: &'static str,
) -> anyhow::Result<Exit> {
    let client = &context.client.with_reason(&options.why);
    let mut results = Vec::new();
    for (label, request) in requests {
        let request = client.with_key(request);
        let outcome = client.send(&request).await.map(|reply| (word, reply));
        results.push(ChangeResult { label, request: Some(request), outcome });
    }
    let results = options.wait.wait_for_all(client, results).await;
    print_results(client, &results, options.output).await
}

impl ChangeOptions {
    /// The namespace of the named entity.
    pub(crate) fn namespace(&self) -> &str {
        &self.place.namespace
    }
}
