//! `stateward audit export`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use stateward_domain::id::{Namespace, Position};
use stateward_engine::service::export::Selection;

use crate::client::Request;
use crate::commands::audit::offline;
use crate::exit::{CliError, Exit};
use crate::output_file::OutputFile;
use crate::presentation::terminal;
use crate::verb_context::{ClientCommand, CommandContext};

/// Bytes of one line at most.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Args)]
#[command(after_help = "Examples:\n  stateward audit export -o log.jsonl\n  \
    stateward audit export --type entity.deleted | jq -r .subject\n  \
    stateward audit export -n physics --after \"$(jq -r .position last-month.json)\" -o november.jsonl")]
pub(crate) struct AuditExport {
    /// After this position, such as that of a checkpoint or of an event; no time
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
    /// Up to and including this position
    #[arg(long, value_name = "POSITION")]
    until: Option<String>,
    /// In this namespace [default: all]; may be repeated
    #[arg(short, long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// Of this type; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Into this file, for its owner alone, instead of standard output; a file of that name is replaced once the export
    /// is whole
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Read the files in --data, without a server; that is recorded nowhere
    #[arg(long)]
    offline: bool,
}

impl ClientCommand for AuditExport {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        if self.offline {
            return self.offline(context).await;
        }
        let request = Request::get("/v1/audit/export")
            .maybe("after", self.after.as_deref())
            .maybe("until", self.until.as_deref())
            .each("namespace", &self.namespaces)
            .each("type", &self.types)
            .accept("application/x-ndjson");
        let mut lines = Lines::of(context.client.stream(&request).await?);
        let Some(path) = &self.file else {
            while let Some(line) = lines.next().await? {
                terminal::print(&line)?;
            }
            return Ok(Exit::Ok);
        };
        let count = save(path, &mut lines).await?;
        terminal::note(&format!("{count} events in {}", path.display()));
        Ok(Exit::Ok)
    }
}

impl AuditExport {
    async fn offline(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let position = |text: Option<String>| -> anyhow::Result<Option<Position>> {
            let no = |_| CliError::usage("this is no position");
            text.map(|text| text.parse().map_err(no)).transpose()
        };
        let selection = Selection {
            after: position(self.after)?.unwrap_or_default(),
            until: position(self.until)?,
            namespaces: self.namespaces.into_iter().map(Namespace).collect(),
            types: self.types,
        };
        let count = if let Some(path) = &self.file {
            let out = || OutputFile::create(path);
            let (count, file) = offline::export(&context.data, selection, out).await?;
            file.finish()?;
            count
        } else {
            let exported =
                offline::export(&context.data, selection, || Ok(terminal::stdout())).await;
            let (count, _) = exported.map_err(|error| {
                // An error of reading the log is not one of writing the output.
                match error.downcast_ref::<stateward_engine::QueryError>() {
                    None => terminal::write_error(error),
                    Some(_) => error,
                }
            })?;
            count
        };
        terminal::note(&format!("{count} events"));
        Ok(Exit::Ok)
    }
}

/// Writes all lines; returns their number.
async fn save(path: &Path, lines: &mut Lines) -> anyhow::Result<u64> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = OutputFile::create(path)?;
    let bar = terminal::progress("exporting", 0);
    while let Some(line) = lines.next().await? {
        writeln!(file, "{line}").with_context(cannot)?;
        bar.inc_length(1);
        bar.inc(1);
    }
    file.finish()?;
    bar.finish_and_clear();
    Ok(bar.position())
}

/// The lines of a streamed response.
pub(super) struct Lines {
    response: reqwest::Response,
    bytes: Vec<u8>,
    /// Bytes searched for a line end already.
    searched: usize,
    ended: bool,
}

impl Lines {
    pub(super) const fn of(response: reqwest::Response) -> Self {
        Self { response, bytes: Vec::new(), searched: 0, ended: false }
    }

    /// The next non-empty line; `None` = the response is complete.
    ///
    /// # Errors
    /// When the response breaks off, or a line is too long.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            let end = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end.map(|end| end + self.searched) {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                self.searched = 0;
                let line = text(&line)?;
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            self.searched = self.bytes.len();
            anyhow::ensure!(self.bytes.len() <= LINE_BYTES_MAX, "a line is too long");
            if self.ended {
                let line = text(&std::mem::take(&mut self.bytes))?;
                self.searched = 0;
                return Ok((!line.is_empty()).then_some(line));
            }
            match self.response.chunk().await.context("the answer broke off")? {
                Some(chunk) => self.bytes.extend_from_slice(&chunk),
                None => self.ended = true,
            }
        }
    }
}

fn text(line: &[u8]) -> anyhow::Result<String> {
    let text = std::str::from_utf8(line).context("the answer is no text")?;
    Ok(text.trim_end().to_owned())
}
