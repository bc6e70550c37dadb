//! `stateward migrate`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use stateward_store::{Location, postgres};

use crate::presentation::terminal;
use crate::server::config::{Config, ConfigSource};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward migrate --url postgres://owner@db.example/stateward --role stateward\n  \
    stateward migrate --config stateward.toml\n\nThe password of --url comes from PGPASSWORD or a .pgpass file."
)]
pub(crate) struct Migrate {
    /// Configuration file (TOML), whose store is migrated
    #[arg(long)]
    config: Option<PathBuf>,
    /// The database as its owner signs in [default: store.url of the configuration]
    #[arg(long)]
    url: Option<String>,
    /// Role of the servers: it gets the rights that they need, and no others
    #[arg(long)]
    role: Option<String>,
}

impl Migrate {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let location = if let Some(url) = &self.url {
            Location::of(url).context("--url")?
        } else {
            let source = ConfigSource::open(self.config.as_deref())?;
            Config::load(&source)?.location(Path::new("./data"), "migrate")?
        };
        let Location::Database(settings) = location else {
            anyhow::bail!(
                "nothing to migrate: the embedded store migrates itself when it is opened; \
                 --url or store.url names a database"
            );
        };
        let version = postgres::migrate(&settings.target, self.role.as_deref()).await?;
        terminal::print(&format!(
            "the schema of the database {} has version {version}",
            settings.target.database()
        ))
    }
}
