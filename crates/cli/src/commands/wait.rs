//! `stateward wait`.

use std::slice;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::Instant;

use crate::change::wait::timed_out;
use crate::client::backend_pause::explain_pauses;
use crate::client::entity_json::{awaits_decision, condition, label, message};
use crate::client::exit_of;
use crate::client::watch_until::{self, GoalState};
use crate::exit::{CliError, Exit};
use crate::json_text::text;
use crate::presentation::output::time;
use crate::presentation::terminal;
use crate::select::{AllowEmpty, Selection};
use crate::verb_context::{ClientCommand, CommandContext};

const STATES: &[&str] = &[
    "creation_scheduled",
    "creating",
    "ok",
    "update_scheduled",
    "updating",
    "deletion_scheduled",
    "deleting",
    "deleted",
    "erred",
];
const CONDITIONS: &[&str] = &["synced", "ready", "drifted", "paused", "blocked"];

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward wait file/motd                       # until it is ok\n  \
    stateward wait -l app=site --for synced --timeout 30s\n  stateward wait file/motd --for deleted\n  \
    stateward wait file/motd --for drifted=false\n\n\
    Exit code 124 when the time is over; 1 when it cannot come to that by itself any more; 4 when it waits for a\n\
    decision; 3 when nothing is selected, but with --for deleted or --allow-empty."
)]
pub(crate) struct Wait {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    empty: AllowEmpty,
    /// A state (ok, erred, deleted, …) or a condition (synced, ready, drifted, paused, blocked), or CONDITION=false
    #[arg(long = "for", value_name = "STATE|CONDITION", default_value = "ok", value_parser = Goal::parse)]
    goal: Goal,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "5m", allow_hyphen_values = true, value_parser = time::duration)]
    timeout: Duration,
}

/// The goal of the wait.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Goal {
    State(String),
    Condition(String, bool),
}

impl Goal {
    fn parse(text: &str) -> Result<Self, String> {
        // kubectl's form.
        let text = text.strip_prefix("condition=").unwrap_or(text);
        let (name, wanted) = match text.split_once('=') {
            None => (text, true),
            Some((name, "true")) => (name, true),
            Some((name, "false")) => (name, false),
            Some(_) => return Err(format!("{text}: a condition is true or false")),
        };
        let name = if name == "delete" { "deleted".to_owned() } else { name.to_ascii_lowercase() };
        if CONDITIONS.contains(&&*name) {
            return Ok(Self::Condition(name, wanted));
        }
        if STATES.contains(&&*name) && wanted {
            return Ok(Self::State(name));
        }
        let (states, conditions) = (STATES.join(", "), CONDITIONS.join(", "));
        Err(format!("{text} is neither a state ({states}) nor a condition ({conditions})"))
    }

    fn is_deletion(&self) -> bool {
        *self == Self::State("deleted".to_owned())
    }

    fn compare(&self, entity: &Value) -> GoalState {
        let met = match self {
            Self::State(state) => entity["state"] == **state,
            Self::Condition(name, wanted) => condition(entity, name)["status"] == *wanted,
        };
        if met {
            return GoalState::Reached;
        }
        match entity["state"].as_str().unwrap_or_default() {
            "deleted" => GoalState::Unreachable("it is deleted".to_owned()),
            // An erred entity stays erred until a person retries or changes it.
            "erred" if self.needs_work() => {
                GoalState::Unreachable(format!("it is erred: {}", message(entity)))
            }
            _ if self.needs_work() && awaits_decision(entity) => {
                let why = message(entity);
                GoalState::Unreachable(format!(
                    "it waits for a decision (`stateward decide`): {why}"
                ))
            }
            _ => GoalState::Pending,
        }
    }

    /// Whether only a successful round can reach the goal.
    fn needs_work(&self) -> bool {
        match self {
            Self::State(_) => true,
            Self::Condition(name, wanted) => *wanted && ["synced", "ready"].contains(&&**name),
        }
    }
}

impl ClientCommand for Wait {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        if self.selection.is_empty() {
            return Err(CliError::usage("name what to wait for, or select it (-l, --state, …)"));
        }
        let deadline = Instant::now() + self.timeout;
        let selected = self.selection.resolve(&context.client).await?;
        if selected.is_empty() {
            // An entity that does not exist counts as deleted.
            if !self.goal.is_deletion() {
                self.empty.check(&selected)?;
            }
            terminal::note("nothing found");
        }
        let mut exit = Exit::Ok;
        for (what, error) in &selected.missing {
            if self.goal.is_deletion() {
                terminal::print(&format!("{what} met"))?;
            } else {
                terminal::report_error(what, error);
                exit = exit.max(exit_of(error));
            }
        }
        if selected.entities.is_empty() {
            return Ok(exit);
        }
        let bar = terminal::progress("waiting", selected.entities.len() as u64);
        let compare = |entity: &Value| self.goal.compare(entity);
        let awaited = watch_until::watch_until(
            &context.client,
            &selected.entities,
            deadline,
            compare,
            || bar.inc(1),
        )
        .await?;
        bar.finish_and_clear();
        for mut awaited in awaited {
            let name = label(&awaited.entity);
            let error = match awaited.state {
                GoalState::Reached => {
                    terminal::print(&format!("{name} met"))?;
                    continue;
                }
                GoalState::Unreachable(why) if awaits_decision(&awaited.entity) => {
                    CliError::conflict(why)
                }
                GoalState::Unreachable(why) => anyhow::Error::msg(why),
                GoalState::Pending => {
                    let entity = slice::from_mut(&mut awaited.entity);
                    explain_pauses(&context.client, entity).await;
                    let state = text(&awaited.entity, "/state");
                    timed_out(&state, self.timeout, &message(&awaited.entity))
                }
            };
            terminal::report_error(&name, &error);
            exit = exit.max(exit_of(&error));
        }
        Ok(exit)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entity(state: &str, synced: bool) -> Value {
        json!({ "state": state, "conditions": [{ "type": "synced", "status": synced }] })
    }

    #[test]
    fn states_and_conditions_are_understood() {
        assert_eq!(Goal::parse("ok"), Ok(Goal::State("ok".to_owned())));
        assert_eq!(Goal::parse("delete"), Ok(Goal::State("deleted".to_owned())));
        let synced = Goal::Condition("synced".to_owned(), true);
        assert_eq!(Goal::parse("condition=Synced"), Ok(synced));
        let drifted = Goal::Condition("drifted".to_owned(), false);
        assert_eq!(Goal::parse("drifted=false"), Ok(drifted));
        assert!(Goal::parse("fine").is_err() && Goal::parse("ok=false").is_err());
    }

    #[test]
    fn what_cannot_come_any_more_is_not_waited_for() {
        let ok = Goal::parse("ok").unwrap();
        assert_eq!(ok.compare(&entity("updating", false)), GoalState::Pending);
        assert_eq!(ok.compare(&entity("ok", true)), GoalState::Reached);
        assert!(matches!(ok.compare(&entity("erred", false)), GoalState::Unreachable(_)));
        assert!(matches!(ok.compare(&entity("deleted", false)), GoalState::Unreachable(_)));
        let unsynced = Goal::parse("synced=false").unwrap();
        assert_eq!(unsynced.compare(&entity("erred", false)), GoalState::Reached);
        let deleted = Goal::parse("deleted").unwrap();
        assert!(deleted.is_deletion());
        assert_eq!(deleted.compare(&entity("deleted", false)), GoalState::Reached);
    }
}
