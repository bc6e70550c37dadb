//! Compares the rows of a page of entities with a fresh fold of their events.

use std::collections::BTreeMap;

use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::StreamId;
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::time::Timestamp;

use super::blocking::run_blocking;
use super::claim_check::ClaimCheck;
use super::entity_check::{CheckedEntity, EntityCheck};
use super::entity_replay::ClaimRecord;
use super::faults::Faults;
use super::table_row::{TableRow, differences};
use super::{AuditSource, ExpectedViews, RawRow, ViewPage, models, place};

/// Rows read at a time.
const PAGE: usize = 1_000;
/// Behind every version.
const LAST: Version = Version(i64::MAX.cast_unsigned());

/// State of the comparison.
pub(super) struct ViewCheck {
    pub(super) faults: Faults,
    pub(super) notes: Vec<String>,
    /// Entities whose rows were compared.
    pub(super) entities: u64,
    /// Events read.
    read: u64,
    /// By model: the newest event that a row contains and the model's checkpoint does not.
    pub(super) ahead: BTreeMap<&'static str, Position>,
    /// When the log's newest event was recorded.
    newest: Timestamp,
}

/// A page of entities by id, from one read transaction.
pub(super) struct EntityPage {
    views: ViewPage,
    /// The log's end, read after the views: no row can be ahead of it.
    head: Position,
}

impl EntityPage {
    /// # Errors
    /// When the source does not answer.
    pub(super) async fn read(source: &dyn AuditSource, after: &str) -> Result<Self, ReadError> {
        let views = source.view_page(after, PAGE).await?;
        Ok(Self { views, head: source.head().await? })
    }

    /// The last entity of the page; `None` = there are no more behind it.
    pub(super) fn until(&self) -> Option<String> {
        self.views.until.clone()
    }
}

/// A page while its events are read.
struct PageReplay {
    views: ViewCheck,
    page: EntityPage,
    now: Option<EntityCheck>,
    done: Vec<ReplayedEntity>,
    claims: Vec<(StreamId, ClaimKey, ClaimRecord)>,
}

/// An entity whose events were all folded.
struct ReplayedEntity {
    stream: StreamId,
    version: Version,
    fold: ExpectedViews,
    rows: Vec<TableRow>,
}

impl ViewCheck {
    pub(super) fn new(faults: Faults, newest: Timestamp) -> Self {
        let (notes, ahead) = (Vec::new(), BTreeMap::new());
        Self { faults, notes, entities: 0, read: 0, ahead, newest }
    }

    /// Folds the entities of a page, whose ids follow `after`, and compares their rows.
    ///
    /// # Errors
    /// When the source does not answer.
    pub(super) async fn compare(
        self,
        source: &dyn AuditSource,
        claims: &mut ClaimCheck,
        page: EntityPage,
        after: &str,
        done: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Self, ReadError> {
        let (mut after, until) = ((after.to_owned(), LAST), page.until());
        let (compared, claim_records) = (Vec::new(), Vec::new());
        let mut reading =
            PageReplay { views: self, page, now: None, done: compared, claims: claim_records };
        loop {
            let events = source.entity_events((&after.0, after.1), until.as_deref(), PAGE).await?;
            reading.views.read += events.len() as u64;
            let next = events.iter().rev().find_map(place);
            let next = next.filter(|next| *next > after);
            let ends = next.is_none();
            reading = run_blocking(move || {
                for row in &events {
                    reading.take(row);
                }
                if ends {
                    reading.end();
                    reading.orphans();
                }
                reading
            })
            .await?;
            // Flush early: streams without any row may outnumber those of the page by far.
            reading.flush(source, claims).await?;
            done(reading.views.read);
            match next {
                Some(next) => after = next,
                None => return Ok(reading.views),
            }
        }
    }
}

impl PageReplay {
    fn take(&mut self, row: &RawRow) {
        let stream = match row {
            Ok(event) => Some(&event.stream),
            Err(row) => row.stream.as_ref(),
        };
        let Some(stream) = stream else { return };
        if self.now.as_ref().is_none_or(|now| now.stream() != stream) {
            self.end();
            // Its fault was reported already.
            let broken = self.views.faults.affects(&stream.to_string());
            let stored = self.page.views.stored.remove(&stream.id).unwrap_or_default();
            let aside = self.page.views.set_aside.remove(&stream.id);
            let model_checkpoints = (self.page.views.entities, self.page.views.queue);
            let bounds = (self.page.head, self.views.newest);
            self.now =
                Some(EntityCheck::new(stream, stored, aside, model_checkpoints, bounds, broken));
        }
        let Some(now) = &mut self.now else { return };
        match row {
            Ok(event) => {
                if let Some(fault) = now.take(event) {
                    self.views.faults.add(fault);
                }
            }
            Err(_) => now.mark_unreadable(),
        }
    }

    fn end(&mut self) {
        let Some(ended) = self.now.take().and_then(EntityCheck::end) else { return };
        for fault in ended.faults {
            self.views.faults.add(fault);
        }
        self.views.notes.extend(ended.note);
        self.views.entities += u64::from(ended.compared);
        for (model, position) in ended.ahead {
            let newest = self.views.ahead.entry(model).or_default();
            *newest = position.furthest(*newest);
        }
        let stream = &ended.stream;
        let held = ended.held.into_iter().map(|(key, record)| (stream.clone(), key, record));
        self.claims.extend(held);
        let CheckedEntity { stream, version, fold, rows, .. } = ended;
        self.done.push(ReplayedEntity { stream, version, fold, rows });
    }

    /// Reports rows of entities without events.
    fn orphans(&mut self) {
        let views = &mut self.page.views;
        for (id, stored) in std::mem::take(&mut views.stored) {
            let stream = StreamId { category: StreamId::ENTITY.to_owned(), id };
            if self.views.faults.affects(&stream.to_string()) {
                continue;
            }
            for row in &stored.rows {
                let what = "the views know it, the log does not: its events are missing";
                self.views.faults.add(row.fault(None, what).of(&stream));
            }
        }
        for id in std::mem::take(&mut views.set_aside).into_keys() {
            let stream = StreamId { category: StreamId::ENTITY.to_owned(), id };
            self.views.faults.add(models::quarantine_fault(&stream, "the log has no events of it"));
        }
    }

    /// Compares the entities that are complete, then their claims.
    async fn flush(
        &mut self,
        source: &dyn AuditSource,
        claims: &mut ClaimCheck,
    ) -> Result<(), ReadError> {
        let (streams, folds): (Vec<_>, Vec<_>) = std::mem::take(&mut self.done)
            .into_iter()
            .map(|done| ((done.stream, done.version, done.rows), done.fold))
            .unzip();
        let expected = source.expected_rows(&folds).await?;
        for ((stream, version, rows), expected) in streams.into_iter().zip(expected) {
            for fault in differences(rows, &expected) {
                self.views.faults.add(fault.of(&stream).at_version(version));
            }
        }
        let mut held = std::mem::take(&mut self.claims);
        held.retain(|(_, key, record)| claims.is_due(key, record));
        claims.check(source, &held).await
    }
}
