//! `stateward audit import`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use stateward_domain::time::Clock;

use crate::clock::SystemClock;
use crate::exit::Exit;
use crate::presentation::terminal;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(after_help = "Example:\n  stateward audit import log.jsonl --data ./restored")]
pub(crate) struct AuditImport {
    /// Whole export of a log; - for standard input. Goes into --data, which must hold no log
    file: PathBuf,
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
