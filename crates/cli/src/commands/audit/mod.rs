//! `stateward audit`: verify, checkpoint, export and import the log.

mod checkpoint;
mod export;
mod import;
mod offline;
#[cfg(test)]
mod tests;
mod verify;

use clap::{Args, Subcommand};

use crate::exit::Exit;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward audit checkpoint > checkpoint.json     # keep it elsewhere\n  \
    stateward audit verify --against checkpoint.json\n  stateward audit export --after 24h -o november.jsonl\n  \
    stateward audit verify --offline --data /var/lib/stateward   # the files, without a server"
)]
pub(crate) struct Audit {
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(Subcommand)]
enum AuditVerb {
    /// Replay everything: chains of hashes, versions without gaps, lists that equal a fresh fold
    Verify(verify::AuditVerify),
    /// Print a checkpoint of the log, to be kept elsewhere
    Checkpoint(checkpoint::AuditCheckpoint),
    /// Write the events as `CloudEvents`, a line each
    Export(export::AuditExport),
    /// Put a whole export back into an empty store
    Import(import::AuditImport),
}

impl ClientCommand for Audit {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        match self.verb {
            AuditVerb::Verify(verify) => verify.run(context).await,
            AuditVerb::Checkpoint(checkpoint) => checkpoint.run(context).await,
            AuditVerb::Export(export) => export.run(context).await,
            AuditVerb::Import(import) => import.run(context).await,
        }
    }
}
