//! `stateward restore`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use stateward_store::sqlite;

use crate::clock::SystemClock;
use crate::presentation::terminal;

#[derive(Args)]
#[command(
    after_help = "Example:\n  stateward restore --from /backup/today --data /var/lib/stateward"
)]
pub(crate) struct Restore {
    /// Directory that `stateward backup` made
    #[arg(long)]
    from: PathBuf,
    /// Directory of the embedded store, which must hold no log
    #[arg(long, default_value = "./data")]
    data: PathBuf,
}

impl Restore {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Self { from, data } = self;
        let copy = sqlite::restore(&from, &data, Arc::new(SystemClock)).await?;
        let data = data.display();
        terminal::print(&format!(
            "{} events are in {data}.\n\
             Look:      stateward audit verify --offline --data {data} [--against CHECKPOINT]\n\
             Start it:  stateward serve --data {data}\n\
             Nothing is changed on any backend until you let it:  stateward unfreeze",
            copy.checkpoint.count
        ))?;
        anyhow::ensure!(
            copy.faults.count() == 0,
            "the log was put back, but it has {} fault(s), as the backup has: see stateward audit verify",
            copy.faults.count()
        );
        Ok(())
    }
}
