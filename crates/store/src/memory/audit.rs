//! Audits of the store in memory: its chains, its claims, and its rows against a fresh fold.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use stateward_domain::audit::{Checkpoint, Fault, Report};
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EntityId, LogId, Position, Version};
use stateward_domain::ports::audit::{Auditor, ChainedEvent, ProgressFn};
use stateward_domain::ports::event_store::{EventStore as _, ReadError, page_length};
use stateward_domain::ports::projection::Quarantined;
use stateward_domain::time::{Clock, LogClock};
use tokio::sync::Mutex;

use super::log::MemoryLog;
use super::queue::MemoryQueue;
use super::views::MemoryViews;
use crate::audit::{
    AuditSource, ENTITIES, ExpectedViews, HeldClaim, Identity, QUEUE, QuarantinedStream, RawRow,
    RunningDigest, StoredCheckpoint, StoredRows, TableRow, ViewPage, differences, rows_of,
    table_row, verify,
};
use crate::hash;
use crate::shared::views::labels_and_counts::{CountChange, Group};

/// Events read at a time for a checkpoint.
const PAGE: usize = 5_000;

/// Verifies and exports a log in memory.
pub struct MemoryAuditor {
    source: Source,
    clock: LogClock,
    /// The digest up to the event with this number, so that the next checkpoint reads only newer events.
    running: Mutex<(RunningDigest, u64)>,
}

/// What is verified.
struct Source {
    log: Arc<MemoryLog>,
    queue: Arc<MemoryQueue>,
    views: Arc<MemoryViews>,
}

impl MemoryAuditor {
    pub(super) fn new(
        (log, queue, views): (Arc<MemoryLog>, Arc<MemoryQueue>, Arc<MemoryViews>),
        clock: LogClock,
    ) -> Self {
        let running = Mutex::new((RunningDigest::new(log.log_id()), 0));
        Self { source: Source { log, queue, views }, clock, running }
    }
}

#[async_trait]
impl Auditor for MemoryAuditor {
    fn log_id(&self) -> LogId {
        self.source.log.log_id()
    }

    async fn verify(
        &self,
        against: Option<&Checkpoint>,
        progress: ProgressFn<'_>,
    ) -> Result<Report, ReadError> {
        verify(&self.source, against, self.clock.now(), progress).await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, ReadError> {
        let mut running = self.running.lock().await;
        loop {
            let page = self.source.log.events(running.1, u64::MAX, PAGE);
            for event in &page {
                running.0.take(&event.hash);
            }
            running.1 += page.len() as u64;
            if page.len() < PAGE {
                break;
            }
        }
        Ok(Checkpoint {
            log_id: self.log_id(),
            position: MemoryLog::position(running.1),
            count: running.0.count(),
            digest: running.0.digest(),
            taken_at: self.clock.now(),
        })
    }

    async fn chained_events(
        &self,
        after: Position,
        until: Position,
        limit: usize,
    ) -> Result<Vec<ChainedEvent>, ReadError> {
        self.source.log.check(after).await?;
        self.source.log.check(until).await?;
        let mut events = self.source.log.events(after.minor, until.minor, limit);
        events.truncate(page_length(events.iter().map(Recorded::size)));
        let chained = |event: Recorded| {
            let previous = self.source.log.event_before(&event);
            ChainedEvent { previous: previous.map_or(hash::GENESIS, |event| event.hash), event }
        };
        Ok(events.into_iter().map(chained).collect())
    }
}

#[async_trait]
impl AuditSource for Source {
    fn identity(&self) -> Identity {
        Identity { log_id: self.log.log_id(), epoch: MemoryLog::EPOCH, dense: true }
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.log.head().await
    }

    async fn damage(&self) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }

    async fn size(&self) -> Result<u64, ReadError> {
        Ok(self.log.head().await?.minor)
    }

    async fn rows(
        &self,
        after: Position,
        until: Position,
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError> {
        Ok(self.log.events(after.minor, until.minor, limit).into_iter().map(Ok).collect())
    }

    async fn entity_events(
        &self,
        after: (&str, Version),
        until: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError> {
        Ok(self.log.entity_events(after, until, limit).into_iter().map(Ok).collect())
    }

    async fn claims_objects(&self) -> Result<bool, ReadError> {
        Ok(true)
    }

    async fn claims(&self, after: &str, limit: usize) -> Result<Vec<HeldClaim>, ReadError> {
        Ok(self.log.claims_after(after, limit))
    }

    async fn claims_of(&self, keys: &[&ClaimKey]) -> Result<Vec<HeldClaim>, ReadError> {
        Ok(keys.iter().filter_map(|key| self.log.claim(key)).collect())
    }

    async fn checkpoints(&self) -> Result<Option<Vec<StoredCheckpoint>>, ReadError> {
        let checkpoint = |name: &str, position, tables| StoredCheckpoint {
            name: name.to_owned(),
            position: Some(position),
            tables,
            has_tables: true,
        };
        let (views, queue) = (self.views.stored(None, 0).await, self.queue.stored(None, 0));
        Ok(Some(vec![
            checkpoint(ENTITIES, views.checkpoint, 1),
            checkpoint(QUEUE, queue.checkpoint, 0),
        ]))
    }

    async fn quarantine(
        &self,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<QuarantinedStream>, ReadError> {
        let (views, queue) = (self.views.stored(None, 0).await, self.queue.stored(None, 0));
        let views = views.quarantined.into_iter().map(|entry| (ENTITIES, entry));
        let queue = queue.quarantined.into_iter().map(|entry| (QUEUE, entry));
        let behind = |(model, stream): (&str, &str)| (model, stream) > after;
        let all = views.chain(queue).filter(|(model, entry)| behind((model, &entry.stream)));
        let row = |(model, entry): (&str, Quarantined)| QuarantinedStream {
            model: model.to_owned(),
            stream: entry.stream,
            position: Some(entry.position),
        };
        Ok(all.take(limit).map(row).collect())
    }

    async fn view_page(&self, after: &str, limit: usize) -> Result<ViewPage, ReadError> {
        let after = after.parse::<EntityId>().ok();
        let views = self.views.stored(after, limit).await;
        let queue = self.queue.stored(after, limit);
        let ends = [views.until, queue.until];
        let until = ends.into_iter().flatten().min();
        let within = |id: EntityId| until.is_none_or(|until| id <= until);
        let mut page = ViewPage {
            entities: Some(views.checkpoint),
            queue: Some(queue.checkpoint),
            until: until.map(|id| id.to_string()),
            ..ViewPage::default()
        };
        for (entity, operations) in views.rows.into_iter().filter(|(row, _)| within(row.entity.id))
        {
            let stored = page.stored.entry(entity.entity.id.to_string()).or_default();
            stored.version = Some(entity.version);
            let fold = ExpectedViews { entity: Some((entity, operations)), queue_row: None };
            stored.rows.extend(rows_of(&fold));
        }
        for row in queue.rows.into_iter().filter(|row| within(row.entity)) {
            let stored: &mut StoredRows = page.stored.entry(row.entity.to_string()).or_default();
            let fold = ExpectedViews { entity: None, queue_row: Some(row) };
            stored.rows.extend(rows_of(&fold));
            stored.queue_row = fold.queue_row;
        }
        page.set_aside = set_aside(&views.quarantined, after, until);
        Ok(page)
    }

    async fn whole_table_faults(&self) -> Result<Vec<Fault>, ReadError> {
        let (stored, expected) = self.views.counts_and_those_of_rows().await;
        let row = |(group, by): (&Group, &i64)| {
            let Group { backend, kind, state, blocked, dead } = group;
            let key = format!("{backend} {kind} {state} {blocked} {}", i32::from(*dead));
            table_row("counts", ENTITIES, key, &CountChange { group, by: *by })
        };
        let expected: Vec<_> = expected.iter().map(row).collect();
        Ok(differences(stored.iter().map(row).collect(), &expected))
    }

    async fn expected_rows(
        &self,
        folds: &[ExpectedViews],
    ) -> Result<Vec<Vec<TableRow>>, ReadError> {
        Ok(folds.iter().map(rows_of).collect())
    }
}

/// The streams of entities behind `after`, up to and including `until`, that are in quarantine: by entity id.
fn set_aside(
    quarantined: &[Quarantined],
    after: Option<EntityId>,
    until: Option<EntityId>,
) -> HashMap<String, Position> {
    let entry = |entry: &Quarantined| {
        let id = entry.stream.parse::<StreamId>().ok()?.entity_id()?;
        let within = after.is_none_or(|after| id > after) && until.is_none_or(|until| id <= until);
        within.then(|| (id.to_string(), entry.position))
    };
    quarantined.iter().filter_map(entry).collect()
}
