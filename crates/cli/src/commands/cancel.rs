//! `stateward cancel`.

use clap::Args;

use crate::change::one_entity::{self, ChangeOptions};
use crate::client::entity_json::label;
use crate::client::{Client, Request, escaped};
use crate::exit::{CliError, Exit};
use crate::json_text::text;
use crate::select::find_one;
use crate::select::target::is_id;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(after_help = "Examples:\n  stateward operations --state pending\n  \
    stateward cancel 0199c7f1-0000-7000-8000-000000000001\n  stateward cancel thing/slow    # all that is open for it")]
pub(crate) struct Cancel {
    /// Operations, or an entity whose open operations are meant
    #[arg(value_name = "OPERATION|KIND/NAME", required = true)]
    targets: Vec<String>,
    #[command(flatten)]
    options: ChangeOptions,
}

impl ClientCommand for Cancel {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let mut requests = Vec::new();
        for target in &self.targets {
            if is_id(target) {
                requests.push((format!("operation {target}"), cancel(target)));
            } else {
                let mut open = open(&context.client, target, self.options.namespace()).await?;
                requests.append(&mut open);
            }
        }
        one_entity::send_all(context, requests, &self.options, "cancelled").await
    }
}

fn cancel(operation: &str) -> Request {
    Request::post(format!("/v1/operations/{}/cancel", escaped(operation)))
}

/// The open operations of an entity.
async fn open(
    client: &Client,
    target: &str,
    namespace: &str,
) -> anyhow::Result<Vec<(String, Request)>> {
    let entity = find_one(client, target, namespace).await?;
    let path = format!("/v1/entities/{}/operations", text(&entity, "/id"));
    let operations = client.list(&Request::get(path), None).await?;
    let open = operations.iter().filter(|operation| operation["done"] == false);
    let requests: Vec<_> =
        open.map(|operation| (label(&entity), cancel(&text(operation, "/id")))).collect();
    if requests.is_empty() {
        return Err(CliError::conflict(format!("{} has no open operation", label(&entity))));
    }
    Ok(requests)
}
