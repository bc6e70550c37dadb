//! The log on PostgreSQL: appends go through the group commit, reads are of the primary.
//!
//! - `batch`, `conflicts`, `writer`: appends; `event_row`: rows of `events`
//! - `reader`: the log in order, without gaps; `notifications`: hints that it has grown

mod batch;
mod conflicts;
pub(super) mod event_row;
mod notifications;
mod reader;
mod writer;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{
    Append, AppendError, Appended, EventStore, Holder, LogPage, ReadError, may_have_more,
};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::{LogClock, Timestamp};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::event_row::{EventRow, page};
use self::reader::LogReader;
use super::connect::Database;
use super::error::{OpenError, store_error};
use super::identity::LogIdentity;
use super::schema;
use super::seen_events::SeenEvent;
use super::standby_barrier::StandbyBarrier;
use crate::shared::group_commit::{self, GroupCommitHandle};
use crate::shared::stored_row;
use crate::sql_value::{limit_of, unsigned};

/// Rows of one query of a page.
const ROWS: usize = 1_000;
/// Newest events whose times the clock continues.
const NEWEST: i64 = 1_024;

/// They are remembered too: a failover soon after may lose them.
const NEWEST_EVENTS: &str =
    "SELECT position, event_id, hash, recorded_at FROM events ORDER BY position DESC LIMIT $1";

static PAGE_OF_STREAM: LazyLock<String> = LazyLock::new(|| {
    page("aggregate_type = $1 AND aggregate_id = $2 AND sequence > $3", "sequence", "$4")
});
static PAGE_OF_LOG: LazyLock<String> =
    LazyLock::new(|| page("position > $1 AND position <= $2", "position", "$3"));

/// The event log of a database.
pub struct Log {
    database: Database,
    commits: GroupCommitHandle,
    reader: LogReader,
    barrier: StandbyBarrier,
    identity: LogIdentity,
    clock: LogClock,
    tasks: Vec<JoinHandle<()>>,
}

impl Log {
    /// Opens the log of `database`. `clock` continues from the newest times in it.
    ///
    /// # Errors
    /// [`OpenError`] in one line; nothing was changed.
    pub async fn open(database: Database, clock: impl Into<LogClock>) -> Result<Self, OpenError> {
        let clock = clock.into();
        let failed = |error: StoreError| OpenError::Database {
            database: database.name().to_owned(),
            message: error.to_string(),
        };
        let mut session = database.session().await.map_err(failed)?;
        let identity = schema::check(session.raw(), database.name()).await?;
        session.done();
        database.expect(&identity);
        let newest = session.fetch_all(sqlx::query_as(NEWEST_EVENTS).bind(NEWEST)).await;
        let newest: Vec<(i64, Uuid, Vec<u8>, i64)> =
            newest.map_err(|error| failed(store_error(error)))?;
        drop(session);
        let times = newest.iter().map(|(.., recorded_at)| *recorded_at);
        clock.begin_at(Timestamp(times.max().unwrap_or_default()));
        // Rows without a hash are of other programs.
        database.remember(newest.into_iter().filter_map(|(position, id, hash, at)| {
            let (position, recorded_at) = (position.unsigned_abs(), Timestamp(at));
            Some(SeenEvent { position, id, hash: hash.try_into().ok()?, recorded_at })
        }));
        let reader = LogReader::begin(database.clone(), identity.epoch).await.map_err(failed)?;
        let (appended, own) = (Arc::new(Notify::new()), fresh_id());
        let barrier = StandbyBarrier::new(database.clone());
        let writer = writer::LogWriter::new(
            database.clone(),
            clock.clone(),
            reader.clone(),
            identity.epoch,
            Arc::clone(&appended),
            barrier.clone(),
        );
        let mut tasks = vec![
            tokio::spawn(reader.clone().follow()),
            tokio::spawn(notify_of_appends(database.clone(), appended, own)),
            tokio::spawn(notify_of_checkpoints(database.clone(), own)),
        ];
        if database.listens() {
            let received = notifications::receive(database.clone(), reader.clone(), own);
            tasks.push(tokio::spawn(received));
        }
        let commits = group_commit::spawn(writer);
        Ok(Self { database, commits, reader, barrier, identity, clock, tasks })
    }

    /// The log's name, and the epoch of its positions.
    #[must_use]
    pub const fn identity(&self) -> &LogIdentity {
        &self.identity
    }

    /// Commits what is queued, and stops following the log. Idempotent.
    pub async fn close(&self) {
        self.commits.close().await;
        for task in &self.tasks {
            task.abort();
        }
        self.reader.close();
    }

    fn position(&self, minor: u64) -> Position {
        if minor == 0 {
            return Position::START;
        }
        Position { epoch: self.identity.epoch, major: 0, minor }
    }

    /// A page behind `after` of what was read in order: from memory, or from the table up to there.
    async fn page(&self, after: u64, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        if let Some(events) = self.reader.cached(after, limit) {
            return Ok(events);
        }
        let end = self.reader.end().cast_signed();
        let mut events: Vec<Recorded> = Vec::new();
        loop {
            let from = events.last().map_or(after, |last| last.position.minor);
            let rows = (limit - events.len()).min(ROWS);
            let query = sqlx::query_as(AssertSqlSafe(PAGE_OF_LOG.as_str()))
                .bind(from.cast_signed())
                .bind(end)
                .bind(limit_of(rows));
            let more = self.rows(query).await?;
            let full = may_have_more(&more, rows);
            events.extend(more);
            if !full || may_have_more(&events, limit) {
                return Ok(events);
            }
        }
    }

    async fn rows(&self, query: EventQuery) -> Result<Vec<Recorded>, StoreError> {
        let rows = self.database.fetch_all(query).await?;
        Ok(rows.into_iter().map(|row| row.in_epoch(self.identity.epoch)).collect())
    }
}

async fn notify_of_appends(database: Database, appended: Arc<Notify>, own: Uuid) {
    notifications::send(&database, notifications::LOG, &appended, own).await;
}

async fn notify_of_checkpoints(database: Database, own: Uuid) {
    let moved = &database.checkpoint_hints().moved;
    notifications::send(&database, notifications::CHECKPOINTS, moved, own).await;
}

type EventQuery =
    sqlx::query::QueryAs<'static, sqlx::Postgres, EventRow, sqlx::postgres::PgArguments>;

impl Drop for Log {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[async_trait]
impl EventStore for Log {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.commits.append(append).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        let mut events: Vec<Recorded> = Vec::new();
        loop {
            let from = events.last().map_or(after, |last| last.version);
            let rows = (limit - events.len()).min(ROWS);
            let query = sqlx::query_as(AssertSqlSafe(PAGE_OF_STREAM.as_str()))
                .bind(stream.category.clone())
                .bind(stream.id.clone())
                .bind(from.0.cast_signed())
                .bind(limit_of(rows));
            let more = self.rows(query).await?;
            let full = may_have_more(&more, rows);
            events.extend(more);
            if !full || may_have_more(&events, limit) {
                return Ok(events);
            }
        }
    }

    /// Behind the barrier: a decision that there is nothing to do rests on it.
    async fn head_of(&self, stream: &StreamId) -> Result<Version, ReadError> {
        let head = "SELECT coalesce(max(sequence), 0) FROM events \
             WHERE aggregate_type = $1 AND aggregate_id = $2";
        let query = sqlx::query_as(head).bind(&stream.category).bind(&stream.id);
        let (head,): (i64,) = self.database.fetch_one(query).await?;
        self.barrier.pass().await?;
        Ok(version(stream, head)?)
    }

    async fn read_log(&self, after: Position, limit: usize) -> Result<LogPage, ReadError> {
        self.check(after).await?;
        let mut events = self.page(after.minor, limit).await?;
        let behind = self.reader.known() > self.reader.end();
        if !may_have_more(&events, limit) && (events.is_empty() || behind) {
            self.reader.refresh().await?;
            events = self.page(after.minor, limit).await?;
        }
        Ok(LogPage::of(after, events))
    }

    async fn head(&self) -> Result<Position, ReadError> {
        let head = sqlx::query_as("SELECT coalesce(max(position), 0) FROM events");
        let (head,): (i64,) = self.database.fetch_one(head).await?;
        let head = unsigned(("events", "position"), "", head).map_err(store_error)?;
        self.reader.learn(head);
        Ok(self.position(head))
    }

    async fn check(&self, position: Position) -> Result<(), ReadError> {
        let Position { epoch, major, minor } = position;
        let ours = epoch == self.identity.epoch && major == 0;
        if position == Position::START || (ours && minor <= self.reader.known()) {
            return Ok(());
        }
        let head = self.head().await?;
        if ours && minor <= head.minor { Ok(()) } else { Err(ReadError::PositionGone { head }) }
    }

    async fn changed_after(&self, position: Position) {
        if position == Position::START || position.epoch == self.identity.epoch {
            self.reader.moved_past(position.minor).await;
        }
    }

    /// A holder of an idempotency claim is read behind the barrier: its request is answered from it.
    async fn holder(&self, key: &ClaimKey) -> Result<Option<Holder>, ReadError> {
        let holder =
            "SELECT aggregate_type, aggregate_id, sequence, value FROM claims WHERE key = $1";
        let row: Option<(String, String, i64, String)> =
            self.database.fetch_optional(sqlx::query_as(holder).bind(&key.0)).await?;
        let Some((category, id, sequence, value)) = row else { return Ok(None) };
        if key.0.starts_with(ClaimKey::IDEMPOTENCY) {
            self.barrier.pass().await?;
        }
        let stream = StreamId { category, id };
        let version = version(&stream, sequence)?;
        Ok(Some(Holder { stream, version, value }))
    }

    async fn held_under(
        &self,
        prefix: &str,
        after: &ClaimKey,
        limit: usize,
    ) -> Result<Vec<(ClaimKey, StreamId)>, ReadError> {
        // Upper bound: the prefix followed by the highest character sorts behind every key with the prefix.
        let held = "SELECT key, aggregate_type, aggregate_id FROM claims \
             WHERE key >= $1 AND key < $1 || chr(1114111) AND key > $2 ORDER BY key LIMIT $3";
        let query = sqlx::query_as(held).bind(prefix).bind(&after.0).bind(limit_of(limit));
        let rows: Vec<(String, String, String)> = self.database.fetch_all(query).await?;
        let held = |(key, category, id)| (ClaimKey(key), StreamId { category, id });
        Ok(rows.into_iter().map(held).collect())
    }

    async fn forget_claims_older_than(&self, age: Duration) -> Result<u64, ReadError> {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        // Steady time: a claim that a clock set forward would expire cannot be brought back when the clock returns.
        let before = self.clock.moment().steady.0.saturating_sub(age);
        Ok(forget_claims_before(&self.database, before).await?)
    }
}

/// Deletes idempotency claims that were taken before this steady time, in short transactions; returns their number. Rows
/// that an append holds are left to the next call.
async fn forget_claims_before(database: &Database, before: i64) -> Result<u64, StoreError> {
    const ROWS: u64 = 1_000;
    // The prefix is a literal in the statement, so that the partial index applies.
    let forget = format!(
        "DELETE FROM claims WHERE key = ANY (ARRAY(SELECT key FROM claims \
         WHERE taken_at < $1 AND starts_with(key, '{}') ORDER BY taken_at LIMIT {ROWS} \
         FOR UPDATE SKIP LOCKED))",
        ClaimKey::IDEMPOTENCY
    );
    let mut forgotten = 0;
    loop {
        let query = sqlx::query(AssertSqlSafe(forget.as_str())).bind(before);
        let deleted = database.execute(query).await?.rows_affected();
        forgotten += deleted;
        if deleted < ROWS {
            return Ok(forgotten);
        }
    }
}

fn version(stream: &StreamId, sequence: i64) -> Result<Version, StoreError> {
    stored_row::unsigned(("events", "sequence"), stream, sequence).map(Version)
}

#[expect(clippy::disallowed_methods, reason = "names a process; nothing is decided by it")]
fn fresh_id() -> Uuid {
    Uuid::new_v4()
}
