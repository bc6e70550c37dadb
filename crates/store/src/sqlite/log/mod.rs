//! The log in `events.db`: appends go through the group commit, reads are pages in short transactions.

pub(super) mod batch;
pub(super) mod event_row;
pub(super) mod writer;

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqlitePool;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{
    Append, AppendError, Appended, EventStore, Holder, LogPage, ReadError,
};
use stateward_domain::time::LogClock;

use crate::shared::event_columns::SELECTED;
use crate::shared::stored_row::signed;
use crate::sql_value::{limit_of, unsigned};
use crate::sqlite::error::store_error;
use crate::sqlite::log::event_row::VERSION;
use crate::sqlite::log::event_row::{EventRow, page};
use crate::sqlite::log::writer::LogWriterHandle;

/// The event log of the embedded store.
pub struct Log {
    writer: LogWriterHandle,
    readers: SqlitePool,
    epoch: u32,
    clock: LogClock,
}

impl Log {
    pub(in crate::sqlite) fn new(
        writer: LogWriterHandle,
        readers: SqlitePool,
        epoch: u32,
        clock: LogClock,
    ) -> Self {
        Self { writer, readers, epoch, clock }
    }

    /// Whether `position` can be of this log.
    pub(in crate::sqlite) fn contains(&self, position: Position) -> bool {
        position == Position::START
            || (position.epoch == self.epoch && position.minor <= self.writer.head())
    }

    pub(in crate::sqlite) async fn close(&self) {
        // The writer last: only a connection that writes can run the final checkpoint.
        self.readers.close().await;
        self.writer.commits().close().await;
    }

    /// The last position that readers may see. `SQLite` shows a commit a moment before the writer publishes it; a
    /// reader that saw such an event and then asked for the head would get an older one.
    fn visible(&self) -> i64 {
        signed(self.writer.head())
    }

    fn position(&self, minor: u64) -> Position {
        if minor == 0 {
            return Position::START;
        }
        Position { epoch: self.epoch, major: 0, minor }
    }
}

static PAGE_OF_STREAM: LazyLock<String> = LazyLock::new(|| {
    let condition =
        "aggregate_type = ?1 AND aggregate_id = ?2 AND sequence > ?3 AND position <= ?4";
    page(&SELECTED, condition, "sequence", "?5")
});

static PAGE_OF_LOG: LazyLock<String> =
    LazyLock::new(|| page(&SELECTED, "position > ?1 AND position <= ?2", "position", "?3"));

#[async_trait]
impl EventStore for Log {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.writer.commits().append(append).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        if self.writer.cache().version(stream) == Some(after) {
            return Ok(Vec::new());
        }
        let rows: Vec<EventRow> = sqlx::query_as(AssertSqlSafe(PAGE_OF_STREAM.as_str()))
            .bind(&stream.category)
            .bind(&stream.id)
            .bind(signed(after.0))
            .bind(self.visible())
            .bind(limit_of(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        Ok(rows.into_iter().map(|row| row.in_epoch(self.epoch)).collect())
    }

    async fn head_of(&self, stream: &StreamId) -> Result<Version, ReadError> {
        let head: i64 = sqlx::query_scalar(
            "SELECT coalesce(max(sequence), 0) FROM events \
             WHERE aggregate_type = ? AND aggregate_id = ? AND position <= ?",
        )
        .bind(&stream.category)
        .bind(&stream.id)
        .bind(self.visible())
        .fetch_one(&self.readers)
        .await
        .map_err(store_error)?;
        Ok(Version(unsigned(VERSION, &stream.id, head).map_err(store_error)?))
    }

    async fn read_log(&self, after: Position, limit: usize) -> Result<LogPage, ReadError> {
        if !self.contains(after) {
            return Err(ReadError::PositionGone { head: self.head().await? });
        }
        if let Some(newest) = self.writer.cache().after(after.minor, self.writer.head(), limit) {
            return Ok(LogPage::of(after, newest));
        }
        let rows: Vec<EventRow> = sqlx::query_as(AssertSqlSafe(PAGE_OF_LOG.as_str()))
            .bind(signed(after.minor))
            .bind(self.visible())
            .bind(limit_of(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        let events = rows.into_iter().map(|row| row.in_epoch(self.epoch)).collect();
        Ok(LogPage::of(after, events))
    }

    async fn head(&self) -> Result<Position, ReadError> {
        Ok(self.position(self.writer.head()))
    }

    async fn changed_after(&self, position: Position) {
        self.writer.moved_past(position.minor).await;
    }

    async fn holder(&self, key: &ClaimKey) -> Result<Option<Holder>, ReadError> {
        let row: Option<(String, String, i64, String)> = sqlx::query_as(
            "SELECT aggregate_type, aggregate_id, sequence, value \
             FROM claims JOIN events USING (aggregate_type, aggregate_id, sequence) \
             WHERE key = ? AND position <= ?",
        )
        .bind(&key.0)
        .bind(self.visible())
        .fetch_optional(&self.readers)
        .await
        .map_err(store_error)?;
        let Some((category, id, version, value)) = row else { return Ok(None) };
        let version = Version(unsigned(VERSION, &key.0, version).map_err(store_error)?);
        Ok(Some(Holder { stream: StreamId { category, id }, version, value }))
    }

    async fn held_under(
        &self,
        prefix: &str,
        after: &ClaimKey,
        limit: usize,
    ) -> Result<Vec<(ClaimKey, StreamId)>, ReadError> {
        // Upper bound: the prefix followed by the highest character sorts behind every key with the prefix.
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT key, aggregate_type, aggregate_id FROM claims \
             WHERE key >= ?1 AND key < ?1 || char(1114111) AND key > ?2 ORDER BY key LIMIT ?3",
        )
        .bind(prefix)
        .bind(&after.0)
        .bind(limit_of(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(store_error)?;
        let held = |(key, category, id)| (ClaimKey(key), StreamId { category, id });
        Ok(rows.into_iter().map(held).collect())
    }

    async fn forget_claims_older_than(&self, age: Duration) -> Result<u64, ReadError> {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        // Steady time: a claim that a clock set forward would expire cannot be brought back when the clock returns.
        let before = self.clock.moment().steady.0.saturating_sub(age);
        Ok(self.writer.commits().forget_claims_before(before).await?)
    }
}
