//! The verbs.

mod audit;
mod backup;
mod fake_world;
mod restore;
mod serve;

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Run a world for the fake driver, as a process of its own that counts what is made in it
    FakeWorld(fake_world::FakeWorld),
    /// Verify, checkpoint, export and import the log
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Copy a store, also while a server has it open
    Backup(backup::Backup),
    /// Put a backup back
    Restore(restore::Restore),
}

impl Command {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Serve(serve) => serve.run().await,
            Self::FakeWorld(world) => world.run().await,
            Self::Audit(audit) => audit.run().await,
            Self::Backup(backup) => backup.run().await,
            Self::Restore(restore) => restore.run().await,
        }
    }
}
