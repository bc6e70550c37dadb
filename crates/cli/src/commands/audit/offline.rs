//! `stateward audit verify|checkpoint|export --data DIR`: without a server.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use stateward_domain::id::{Namespace, Position};
use stateward_engine::export::Selection;

use crate::offline;

#[derive(Args)]
pub(crate) struct Verify {
    /// Directory of the embedded store; a server may have it open
    #[arg(long)]
    data: PathBuf,
    /// Checkpoint that was kept elsewhere: the log has to continue it
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    #[expect(clippy::print_stdout, reason = "the report is what the command is asked for")]
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let against = self.against.as_deref().map(offline::kept).transpose()?;
        let report = offline::verify(&self.data, against.as_ref(), &|_| ()).await?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            for fault in &report.faults {
                println!("{fault}");
            }
            println!(
                "{} events of {} streams, {} entities compared, in {} ms",
                report.events, report.streams, report.entities, report.elapsed_ms
            );
        }
        anyhow::ensure!(report.ok, "the log has {} fault(s)", report.fault_count);
        Ok(())
    }
}

#[derive(Args)]
pub(crate) struct Checkpoint {
    /// Directory of the embedded store; a server may have it open
    #[arg(long)]
    data: PathBuf,
}

impl Checkpoint {
    #[expect(clippy::print_stdout, reason = "the checkpoint is what the command is asked for")]
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string_pretty(&offline::checkpoint(&self.data).await?)?);
        Ok(())
    }
}

#[derive(Args)]
pub(crate) struct Export {
    /// Directory of the embedded store; a server may have it open
    #[arg(long)]
    data: PathBuf,
    /// Only what comes after this position
    #[arg(long, value_name = "POSITION")]
    after: Option<Position>,
    /// The last position
    #[arg(long, value_name = "POSITION")]
    until: Option<Position>,
    /// Only events of this namespace; may be given several times
    #[arg(long, short)]
    namespace: Vec<String>,
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// File to write, which must not be there [default: standard output]
    #[arg(long, short)]
    output: Option<PathBuf>,
}

impl Export {
    #[expect(clippy::print_stderr, reason = "the number is for the person at the terminal")]
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let selection = Selection {
            after: self.after.unwrap_or_default(),
            until: self.until,
            namespaces: self.namespace.into_iter().map(Namespace).collect(),
            types: self.types,
        };
        let mut out: Box<dyn Write + Send> = match &self.output {
            None => Box::new(std::io::stdout()),
            Some(path) => {
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
                let file = file.with_context(|| format!("cannot write {}", path.display()))?;
                Box::new(BufWriter::new(file))
            }
        };
        let count = offline::export(&self.data, selection, &mut *out).await?;
        eprintln!("{count} events");
        Ok(())
    }
}
