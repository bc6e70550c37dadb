//! `stateward audit export`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::client::Request;
use crate::exit::Exit;
use crate::output::time;
use crate::session::{Run, Session};
use crate::terminal;

/// Bytes of one line at most.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Args)]
#[command(after_help = "Examples:\n  stateward audit export -o log.jsonl\n  \
    stateward audit export --after 24h --type entity.deleted | jq -r .subject\n  \
    stateward audit export -n physics --after 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z")]
pub(crate) struct Export {
    /// After this position or time, or so long ago (24h)
    #[arg(long, value_name = "POSITION|TIME")]
    after: Option<String>,
    /// Until this position or time, or so long ago
    #[arg(long, value_name = "POSITION|TIME")]
    until: Option<String>,
    /// In this namespace [default: all]; may be repeated
    #[arg(short, long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// Of this type; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Into this file, instead of standard output
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Run for Export {
    async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let bound = |text: &Option<String>| text.as_deref().map(|text| bound(text, session.now));
        let request = Request::get("/v1/audit/export")
            .maybe("after", bound(&self.after).as_deref())
            .maybe("until", bound(&self.until).as_deref())
            .each("namespace", &self.namespaces)
            .each("type", &self.types)
            .accept("application/x-ndjson");
        let mut lines = Lines::of(session.client.stream(&request).await?);
        let Some(path) = &self.file else {
            while let Some(line) = lines.next().await? {
                terminal::say(&line)?;
            }
            return Ok(Exit::Ok);
        };
        let count = save(path, &mut lines).await?;
        terminal::note(&format!("{count} events in {}", path.display()));
        Ok(Exit::Ok)
    }
}

/// A time may be relative; what is no time is a position, which only the server can read.
fn bound(text: &str, now: jiff::Timestamp) -> String {
    time::past(text, now).unwrap_or_else(|_| text.to_owned())
}

/// Into a file beside it, which takes its name once it is whole: half an export is none.
async fn save(path: &Path, lines: &mut Lines) -> anyhow::Result<u64> {
    let cannot = || format!("cannot write {}", path.display());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let beside = path.with_file_name(name);
    let mut file = std::io::BufWriter::new(std::fs::File::create(&beside).with_context(cannot)?);
    let bar = terminal::progress("exporting", 0);
    while let Some(line) = lines.next().await? {
        writeln!(file, "{line}").with_context(cannot)?;
        bar.inc_length(1);
        bar.inc(1);
    }
    file.flush().with_context(cannot)?;
    file.get_ref().sync_all().with_context(cannot)?;
    std::fs::rename(&beside, path).with_context(cannot)?;
    bar.finish_and_clear();
    Ok(bar.position())
}

/// The lines of an answer, as they come.
pub(super) struct Lines {
    response: reqwest::Response,
    bytes: Vec<u8>,
    /// Where the search for the end of the line goes on.
    searched: usize,
    ended: bool,
}

impl Lines {
    pub(super) const fn of(response: reqwest::Response) -> Self {
        Self { response, bytes: Vec::new(), searched: 0, ended: false }
    }

    /// The next line that is not empty; `None` = the answer has ended as it should.
    ///
    /// # Errors
    /// When it breaks off, or a line is too long.
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
