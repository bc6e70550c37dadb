//! `stateward decide`.

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::change::one_entity::{self, ChangeOptions};
use crate::client::Request;
use crate::exit::{CliError, Exit};
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward get -A --state creating -o wide       # which entities wait, and for what\n  \
    stateward decide thing/disk create --reason 'backup is restored later'\n  \
    stateward decide thing/disk adopt vol-17\n  stateward decide thing/disk give-up"
)]
pub(crate) struct Decide {
    /// The entity that is blocked on a decision
    #[arg(value_name = "KIND/NAME|ID")]
    target: String,
    #[arg(value_enum)]
    decision: Decision,
    /// For adopt: what the backend calls the object
    #[arg(required_if_eq("decision", "adopt"))]
    external_id: Option<String>,
    #[command(flatten)]
    options: ChangeOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Decision {
    /// This object is the entity's
    Adopt,
    /// Make a new one
    Create,
    /// Let it fail
    GiveUp,
}

impl ClientCommand for Decide {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let decision = match self.decision {
            Decision::Adopt => "adopt",
            Decision::Create => "create",
            Decision::GiveUp => "give_up",
        };
        let body = match self.external_id {
            Some(id) if self.decision == Decision::Adopt => {
                json!({ "decision": decision, "external_id": id })
            }
            Some(_) => return Err(CliError::usage("only adopt takes an object")),
            None => json!({ "decision": decision }),
        };
        one_entity::apply_to_one(context, &self.target, &self.options, "decided", |id| {
            Request::post(format!("/v1/entities/{id}/actions/decide")).json(&body)
        })
        .await
    }
}
