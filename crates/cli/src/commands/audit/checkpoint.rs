//! `stateward audit checkpoint`.

use clap::Args;

use crate::client::Request;
use crate::commands::audit::offline;
use crate::context::{Run, Session};
use crate::exit::Exit;
use crate::presentation::output::json;
use crate::presentation::terminal;

#[derive(Args)]
#[command(after_help = "Example:\n  stateward audit checkpoint > checkpoint.json\n\n\
    Keep it in a place that those who can change the log cannot write to.")]
pub(crate) struct Checkpoint {
    /// Read the files in --data, without a server
    #[arg(long)]
    offline: bool,
}

impl Run for Checkpoint {
    async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        if self.offline {
            let checkpoint = serde_json::to_value(offline::checkpoint(&session.data).await?)?;
            terminal::say(&json(&checkpoint))?;
            return Ok(Exit::Ok);
        }
        let request = Request::get("/v1/audit/checkpoint").unhurried();
        let checkpoint = session.client.send(&request).await?;
        terminal::say(&json(&checkpoint))?;
        Ok(Exit::Ok)
    }
}
