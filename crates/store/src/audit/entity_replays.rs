//! Replays the streams of all entities one after the other, read in pages.

use std::collections::VecDeque;

use async_trait::async_trait;
use stateward_domain::envelope::StreamId;
use stateward_domain::id::Version;
use stateward_domain::ports::event_store::ReadError;

use super::{AuditSource, EntityReplay, RawRow, place};

/// Events read at a time.
const PAGE: usize = 1_000;

/// Where the events of entities are read from.
#[async_trait]
pub(crate) trait EntityEvents: Send + Sync {
    /// Events of entities behind `after` (id and version), by id and version, at most `limit`.
    async fn events_after(
        &self,
        after: (&str, Version),
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError>;
}

#[async_trait]
impl<S: AuditSource> EntityEvents for S {
    async fn events_after(
        &self,
        after: (&str, Version),
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError> {
        self.entity_events(after, None, limit).await
    }
}

/// The fold of one stream, as far as it can be folded.
pub(crate) struct ReplayedStream {
    pub(crate) replay: EntityReplay,
    /// Why the fold ends before the stream does; `None` = it is complete.
    pub(crate) broken: Option<String>,
}

/// Folds the streams of entities in the order of their ids. Memory: one page and one entity.
pub(crate) struct EntityReplays<'f> {
    source: &'f dyn EntityEvents,
    after: (String, Version),
    page: VecDeque<RawRow>,
    ends: bool,
    current: Option<ReplayedStream>,
}

impl<'f> EntityReplays<'f> {
    pub(crate) fn of(source: &'f dyn EntityEvents) -> Self {
        let after = (String::new(), Version(0));
        Self { source, after, page: VecDeque::new(), ends: false, current: None }
    }

    /// The next entity; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<ReplayedStream>, ReadError> {
        while let Some(row) = self.row().await? {
            if let Some(whole) = self.take(&row) {
                return Ok(Some(whole));
            }
        }
        Ok(self.current.take())
    }

    /// Folds one row; returns the previous entity when the row begins another one.
    fn take(&mut self, row: &RawRow) -> Option<ReplayedStream> {
        let stream: &StreamId = match row {
            Ok(event) => &event.stream,
            Err(row) => row.stream.as_ref()?,
        };
        let another = self.current.as_ref().is_none_or(|folded| folded.replay.stream != *stream);
        let fresh = || ReplayedStream { replay: EntityReplay::new(stream.clone()), broken: None };
        let whole = if another { self.current.replace(fresh()) } else { None };
        if let Some(ReplayedStream { replay, broken }) =
            self.current.as_mut().filter(|it| it.broken.is_none())
        {
            *broken = match row {
                Ok(event) => replay.take(event).err(),
                Err(row) => Some(row.why.clone()),
            };
        }
        whole
    }

    async fn row(&mut self) -> Result<Option<RawRow>, ReadError> {
        if self.page.is_empty() && !self.ends {
            let page = self.source.events_after((&self.after.0, self.after.1), PAGE).await?;
            let last = page.iter().rev().find_map(place).filter(|last| *last > self.after);
            // A page that is bounded in bytes may be short without being the last one.
            self.ends = last.is_none();
            self.after = last.unwrap_or_default();
            self.page = page.into();
        }
        Ok(self.page.pop_front())
    }
}
