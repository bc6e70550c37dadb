//! `stateward audit import`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use stateward_domain::audit::Checkpoint;
use stateward_domain::time::Clock;
use stateward_store::{Location, postgres};

use crate::clock::SystemClock;
use crate::exit::Exit;
use crate::presentation::terminal;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(after_help = "Example:\n  stateward audit import log.jsonl --data ./restored")]
pub(crate) struct AuditImport {
    /// Whole export of a log; - for standard input. Goes into --data, which must hold no log
    file: PathBuf,
    /// Migrated database without events, instead of --data: `postgres://OWNER@HOST/DATABASE`
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

async fn into_database(url: &str, lines: Box<dyn BufRead + Send>) -> anyhow::Result<Checkpoint> {
    let Location::Database(settings) = Location::of(url).context("--store")? else {
        anyhow::bail!("--store names a database; --data names the directory of an embedded store");
    };
    let limits = settings.limits;
    let database = postgres::Database::connect(settings.target, "import", limits).await?;
    Ok(postgres::import(lines, &database, SystemClock.now()).await?)
}

impl ClientCommand for AuditImport {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let lines: Box<dyn BufRead + Send> = if self.file == Path::new("-") {
            Box::new(BufReader::new(std::io::stdin()))
        } else {
            let file = File::open(&self.file);
            let file = file.with_context(|| format!("cannot read {}", self.file.display()))?;
            Box::new(BufReader::new(file))
        };
        let now = SystemClock.now();
        if let Some(url) = &self.store {
            let log = into_database(url, lines).await;
            let log = log.with_context(|| format!("{} was not put back", self.file.display()))?;
            terminal::print(&format!(
                "{} events are in the database, digest {}.\n\
                 Nothing is changed on any backend until you let it:  stateward unfreeze",
                log.count, log.digest
            ))?;
            return Ok(Exit::Ok);
        }
        let log = stateward_store::sqlite::import(lines, &context.data, now).await;
        let log = log.with_context(|| format!("{} was not put back", self.file.display()))?;
        let data = context.data.display();
        terminal::print(&format!(
            "{} events are in {data}, digest {}.\n\
             Compare with a checkpoint:  stateward audit verify --offline --data {data} --against FILE\n\
             Start it:                   stateward serve --data {data}\n\
             Nothing is changed on any backend until you let it:  stateward unfreeze",
            log.count, log.digest
        ))?;
        Ok(Exit::Ok)
    }
}
