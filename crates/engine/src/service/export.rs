//! A copy of the log as lines, read while it is sent: it never holds more than a page.

use std::sync::Arc;

use stateward_domain::cloud_event;
use stateward_domain::envelope::Recorded;
use stateward_domain::id::{Namespace, Position};
use stateward_domain::ports::audit::{Auditor, ChainedEvent};

use crate::error::Error;

/// Events read at a time.
const PAGE: usize = 500;

/// Which events. Empty lists do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only what comes after it.
    pub after: Position,
    /// The last position; `None` = the end of the log.
    pub until: Option<Position>,
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// Types of events.
    pub types: Vec<String>,
}

impl Selection {
    /// Whether chains are incomplete: such an export cannot be put back.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.after != Position::START || !self.namespaces.is_empty() || !self.types.is_empty()
    }

    fn fits(&self, event: &Recorded) -> bool {
        (self.types.is_empty() || self.types.contains(&event.event_type))
            && (self.namespaces.is_empty() || self.namespaces.contains(&event.envelope().namespace))
    }
}

/// An export that has begun.
pub struct Export {
    auditor: Arc<dyn Auditor>,
    selection: Selection,
    at: Position,
    until: Position,
}

impl Export {
    /// Of the log that `auditor` reads, whose last event is `head`.
    #[must_use]
    pub fn new(auditor: Arc<dyn Auditor>, selection: Selection, head: Position) -> Self {
        let until = selection.until.unwrap_or(head);
        Self { auditor, at: selection.after, selection, until }
    }

    /// What was asked for.
    #[must_use]
    pub const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The last position that is looked at.
    #[must_use]
    pub const fn until(&self) -> Position {
        self.until
    }

    /// How many lines it will have.
    ///
    /// # Errors
    /// [`Error::PositionGone`], [`Error::Unavailable`].
    pub async fn count(&self) -> Result<u64, Error> {
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

    /// The next lines, each with its end; `None` after the last one.
    ///
    /// # Errors
    /// [`Error::PositionGone`]; [`Error::Unavailable`], also for an event that cannot be read: then the export is not
    /// whole.
    pub async fn lines(&mut self) -> Result<Option<String>, Error> {
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
