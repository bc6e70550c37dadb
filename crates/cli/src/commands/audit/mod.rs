//! `stateward audit`: verify, checkpoint, export and import the log.

mod checkpoint;
mod export;
mod import;
mod offline;
#[cfg(test)]
mod tests;
mod verify;

use clap::{Args, Subcommand};

use crate::context::{Run, Session};
use crate::exit::Exit;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward audit checkpoint > checkpoint.json     # keep it elsewhere\n  \
    stateward audit verify --against checkpoint.json\n  stateward audit export --after 24h -o november.jsonl\n  \
    stateward audit verify --offline --data /var/lib/stateward   # the files, without a server"
)]
pub(crate) struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Replay everything: chains of hashes, versions without gaps, lists that equal a fresh fold
    Verify(verify::Verify),
    /// Print a checkpoint of the log, to be kept elsewhere
    Checkpoint(checkpoint::Checkpoint),
    /// Write the events as `CloudEvents`, a line each
    Export(export::Export),
    /// Put a whole export back into an empty store
    Import(import::Import),
}

impl Run for Audit {
    async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        match self.verb {
            Verb::Verify(verify) => verify.run(session).await,
            Verb::Checkpoint(checkpoint) => checkpoint.run(session).await,
            Verb::Export(export) => export.run(session).await,
            Verb::Import(import) => import.run(session).await,
        }
    }
}
