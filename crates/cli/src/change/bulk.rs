//! One change of many entities: confirmed, sent a few at a time, printed one by one, and summed up.

use std::time::Duration;

use clap::Args;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{Client, Request, Why};
use crate::context::Session;
use crate::exit::{Exit, Stop};
use crate::presentation::output::{Format, Output, text, time};
use crate::presentation::render::entity::{self, ENTITY_ANYWHERE};
use crate::presentation::terminal;
use crate::select::Selected;

/// Requests at the same time.
pub(crate) const AT_ONCE: usize = 8;
/// Waiting requests at the same time.
const WAITING_AT_ONCE: usize = 32;

/// Whether, and how long, to wait for the end of the operation.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct WaitOptions {
    /// Wait until it is done
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = time::duration)]
    timeout: Duration,
}

/// Options of a change of many entities.
#[derive(Args, Clone, Debug)]
pub(crate) struct BulkOptions {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) wait: WaitOptions,
    #[command(flatten)]
    pub(crate) why: Why,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// A change, and its result.
pub(crate) struct Deed {
    /// `KIND/NAME`.
    pub(crate) label: String,
    /// The request with its idempotency key; `None` = nothing had to be changed.
    pub(crate) request: Option<Request>,
    pub(crate) outcome: anyhow::Result<(&'static str, Value)>,
}

/// Asks for confirmation unless each entity was named.
///
/// # Errors
/// A usage error without a terminal.
pub(crate) fn meant(
    session: &Session,
    selected: &Selected,
    yes: bool,
    verb: &str,
) -> anyhow::Result<bool> {
    for (what, error) in &selected.missing {
        terminal::complain(what, error);
    }
    if selected.exactly || yes || selected.entities.is_empty() {
        return Ok(true);
    }
    let table = ENTITY_ANYWHERE.list(&selected.entities, Format::Table, session.now, false);
    terminal::note(&table);
    terminal::confirm(&format!("{verb} these {} entities?", selected.entities.len()))
}

/// Sends a change for each selected entity. `words` = the verb of the question, and the word printed for each result.
pub(crate) async fn each(
    session: &Session,
    selected: Selected,
    options: &BulkOptions,
    words: (&str, &'static str),
    request: impl Fn(&str) -> Request + Send + Sync,
) -> anyhow::Result<Exit> {
    let (verb, word) = words;
    if !meant(session, &selected, options.yes, verb)? {
        terminal::note("nothing was done");
        return Ok(Exit::Failure);
    }
    if selected.is_empty() {
        terminal::note("nothing found");
    }
    let client = &session.client.because(&options.why);
    let bar = terminal::progress(verb, selected.entities.len() as u64);
    let send = |entity: &Value| {
        let request = client.keyed(request(&text(entity, "/id")));
        let (label, bar) = (entity::label(entity), bar.clone());
        async move {
            let outcome = client.send(&request).await.map(|reply| (word, reply));
            bar.inc(1);
            Deed { label, request: Some(request), outcome }
        }
    };
    let deeds: Vec<_> =
        stream::iter(selected.entities.iter().map(send)).buffered(AT_ONCE).collect().await;
    bar.finish_and_clear();
    let deeds = options.wait.finish(client, deeds).await;
    let exit = told(client, &deeds, options.output).await?;
    Ok(exit.max(selected.exit()))
}

impl WaitOptions {
    /// With `--wait`, waits for the end of each accepted operation.
    pub(crate) async fn finish(self, client: &Client, deeds: Vec<Deed>) -> Vec<Deed> {
        if !self.wait {
            return deeds;
        }
        let deadline = Instant::now() + self.timeout;
        let bar = terminal::progress("waiting", deeds.len() as u64);
        let finish = |deed: Deed| {
            let bar = bar.clone();
            async move {
                let done = self.finished(client, deed, deadline).await;
                bar.inc(1);
                done
            }
        };
        let done =
            stream::iter(deeds.into_iter().map(finish)).buffered(WAITING_AT_ONCE).collect().await;
        bar.finish_and_clear();
        done
    }

    async fn finished(self, client: &Client, deed: Deed, deadline: Instant) -> Deed {
        let Deed { label, request: Some(request), outcome: Ok((word, mut reply)) } = deed else {
            return deed;
        };
        if is_open(&reply) {
            match client.finish(&request, deadline).await {
                Ok(last) => reply = last,
                Err(error) => return Deed { label, request: Some(request), outcome: Err(error) },
            }
        }
        let outcome = self.judged(&reply).map(|()| (word, reply));
        Deed { label, request: Some(request), outcome }
    }

    fn judged(self, reply: &Value) -> anyhow::Result<()> {
        let operation = &reply["operation"];
        let id = text(operation, "/id");
        match text(operation, "/state").as_str() {
            "" | "succeeded" => Ok(()),
            "failed" => {
                anyhow::bail!("operation {id} failed: {}", text(operation, "/error/message"))
            }
            "superseded" => {
                let by = text(operation, "/superseded_by");
                Err(Stop::conflict(format!("operation {id} was superseded by {by}")))
            }
            "cancelled" => Err(Stop::conflict(format!("operation {id} was cancelled"))),
            _ if entity::asks(&reply["entity"]) => Err(Stop::conflict(format!(
                "it waits for a decision (`stateward decide`): {}",
                entity::message(&reply["entity"])
            ))),
            _ => {
                let entity = &reply["entity"];
                let state = text(entity, "/state");
                Err(late(&state, self.timeout, &entity::message(entity)))
            }
        }
    }
}

/// The error when the time is over; `why` = what the entity is blocked on, empty when that is not known.
pub(crate) fn late(state: &str, timeout: Duration, why: &str) -> anyhow::Error {
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    Stop::timeout(format!("it is {state} after {timeout:?}{why}"))
}

fn is_open(reply: &Value) -> bool {
    reply["operation"].is_object() && reply["operation"]["done"] != true
}

/// Prints the result of each change; the worst one is the exit code.
pub(crate) async fn told(client: &Client, deeds: &[Deed], output: Output) -> anyhow::Result<Exit> {
    terminal::say(&report(deeds, output.format))?;
    let mut exit = Exit::Ok;
    for deed in deeds {
        if let Err(error) = &deed.outcome {
            terminal::complain(&deed.label, error);
            exit = exit.max(Exit::of(error));
        }
    }
    let done = || deeds.iter().filter_map(|deed| deed.outcome.as_ref().ok());
    let last = done().filter_map(|(_, reply)| reply["position"].as_str()).next_back();
    client.settle(last).await;
    if deeds.len() > 1 {
        terminal::note(&summary(deeds));
    }
    Ok(exit)
}

fn report(deeds: &[Deed], format: Format) -> String {
    let done: Vec<_> =
        deeds.iter().filter_map(|deed| Some((&deed.label, deed.outcome.as_ref().ok()?))).collect();
    let document = || match (deeds, done.as_slice()) {
        ([_], [(_, (_, reply))]) => reply.clone(),
        _ => json!({ "items": done.iter().map(|(_, (_, reply))| reply).collect::<Vec<_>>() }),
    };
    match format {
        Format::Json => crate::presentation::output::json(&document()),
        Format::Yaml => crate::presentation::output::yaml(&document()),
        Format::Name => done.iter().map(|(label, _)| format!("{label}\n")).collect(),
        Format::Table => {
            done.iter().map(|(label, (word, _))| format!("{label} {word}\n")).collect()
        }
        Format::Wide => done
            .iter()
            .map(|(label, (word, reply))| {
                let operation = text(reply, "/operation/id");
                format!("{label} {word} {operation}").trim_end().to_owned() + "\n"
            })
            .collect(),
    }
}

/// `2 created, 1 unchanged, 1 failed`.
fn summary(deeds: &[Deed]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for deed in deeds {
        let word = deed.outcome.as_ref().map_or("failed", |(word, _)| *word);
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    counts.sort_by_key(|(word, _)| *word == "failed");
    counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(label: &str, outcome: anyhow::Result<(&'static str, Value)>) -> Deed {
        Deed { label: label.to_owned(), request: None, outcome }
    }

    fn deeds() -> Vec<Deed> {
        vec![
            deed("local.file/a", Ok(("created", json!({ "operation": { "id": "op-1" } })))),
            deed("local.file/b", Err(anyhow::anyhow!("no"))),
            deed("local.file/c", Ok(("unchanged", json!({ "operation": null })))),
            deed("local.file/d", Ok(("created", json!({ "operation": { "id": "op-2" } })))),
        ]
    }

    #[test]
    fn results_are_printed_in_each_form() {
        for format in [Format::Table, Format::Wide, Format::Json, Format::Yaml, Format::Name] {
            insta::assert_snapshot!(format!("each-{format:?}"), report(&deeds(), format));
        }
        insta::assert_snapshot!("each-single", report(&deeds()[..1], Format::Json));
    }

    #[test]
    fn failures_come_last_in_the_summary() {
        assert_eq!(summary(&deeds()), "2 created, 1 unchanged, 1 failed");
    }

    #[test]
    fn each_end_of_an_operation_has_its_exit_code() {
        let options = WaitOptions { wait: true, timeout: Duration::from_secs(5) };
        let exit = |state: &str| {
            let reply = json!({ "operation": { "id": "op", "state": state } });
            options.judged(&reply).map_or_else(|error| Exit::of(&error), |()| Exit::Ok)
        };
        let ends = ["succeeded", "failed", "superseded", "cancelled", "running"].map(exit);
        let expected = [Exit::Ok, Exit::Failure, Exit::Conflict, Exit::Conflict, Exit::Timeout];
        assert_eq!(ends, expected);
        assert!(options.judged(&json!({ "operation": null })).is_ok(), "nothing was to be done");
    }
}
