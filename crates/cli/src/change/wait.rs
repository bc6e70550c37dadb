//! Waits for the operations of accepted changes.

use std::slice;
use std::time::Duration;

use clap::Args;
use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use super::results::ChangeResult;
use crate::client::Client;
use crate::client::backend_pause::explain_pauses;
use crate::client::entity_json::{awaits_decision, message};
use crate::client::lasting_dependent::KEPT_BY;
use crate::exit::CliError;
use crate::json_text::text;
use crate::presentation::output::time;
use crate::presentation::terminal;

/// Waiting requests at the same time.
const WAITING_CONCURRENCY: usize = 32;

/// Whether, and how long, to wait for the end of the operation.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct WaitOptions {
    /// Wait until it is done
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "5m", allow_hyphen_values = true, value_parser = time::duration)]
    timeout: Duration,
}

impl WaitOptions {
    /// With `--wait`, waits for the end of each accepted operation.
    pub(crate) async fn wait_for_all(
        self,
        client: &Client,
        results: Vec<ChangeResult>,
    ) -> Vec<ChangeResult> {
        if !self.wait {
            return results;
        }
        let deadline = Instant::now() + self.timeout;
        let bar = terminal::progress("waiting", results.len() as u64);
        let wait_for = |result: ChangeResult| {
            let bar = bar.clone();
            async move {
                let done = self.wait_for(client, result, deadline).await;
                bar.inc(1);
                done
            }
        };
        let done = stream::iter(results.into_iter().map(wait_for))
            .buffered(WAITING_CONCURRENCY)
            .collect()
            .await;
        bar.finish_and_clear();
        done
    }

    async fn wait_for(
        self,
        client: &Client,
        result: ChangeResult,
        deadline: Instant,
    ) -> ChangeResult {
        let ChangeResult { label, request: Some(request), outcome: Ok((word, mut reply)) } = result
        else {
            return result;
        };
        if is_open(&reply) {
            match client.wait_for_operation(&request, deadline).await {
                Ok(last) => reply = last,
                Err(error) => {
                    return ChangeResult { label, request: Some(request), outcome: Err(error) };
                }
            }
        }
        if is_open(&reply) {
            explain_pauses(client, slice::from_mut(&mut reply["entity"])).await;
        }
        let outcome = self.check_operation(&reply).map(|()| (word, reply));
        ChangeResult { label, request: Some(request), outcome }
    }

    fn check_operation(self, reply: &Value) -> anyhow::Result<()> {
        let operation = &reply["operation"];
        let id = text(operation, "/id");
        match text(operation, "/state").as_str() {
            "" | "succeeded" => Ok(()),
            "superseded" => {
                let by = text(operation, "/superseded_by");
                Err(CliError::conflict(format!("operation {id} was superseded by {by}")))
            }
            "cancelled" => Err(CliError::conflict(format!("operation {id} was cancelled"))),
            _ if awaits_decision(&reply["entity"]) => Err(CliError::conflict(format!(
                "it waits for a decision (`stateward decide`): {}",
                message(&reply["entity"])
            ))),
            "failed" => {
                anyhow::bail!("operation {id} failed: {}", text(operation, "/error/message"))
            }
            _ => {
                let entity = &reply["entity"];
                if let Some(dependent) = entity[KEPT_BY].as_str() {
                    return Err(CliError::conflict(format!(
                        "{dependent} uses it and is not being deleted: the deletion waits until that is deleted too \
                         (--cascade), or no longer uses it"
                    )));
                }
                let state = text(entity, "/state");
                Err(timed_out(&state, self.timeout, &message(entity)))
            }
        }
    }
}

/// The error when the time is over; `why` = what the entity is blocked on, empty when that is not known.
pub(crate) fn timed_out(state: &str, timeout: Duration, why: &str) -> anyhow::Error {
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    CliError::timeout(format!("it is {state} after {timeout:?}{why}"))
}

fn is_open(reply: &Value) -> bool {
    reply["operation"].is_object() && reply["operation"]["done"] != true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::exit_of;
    use crate::exit::Exit;

    #[test]
    fn each_end_of_an_operation_has_its_exit_code() {
        let options = WaitOptions { wait: true, timeout: Duration::from_secs(5) };
        let exit = |state: &str| {
            let reply = json!({ "operation": { "id": "op", "state": state } });
            options.check_operation(&reply).map_or_else(|error| exit_of(&error), |()| Exit::Ok)
        };
        let ends = ["succeeded", "failed", "superseded", "cancelled", "running"].map(exit);
        let expected = [Exit::Ok, Exit::Failure, Exit::Conflict, Exit::Conflict, Exit::Timeout];
        assert_eq!(ends, expected);
        let blocked = json!({ "type": "blocked", "status": true, "reason": "DecisionNeeded" });
        let reply = json!({ "operation": { "id": "op", "state": "failed" }, "entity": { "conditions": [blocked] } });
        let error = options.check_operation(&reply).expect_err("it is not done");
        assert_eq!(exit_of(&error), Exit::Conflict, "it waits for a decision");
        let reply = json!({
            "operation": { "id": "op", "state": "running" }, "entity": { "kept_by": "local.file/a" },
        });
        let error = options.check_operation(&reply).expect_err("it is not done");
        assert_eq!(exit_of(&error), Exit::Conflict, "it is kept");
        assert!(error.to_string().starts_with("local.file/a uses it"), "{error}");
        assert!(
            options.check_operation(&json!({ "operation": null })).is_ok(),
            "nothing was to be done"
        );
    }
}
