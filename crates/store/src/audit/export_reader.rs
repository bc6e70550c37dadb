//! Parses and verifies an export: each line continues its stream, and all are of one log.

use std::io::{BufRead, Read};

use stateward_domain::audit::Checkpoint;
use stateward_domain::cloud_event::{self, Parsed};
use stateward_domain::entity::EntityEvent;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::LogId;
use stateward_domain::ports::audit::ChainedEvent;
use stateward_domain::time::Timestamp;

use super::{ChainChecker, Identity};

/// Events of a page.
const BATCH: usize = 1_000;
/// Least number of a log that draws numbers in blocks: it has gaps, and what is missing shows in its streams alone.
const SPARSE: u64 = 1_024;
/// Bytes of a line, at most: many times the limit of a request.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Verifies events as they come from a whole log, before they are written to another store.
#[derive(Default)]
pub(crate) struct CopyCheck {
    /// Set by the first event.
    checker: Option<(LogId, ChainChecker)>,
}

impl CopyCheck {
    /// The log; `None` before the first event.
    pub(crate) fn log_id(&self) -> Option<LogId> {
        self.checker.as_ref().map(|(log_id, _)| *log_id)
    }

    /// The checkpoint of all events; `None` = there was none.
    pub(crate) fn finish(self, now: Timestamp) -> Option<Checkpoint> {
        self.checker.map(|(_, checker)| checker.finish(now).checkpoint)
    }

    /// The next event of the log `log_id`.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub(crate) fn take(
        &mut self,
        log_id: LogId,
        chained: ChainedEvent,
    ) -> Result<Recorded, String> {
        let dense = chained.event.position.minor < SPARSE;
        let identity = Identity { log_id, epoch: chained.event.position.epoch, dense };
        let fresh = || (log_id, ChainChecker::new(identity, None));
        let (first, checker) = self.checker.get_or_insert_with(fresh);
        let (other, follows) = (*first != log_id, checker.follows(&chained.event.stream));
        if follows != Some(chained.previous) {
            return Err("the event before it in its stream is missing or another one".to_owned());
        }
        let row = Ok(chained.event);
        checker.take(&row);
        if let Some(fault) = checker.faults().first().first() {
            return Err(fault.to_string());
        }
        if other {
            return Err("it is of another log".to_owned());
        }
        let Ok(event) = row else { return Err("no event".to_owned()) };
        if event.stream.category == StreamId::ENTITY {
            let decoded = event.decode::<EntityEvent>(EntityEvent::known);
            decoded.map_err(|error| error.to_string())?;
        }
        Ok(event)
    }
}

/// Parses and verifies an export.
pub(crate) struct ExportReader<L> {
    lines: L,
    number: u64,
    check: CopyCheck,
}

/// A line that is invalid, or of an export that has a part of the log only.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct LineError {
    /// Which line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub message: String,
}

impl<L: BufRead> ExportReader<L> {
    /// Before the first line.
    pub(crate) fn of(lines: L) -> Self {
        Self { lines, number: 0, check: CopyCheck::default() }
    }

    /// The log that was exported; `None` before the first line.
    pub(crate) fn log_id(&self) -> Option<LogId> {
        self.check.log_id()
    }

    /// The checkpoint of all that was read; `None` = there was no line.
    pub(crate) fn finish(self, now: Timestamp) -> Option<Checkpoint> {
        self.check.finish(now)
    }

    /// The next events; empty at the end.
    pub(crate) fn page(&mut self) -> Result<Vec<Recorded>, LineError> {
        let mut page = Vec::with_capacity(BATCH);
        while page.len() < BATCH {
            let mut line = String::new();
            let read = self.lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line);
            self.number += 1;
            match read {
                Ok(0) => break,
                Ok(_) if line.ends_with('\n') => {}
                Ok(_) => return Err(self.wrong("it was cut off")),
                Err(error) => return Err(self.wrong(error)),
            }
            page.push(self.event(line.trim_end_matches('\n'))?);
        }
        Ok(page)
    }

    fn event(&mut self, line: &str) -> Result<Recorded, LineError> {
        let Parsed { log_id, partial, chained } =
            cloud_event::parse(line).map_err(|error| self.wrong(error))?;
        if partial {
            return Err(self.wrong("the export has a part of the log only: it cannot be put back"));
        }
        self.check.take(log_id, chained).map_err(|message| self.wrong(message))
    }

    fn wrong(&self, message: impl ToString) -> LineError {
        LineError { line: self.number, message: message.to_string() }
    }
}
