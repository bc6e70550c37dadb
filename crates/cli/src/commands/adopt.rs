//! `stateward adopt`.

use clap::Args;
use serde_json::json;

use crate::change::one_entity::{self, ChangeOptions};
use crate::client::Request;
use crate::exit::Exit;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(after_help = "Examples:\n  stateward adopt file/motd etc/motd\n\n\
    To declare an entity that adopts from the start, name the object in its manifest: external_id: etc/motd")]
pub(crate) struct Adopt {
    /// The entity
    #[arg(value_name = "KIND/NAME|ID")]
    target: String,
    /// What the backend calls the object
    external_id: String,
    #[command(flatten)]
    options: ChangeOptions,
}

impl ClientCommand for Adopt {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let body = json!({ "external_id": self.external_id });
        one_entity::apply_to_one(context, &self.target, &self.options, "adopting", |id| {
            Request::post(format!("/v1/entities/{id}/actions/adopt")).json(&body)
        })
        .await
    }
}
