//! The results of changes: printed one by one, and summed up.

use serde_json::{Value, json};

use crate::client::{Client, Request, exit_of};
use crate::exit::Exit;
use crate::json_text::text;
use crate::presentation::output::{self, Format, Output};
use crate::presentation::terminal;

/// A change, and its result.
pub(crate) struct ChangeResult {
    /// `KIND/NAME`.
    pub(crate) label: String,
    /// The request with its idempotency key; `None` = nothing had to be changed.
    pub(crate) request: Option<Request>,
    pub(crate) outcome: anyhow::Result<(&'static str, Value)>,
}

/// Prints the result of each change; the worst one is the exit code.
pub(crate) async fn print_results(
    client: &Client,
    results: &[ChangeResult],
    output: Output,
) -> anyhow::Result<Exit> {
    terminal::print(&report(results, output.format))?;
    let mut exit = Exit::Ok;
    for result in results {
        if let Err(error) = &result.outcome {
            terminal::report_error(&result.label, error);
            exit = exit.max(exit_of(error));
        }
    }
    let done = || results.iter().filter_map(|result| result.outcome.as_ref().ok());
    let last = done().filter_map(|(_, reply)| reply["position"].as_str()).next_back();
    client.wait_for_views(last).await;
    if results.len() > 1 {
        terminal::note(&summary(results));
    }
    Ok(exit)
}

fn report(results: &[ChangeResult], format: Format) -> String {
    let done: Vec<_> = results
        .iter()
        .filter_map(|result| Some((&result.label, result.outcome.as_ref().ok()?)))
        .collect();
    let document = || match (results, done.as_slice()) {
        ([_], [(_, (_, reply))]) => reply.clone(),
        _ => json!({ "items": done.iter().map(|(_, (_, reply))| reply).collect::<Vec<_>>() }),
    };
    match format {
        Format::Json => output::json(&document()),
        Format::Yaml => output::yaml(&document()),
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
fn summary(results: &[ChangeResult]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for result in results {
        let word = result.outcome.as_ref().map_or("failed", |(word, _)| *word);
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

    fn result(label: &str, outcome: anyhow::Result<(&'static str, Value)>) -> ChangeResult {
        ChangeResult { label: label.to_owned(), request: None, outcome }
    }

    fn results() -> Vec<ChangeResult> {
        vec![
            result("local.file/a", Ok(("created", json!({ "operation": { "id": "op-1" } })))),
            result("local.file/b", Err(anyhow::anyhow!("no"))),
            result("local.file/c", Ok(("unchanged", json!({ "operation": null })))),
            result("local.file/d", Ok(("created", json!({ "operation": { "id": "op-2" } })))),
        ]
    }

    #[test]
    fn results_are_printed_in_each_form() {
        for format in [Format::Table, Format::Wide, Format::Json, Format::Yaml, Format::Name] {
            insta::assert_snapshot!(format!("each-{format:?}"), report(&results(), format));
        }
        insta::assert_snapshot!("each-single", report(&results()[..1], Format::Json));
    }

    #[test]
    fn failures_come_last_in_the_summary() {
        assert_eq!(summary(&results()), "2 created, 1 unchanged, 1 failed");
    }
}
