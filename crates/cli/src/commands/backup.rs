//! `stateward backup`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use stateward_store::sqlite;

use crate::clock::SystemClock;
use crate::presentation::terminal;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward backup --data /var/lib/stateward --to /backup/today\n  stateward backup --to /backup/log --log-only"
)]
pub(crate) struct Backup {
    /// Directory of the embedded store; a server may have it open
    #[arg(long, default_value = "./data")]
    data: PathBuf,
    /// Directory to make, which must not be there
    #[arg(long)]
    to: PathBuf,
    /// Without the read models, which are rebuilt from the log
    #[arg(long)]
    log_only: bool,
}

impl Backup {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Self { data, to, log_only } = self;
        let copy = sqlite::backup(&data, &to, log_only, Arc::new(SystemClock)).await?;
        let checkpoint = &copy.checkpoint;
        terminal::print(&format!(
            "{} events are in {}.\nKeep this checkpoint elsewhere: {}",
            checkpoint.count,
            to.display(),
            serde_json::to_string(checkpoint)?
        ))?;
        anyhow::ensure!(
            copy.faults.count() == 0,
            "the copy was made, but its log has {} fault(s), as the original has: see stateward audit verify",
            copy.faults.count()
        );
        Ok(())
    }
}
