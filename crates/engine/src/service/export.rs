//! Export of the log as lines, read while it is sent: at most one page is in memory.

use std::sync::Arc;

use stateward_domain::cloud_event;
use stateward_domain::envelope::Recorded;
use stateward_domain::id::{Namespace, Position};
use stateward_domain::ports::audit::{Auditor, ChainedEvent};

use crate::error::QueryError;

/// Events read per page.
const PAGE: usize = 500;

/// Which events to export. Empty lists do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only events after this position.
    pub after: Position,
    /// The last position; `None` = the head of the log.
    pub until: Option<Position>,
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// Event types.
    pub types: Vec<String>,
}

impl Selection {
    /// Whether hash chains are incomplete, so that the export cannot be imported again.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.after != Position::START || !self.namespaces.is_empty() || !self.types.is_empty()
    }

    fn fits(&self, event: &Recorded) -> bool {
        (self.types.is_empty() || self.types.contains(&event.event_type))
            && (self.namespaces.is_empty() || self.namespaces.contains(&event.envelope().namespace))
    }
}

/// A running export.
pub struct Export {
    auditor: Arc<dyn Auditor>,
    selection: Selection,
    at: Position,
    until: Position,
}

impl Export {
    /// Exports from the log that `auditor` reads, up to `head` unless the selection ends earlier.
    #[must_use]
    pub fn new(auditor: Arc<dyn Auditor>, selection: Selection, head: Position) -> Self {
        let until = selection.until.unwrap_or(head);
        Self { auditor, at: selection.after, selection, until }
    }

    /// The requested selection.
    #[must_use]
    pub const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The last position that is read.
    #[must_use]
    pub const fn until(&self) -> Position {
        self.until
    }

    /// The number of lines.
    ///
    /// # Errors
    /// [`QueryError::PositionGone`], [`QueryError::Store`].
    pub async fn count(&self) -> Result<u64, QueryError> {
        let (mut at, mut count) = (self.selection.after, 0);
        loop {
            let links = self.auditor.chained_events(at, self.until, PAGE).await?;
            count += links.iter().filter(|link| self.selection.fits(&link.event)).count() as u64;
            match links.last() {
                Some(last) => at = last.event.position,
                None => return Ok(count),
            }
        }
    }

    /// The next lines, each with its line break; `None` after the last one.
    ///
    /// # Errors
    /// [`QueryError::PositionGone`]; [`QueryError::Store`], also for an event that cannot be read: the export is
    /// incomplete then.
    pub async fn lines(&mut self) -> Result<Option<String>, QueryError> {
        loop {
            let links = self.auditor.chained_events(self.at, self.until, PAGE).await?;
            let Some(last) = links.last() else { return Ok(None) };
            self.at = last.event.position;
            let (log_id, partial) = (self.auditor.log_id(), self.selection.is_partial());
            let fits = |link: &&ChainedEvent| self.selection.fits(&link.event);
            let line = |link| cloud_event::render(link, log_id, partial) + "\n";
            let text: String = links.iter().filter(fits).map(line).collect();
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
    }
}
