//! `stateward run`.

use clap::Args;
use serde_json::Value;

use crate::change::one_entity::{self, ChangeOptions};
use crate::client::{Request, escaped};
use crate::exit::Exit;
use crate::field_arguments;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(after_help = "Examples:\n  stateward run server/web reboot type=HARD --wait\n  \
    stateward run volume/db revert snapshot_id=4b2f…\n\n\
    `stateward explain KIND` shows the verbs of a kind and what they take.")]
pub(crate) struct Run {
    /// The entity
    #[arg(value_name = "KIND/NAME|ID")]
    target: String,
    /// One of its kind's own verbs
    verb: String,
    /// What the verb takes
    #[arg(value_name = "FIELD=VALUE")]
    input: Vec<String>,
    #[command(flatten)]
    options: ChangeOptions,
}

impl ClientCommand for Run {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let verb = escaped(&self.verb);
        let request = |id: &str, kind: &Value| {
            let actions = kind["actions"].as_array().into_iter().flatten();
            let action = actions.into_iter().find(|action| action["name"] == self.verb.as_str());
            let schema = action.map_or(&Value::Null, |action| &action["input"]);
            let input = field_arguments::document(&self.input, schema)?;
            Ok(Request::post(format!("/v1/entities/{id}/actions/{verb}")).json(&input))
        };
        one_entity::apply_with_kind(context, &self.target, &self.options, "asked for", request)
            .await
    }
}
