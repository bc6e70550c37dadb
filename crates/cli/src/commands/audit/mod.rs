//! `stateward audit`.

mod import;
mod offline;

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Verify hash chains, claims and read models of a data directory
    Verify(offline::Verify),
    /// Print what the log is now, to be kept elsewhere
    Checkpoint(offline::Checkpoint),
    /// Write the log as `CloudEvents`, a JSON event a line
    Export(offline::Export),
    /// Put a whole export back into an empty store
    Import(import::Import),
}

impl Audit {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Verify(verify) => verify.run().await,
            Self::Checkpoint(checkpoint) => checkpoint.run().await,
            Self::Export(export) => export.run().await,
            Self::Import(import) => import.run().await,
        }
    }
}
