//! `stateward audit checkpoint`.

use clap::Args;

use crate::client::Request;
use crate::commands::audit::offline;
use crate::exit::Exit;
use crate::presentation::output::json;
use crate::presentation::terminal;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(after_help = "Example:\n  stateward audit checkpoint > checkpoint.json\n\n\
    Keep it in a place that those who can change the log cannot write to.")]
pub(crate) struct AuditCheckpoint {
    /// Read the files in --data, without a server
    #[arg(long)]
    offline: bool,
}

impl ClientCommand for AuditCheckpoint {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        if self.offline {
            let checkpoint = serde_json::to_value(offline::checkpoint(&context.data).await?)?;
            terminal::print(&json(&checkpoint))?;
            return Ok(Exit::Ok);
        }
        let request = Request::get("/v1/audit/checkpoint").without_timeout();
        let checkpoint = context.client.send(&request).await?;
        terminal::print(&json(&checkpoint))?;
        Ok(Exit::Ok)
    }
}
