//! Audits of the embedded store: of a running one as well as of files without a server.
//!
//! - `file_source`: both files as a verification reads them; `untrusted_row`: rows without trust in their columns
//! - `view_page`: the stored rows; `shadow_tables`: the rows that would be written; `whole_tables`: tables that are
//!   compared as a whole
//! - `offline`: opening files without a server

pub(super) mod file_source;
pub(super) mod offline;
mod shadow_tables;
mod untrusted_row;
mod view_page;
mod whole_tables;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};
use stateward_domain::audit::{Checkpoint, Report};
use stateward_domain::id::{LogId, Position};
use stateward_domain::ports::audit::{Auditor as Port, ChainedEvent, ProgressFn};
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::Clock;
use tokio::sync::Mutex;

use crate::audit::{AuditSource, Chains, RunningDigest, chains, verify};
use crate::hash;
use crate::shared::event_columns::{EventColumn, SELECTED};
use crate::shared::stored_row::signed;
use crate::sql_value::{limit_of, unsigned};
use crate::sqlite::files::stale_views;
use crate::sqlite::log::event_row::POSITION;
use crate::sqlite::log::event_row::page;
use file_source::{FileSource, unavailable};

/// Hashes read at a time for a checkpoint.
const PAGE: i64 = 5_000;

/// Verifies and exports a log as it is stored.
pub struct Auditor {
    files: FileSource,
    clock: Arc<dyn Clock>,
    /// The digest up to a position, so that the next checkpoint reads only newer events.
    running: Mutex<(RunningDigest, i64)>,
}

impl Auditor {
    pub(super) fn new(files: FileSource, clock: Arc<dyn Clock>) -> Self {
        let running = Mutex::new((RunningDigest::new(files.identity.log_id), 0));
        Self { files, clock, running }
    }

    /// Position of the last event; [`Position::START`] when there is none.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub async fn head(&self) -> Result<Position, ReadError> {
        self.files.head().await
    }

    /// Verifies the chains alone, as a copy of a log needs.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub async fn chains(&self) -> Result<Chains, ReadError> {
        chains(&self.files, None, self.clock.now(), &|_| ()).await
    }

    /// Fails with [`ReadError::PositionGone`] unless `position` is of this log.
    async fn knows(&self, position: Position) -> Result<(), ReadError> {
        let head = self.files.head().await?;
        let known = position == Position::START
            || (position.epoch == head.epoch && position.minor <= head.minor);
        if known { Ok(()) } else { Err(ReadError::PositionGone { head }) }
    }
}

#[async_trait]
impl Port for Auditor {
    fn log_id(&self) -> LogId {
        self.files.identity.log_id
    }

    async fn verify(
        &self,
        against: Option<&Checkpoint>,
        progress: ProgressFn<'_>,
    ) -> Result<Report, ReadError> {
        let mut report = verify(&self.files, against, self.clock.now(), progress).await?;
        let kept = stale_views::retired(&self.files.directory).into_iter().map(|name| {
            format!("{name} was put aside by a start whose log was older: it may know what is gone")
        });
        report.notes.extend(kept);
        Ok(report)
    }

    async fn checkpoint(&self) -> Result<Checkpoint, ReadError> {
        let mut running = self.running.lock().await;
        loop {
            let next = "SELECT position, hash FROM events WHERE position > ? \
                        ORDER BY position LIMIT ?";
            let rows = sqlx::query(next).bind(running.1).bind(PAGE).fetch_all(&self.files.log);
            let rows = rows.await.map_err(unavailable)?;
            for row in &rows {
                running
                    .0
                    .take(untrusted_row::blob(row, 1).as_ref().map_or(&[], |hash| hash.as_slice()));
                running.1 = row.try_get(0).map_err(unavailable)?;
            }
            if rows.len() < usize::try_from(PAGE).unwrap_or_default() {
                break;
            }
        }
        let minor = unsigned(POSITION, "", running.1).map_err(unavailable)?;
        let position = Position { epoch: self.files.identity.epoch, major: 0, minor };
        Ok(Checkpoint {
            log_id: self.log_id(),
            position: if minor == 0 { Position::START } else { position },
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
        self.knows(after).await?;
        self.knows(until).await?;
        let columns = format!(
            "{}, (SELECT b.hash FROM events b WHERE b.aggregate_type = e.aggregate_type \
             AND b.aggregate_id = e.aggregate_id AND b.sequence = e.sequence - 1)",
            *SELECTED
        );
        let page = page(&columns, "position > ?1 AND position <= ?2", "position", "?3");
        let rows = sqlx::query(AssertSqlSafe(page))
            .bind(signed(after.minor))
            .bind(signed(until.minor))
            .bind(limit_of(limit))
            .fetch_all(&self.files.log)
            .await
            .map_err(unavailable)?;
        let chained = |row| {
            let event = untrusted_row::read(row, self.files.identity.epoch)
                .map_err(|row| StoreError::inconsistent(("events", ""), row.position, row.why))?;
            Ok(ChainedEvent {
                previous: untrusted_row::blob(row, EventColumn::Hash.place() + 1)
                    .unwrap_or(hash::GENESIS),
                event,
            })
        };
        rows.iter().map(chained).collect()
    }
}
