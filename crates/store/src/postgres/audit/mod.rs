//! Audits of the log as it is stored, in pages: no snapshot outlives a page of it.
//!
//! - `log_source`: the log as a verification reads it; `untrusted_row`: its rows without trust in them
//! - `stream_heads`: the heads of streams, compared with the events
//! - `view_page`: the stored rows of the views; `whole_tables`: tables that are compared as a whole
//!
//! Invariant: a pass ends at a position below which everything is decided, so no append in flight shows as a gap.

mod log_source;
pub(super) mod stream_heads;
pub(super) mod untrusted_row;
mod view_page;
mod whole_tables;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};
use stateward_domain::audit::{Checkpoint, Report};
use stateward_domain::id::{LogId, Position};
use stateward_domain::ports::audit::{Auditor as Port, ChainedEvent, ProgressFn};
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::Clock;
use tokio::sync::Mutex;

use self::log_source::LogSource;
use self::untrusted_row::UntrustedRow;
use super::connect::Database;
use super::error::OpenError;
use super::identity::LogIdentity;
use super::log::event_row::page_with;
use super::schema;
use crate::audit::{AuditSource as _, RunningDigest, verify};
use crate::hash;
use crate::sql_value::limit_of;

/// Hashes read at a time for a checkpoint.
const PAGE: usize = 5_000;

/// Verifies and exports the log of a database.
pub struct Auditor {
    source: LogSource,
    clock: Arc<dyn Clock>,
    /// The digest up to a position, so that the next checkpoint reads only newer events.
    running: Mutex<(RunningDigest, u64)>,
}

impl Auditor {
    /// Of the log `identity` in `database`.
    #[must_use]
    pub fn new(database: Database, identity: &LogIdentity, clock: Arc<dyn Clock>) -> Self {
        let running = Mutex::new((RunningDigest::new(identity.log_id), 0));
        Self { source: LogSource::new(database, identity), clock, running }
    }

    /// Of the log in `database`, beside processes that serve it; also of one that is fenced. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`] in one line.
    pub async fn beside(database: Database, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let identity = schema::present(&database).await?;
        Ok(Self::new(database, &identity, clock))
    }

    /// Fails with [`ReadError::PositionGone`] unless both positions are of this log.
    async fn check(&self, positions: [Position; 2]) -> Result<(), ReadError> {
        let head = self.source.last().await?;
        let known = |position: Position| {
            position == Position::START
                || (position.epoch == head.epoch
                    && position.major == 0
                    && position.minor <= head.minor)
        };
        if positions.into_iter().all(known) {
            Ok(())
        } else {
            Err(ReadError::PositionGone { head })
        }
    }
}

#[async_trait]
impl Port for Auditor {
    fn log_id(&self) -> LogId {
        self.source.identity().log_id
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
        let until = self.source.head().await?;
        while running.1 < until.minor {
            let next = "SELECT position, hash FROM events WHERE position > $1 AND position <= $2 \
                 ORDER BY position LIMIT $3";
            let query = sqlx::query_as(next)
                .bind(running.1.cast_signed())
                .bind(until.minor.cast_signed())
                .bind(limit_of(PAGE));
            let rows: Vec<(i64, Vec<u8>)> = self.source.database.fetch_all(query).await?;
            for (position, hash) in &rows {
                running.0.take(hash);
                running.1 = position.unsigned_abs();
            }
            if rows.is_empty() {
                break;
            }
        }
        Ok(Checkpoint {
            log_id: self.log_id(),
            position: self.source.position(running.1),
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
        self.check([after, until]).await?;
        let previous = "(SELECT b.hash FROM events b WHERE b.aggregate_type = counted.aggregate_type \
             AND b.aggregate_id = counted.aggregate_id AND b.sequence = counted.sequence - 1)";
        let page = page_with(previous, "position > $1 AND position <= $2", "position", "$3");
        // An export never passes an append in flight.
        let end = until.minor.min(self.source.head().await?.minor);
        let query = sqlx::query_as(AssertSqlSafe(page))
            .bind(after.minor.cast_signed())
            .bind(end.cast_signed())
            .bind(limit_of(limit));
        let rows: Vec<ChainedRow> = self.source.database.fetch_all(query).await?;
        let chained = |row: ChainedRow| {
            let event = row.event.in_epoch(self.source.identity().epoch);
            let event = event
                .map_err(|row| StoreError::inconsistent(("events", ""), row.position, row.why))?;
            Ok(ChainedEvent { previous: row.previous, event })
        };
        rows.into_iter().map(chained).collect()
    }
}

/// An event with the hash of its predecessor.
struct ChainedRow {
    event: UntrustedRow,
    previous: hash::Hash,
}

impl<'r> FromRow<'r, PgRow> for ChainedRow {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let previous: Option<&[u8]> = row.try_get(untrusted_row::COLUMNS)?;
        let previous = previous.and_then(|hash| hash.try_into().ok()).unwrap_or(hash::GENESIS);
        Ok(Self { event: UntrustedRow::from_row(row)?, previous })
    }
}
