//! `stateward operations`.

use clap::Args;

use crate::client::{Problem, Request, escaped};
use crate::exit::Exit;
use crate::json_text::text;
use crate::presentation::output::Output;
use crate::presentation::render::operation::OPERATION;
use crate::select::target::is_id;
use crate::select::{check_namespace, find_one_or_deleted};
use crate::verb_context::{ClientCommand, CommandContext};

const STATES: [&str; 6] = ["pending", "running", "succeeded", "failed", "superseded", "cancelled"];

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward operations\n  stateward operations --state failed -o wide\n  \
    stateward operations file/motd\n  stateward operations 0199c7f1-0000-7000-8000-000000000001 -o json"
)]
pub(crate) struct Operations {
    /// An entity, for its operations, or one operation
    #[arg(value_name = "KIND/NAME|ID|OPERATION")]
    target: Option<String>,
    /// In this state: pending, running, succeeded, failed, superseded, cancelled
    #[arg(long, value_name = "STATE", value_parser = STATES, hide_possible_values = true)]
    state: Option<String>,
    /// In this namespace [default: all; for KIND/NAME: default]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// So many at most, newest first
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    output: Output,
}

impl ClientCommand for Operations {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let client = &context.client;
        let mut path = "/v1/operations".to_owned();
        if let Some(target) = &self.target {
            if is_id(target) {
                let one = client.send(&Request::get(format!("{path}/{}", escaped(target)))).await;
                match one {
                    Ok(operation) => {
                        context.print_one(&OPERATION, &operation, self.output)?;
                        return Ok(Exit::Ok);
                    }
                    // The id is an entity's, then.
                    Err(error) if is_missing(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            let place = self.namespace.as_deref().unwrap_or("default");
            let entity = find_one_or_deleted(client, target, place).await?;
            path = format!("/v1/entities/{}/operations", text(&entity, "/id"));
        }
        let request = Request::get(path)
            .maybe("state", self.state.as_deref())
            .maybe("namespace", self.namespace.as_deref());
        let operations = client.list(&request, Some(self.limit)).await?;
        if let Some(name) = self.namespace.as_deref()
            && operations.is_empty()
        {
            check_namespace(client, name).await?;
        }
        context.print_list(&OPERATION, &operations, self.output)?;
        Ok(Exit::Ok)
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    let problem = error.downcast_ref::<Problem>();
    problem.is_some_and(|problem| problem.status == reqwest::StatusCode::NOT_FOUND)
}
