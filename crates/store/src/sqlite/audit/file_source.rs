//! Reads both files for a verification, in pages and over connections of its own, so that it delays no other reader.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};
use stateward_domain::audit::Fault;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::StreamId;
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{Holder, ReadError};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::Timestamp;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::shadow_tables::ShadowTables;
use super::{untrusted_row, view_page, whole_tables};
use crate::audit::{
    AuditSource, ClaimEvent, ExpectedViews, HeldClaim, Identity, QuarantinedStream, RawRow,
    StoredCheckpoint, TableRow, Unreadable, ViewPage,
};
use crate::shared::event_columns::SELECTED;
use crate::shared::stored_row::signed;
use crate::sql_value::{limit_of, unsigned};
use crate::sqlite::error::store_error;
use crate::sqlite::error::{SqliteErrorClass, classify, message};
use crate::sqlite::log::event_row::POSITION;
use crate::sqlite::log::event_row::page;

/// Lines of `SQLite`'s integrity check that are reported, at most.
const DAMAGE_LINES: u32 = 20;

/// Sorts behind every text.
const LAST: &str = "\u{10ffff}";

/// `events.db`, and `views.db`; `views` is `None` where the file is missing.
#[derive(Clone)]
pub(in crate::sqlite) struct FileSource {
    pub(in crate::sqlite) identity: Identity,
    pub(in crate::sqlite) directory: PathBuf,
    pub(in crate::sqlite) log: SqlitePool,
    pub(in crate::sqlite) views: Option<SqlitePool>,
    shadow_tables: Arc<OnceCell<Mutex<ShadowTables>>>,
}

pub(super) fn unavailable(error: sqlx::Error) -> ReadError {
    store_error(error).into()
}

fn is_damage(error: &sqlx::Error) -> bool {
    classify(error) == SqliteErrorClass::Damaged
}

impl FileSource {
    pub(in crate::sqlite) fn new(
        identity: Identity,
        directory: &Path,
        log: SqlitePool,
        views: Option<SqlitePool>,
    ) -> Self {
        Self {
            identity,
            directory: directory.to_owned(),
            log,
            views,
            shadow_tables: Arc::default(),
        }
    }

    fn read(&self, rows: &[SqliteRow]) -> Vec<RawRow> {
        rows.iter().map(|row| untrusted_row::read(row, self.identity.epoch)).collect()
    }

    async fn page(
        &self,
        after: u64,
        until: u64,
        limit: usize,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let page = page(&SELECTED, "position > ?1 AND position <= ?2", "position", "?3");
        sqlx::query(AssertSqlSafe(page))
            .bind(signed(after))
            .bind(signed(until))
            .bind(limit_of(limit))
            .fetch_all(&self.log)
            .await
    }

    /// Reads a page with a damaged part row by row, and skips what is damaged.
    async fn readable_rows(
        &self,
        mut after: u64,
        until: u64,
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError> {
        let mut rows = Vec::new();
        while rows.is_empty() && after < until {
            let end = until.min(after + limit as u64);
            for minor in after + 1..=end {
                match self.page(minor - 1, minor, 1).await {
                    Ok(found) => rows.extend(self.read(&found)),
                    Err(error) if is_damage(&error) => rows.push(Err(Box::new(Unreadable {
                        position: Position { epoch: self.identity.epoch, major: 0, minor },
                        stream: None,
                        version: None,
                        hash: None,
                        why: message(&error),
                        nearly: None,
                    }))),
                    Err(error) => return Err(unavailable(error)),
                }
            }
            // Jump over a gap: positions far away must not be read one by one.
            let next = sqlx::query_scalar("SELECT min(position) FROM events WHERE position > ?");
            let next: Option<i64> =
                next.bind(signed(end)).fetch_one(&self.log).await.unwrap_or_default();
            let Some(next) = next.and_then(|next| u64::try_from(next).ok()) else { break };
            after = next - 1;
        }
        Ok(rows)
    }

    async fn check(pool: &SqlitePool, file: &str) -> Result<Vec<String>, ReadError> {
        let statement = format!("PRAGMA integrity_check({DAMAGE_LINES})");
        let lines = sqlx::query_scalar::<_, String>(AssertSqlSafe(statement)).fetch_all(pool).await;
        let lines = match lines {
            Ok(lines) => lines,
            Err(error) if is_damage(&error) => vec![message(&error)],
            Err(error) => return Err(unavailable(error)),
        };
        let damaged = lines.into_iter().filter(|line| line != "ok");
        Ok(damaged.map(|line| format!("{file}: {}", line.replace('\n', " "))).collect())
    }

    /// Claims with the events that took them. `restrict` is an SQL condition with one question mark, for `value`.
    async fn claims_where(
        &self,
        restrict: &str,
        value: String,
        limit: i64,
    ) -> Result<Vec<HeldClaim>, ReadError> {
        let statement = format!(
            "SELECT c.key, c.aggregate_type, c.aggregate_id, c.sequence, c.value, c.taken_at, \
             e.metadata, e.recorded_at, n.metadata, e.position FROM claims c \
             LEFT JOIN events e ON e.aggregate_type = c.aggregate_type \
             AND e.aggregate_id = c.aggregate_id AND e.sequence = c.sequence \
             LEFT JOIN events n ON n.aggregate_type = c.aggregate_type \
             AND n.aggregate_id = c.aggregate_id AND n.sequence = c.sequence + 1 \
             WHERE {restrict} ORDER BY c.key LIMIT ?"
        );
        let rows = sqlx::query(AssertSqlSafe(statement)).bind(value).bind(limit);
        match rows.fetch_all(&self.log).await {
            Err(error) if is_damage(&error) => Ok(Vec::new()),
            rows => {
                let rows = rows.map_err(unavailable)?;
                Ok(rows.iter().map(|row| held_claim(row, self.identity.epoch)).collect())
            }
        }
    }

    /// The shadow tables; created on first use.
    async fn shadow_tables(&self) -> Result<MutexGuard<'_, ShadowTables>, ReadError> {
        let made = async || ShadowTables::open().await.map(Mutex::new).map_err(unavailable);
        Ok(self.shadow_tables.get_or_try_init(made).await?.lock().await)
    }
}

fn held_claim(row: &SqliteRow, epoch: u32) -> HeldClaim {
    let text = |place| row.try_get::<Option<String>, _>(place).ok().flatten();
    let time = |place| Timestamp(row.try_get(place).unwrap_or(i64::MAX));
    let minor = row.try_get::<i64, _>(9).ok().and_then(|minor| u64::try_from(minor).ok());
    let position = Position { epoch, major: 0, minor: minor.unwrap_or(u64::MAX) };
    HeldClaim {
        key: ClaimKey(untrusted_row::lossy(row, 0)),
        holder: Holder {
            stream: StreamId {
                category: untrusted_row::lossy(row, 1),
                id: untrusted_row::lossy(row, 2),
            },
            version: stored_version(row, 3),
            value: untrusted_row::lossy(row, 4),
        },
        taken_at: time(5),
        event: text(6).map(|metadata| ClaimEvent {
            metadata,
            recorded_at: time(7),
            position,
            next: text(8),
        }),
    }
}

#[async_trait]
impl AuditSource for FileSource {
    fn identity(&self) -> Identity {
        self.identity
    }

    async fn head(&self) -> Result<Position, ReadError> {
        let head = "SELECT coalesce(max(position), 0) FROM events";
        let head: Result<i64, _> = sqlx::query_scalar(head).fetch_one(&self.log).await;
        let head = match head {
            // The table's end cannot be read: an index has the positions too.
            Err(error) if is_damage(&error) => {
                let head = "SELECT coalesce(max(position), 0) FROM events INDEXED BY events_by_id";
                sqlx::query_scalar(head).fetch_one(&self.log).await
            }
            head => head,
        };
        let minor = head.and_then(|head| unsigned(POSITION, "", head)).map_err(unavailable)?;
        let position = Position { epoch: self.identity.epoch, major: 0, minor };
        Ok(if minor == 0 { Position::START } else { position })
    }

    async fn damage(&self) -> Result<Vec<String>, ReadError> {
        let mut lines = Self::check(&self.log, "events.db").await?;
        if let Some(views) = &self.views {
            lines.extend(Self::check(views, "views.db").await?);
        }
        Ok(lines)
    }

    async fn size(&self) -> Result<u64, ReadError> {
        Ok(self.head().await?.minor)
    }

    async fn rows(
        &self,
        after: Position,
        until: Position,
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError> {
        let (after, until) = (after.minor, until.minor);
        match self.page(after, until, limit).await {
            Ok(rows) => Ok(self.read(&rows)),
            Err(error) if is_damage(&error) => self.readable_rows(after, until, limit).await,
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn entity_events(
        &self,
        after: (&str, Version),
        until: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError> {
        let condition = "aggregate_type = ?1 AND (aggregate_id, sequence) > (?2, ?3) \
                         AND aggregate_id <= ?4";
        let rows =
            sqlx::query(AssertSqlSafe(page(&SELECTED, condition, "aggregate_id, sequence", "?5")))
                .bind(StreamId::ENTITY)
                .bind(after.0)
                .bind(signed(after.1.0))
                .bind(until.unwrap_or(LAST))
                .bind(limit_of(limit))
                .fetch_all(&self.log);
        match rows.await {
            Ok(rows) => Ok(self.read(&rows)),
            // The damage was reported already; what is behind it is not compared.
            Err(error) if is_damage(&error) => Ok(Vec::new()),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn claims_objects(&self) -> Result<bool, ReadError> {
        let marked = "SELECT count(*) FROM pragma_table_info('log') WHERE name = 'objects_claimed'";
        let marked: Result<i64, _> = sqlx::query_scalar(marked).fetch_one(&self.log).await;
        if marked.map_err(unavailable)? == 0 {
            return Ok(false);
        }
        let claimed = "SELECT objects_claimed FROM log";
        sqlx::query_scalar(claimed).fetch_one(&self.log).await.map_err(unavailable)
    }

    async fn claims(&self, after: &str, limit: usize) -> Result<Vec<HeldClaim>, ReadError> {
        self.claims_where("c.key > ?", after.to_owned(), limit_of(limit)).await
    }

    async fn claims_of(&self, keys: &[&ClaimKey]) -> Result<Vec<HeldClaim>, ReadError> {
        let keys = serde_json::to_string(keys).expect("strings are JSON");
        self.claims_where("c.key IN (SELECT value FROM json_each(?))", keys, i64::MAX).await
    }

    async fn checkpoints(&self) -> Result<Option<Vec<StoredCheckpoint>>, ReadError> {
        let Some(views) = &self.views else { return Ok(None) };
        let mut connection = views.acquire().await.map_err(unavailable)?;
        match view_page::checkpoints(&mut connection).await {
            Err(error) if is_damage(&error) => Ok(Some(Vec::new())),
            rows => rows.map(Some).map_err(unavailable),
        }
    }

    async fn quarantine(
        &self,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<QuarantinedStream>, ReadError> {
        let Some(views) = &self.views else { return Ok(Vec::new()) };
        let mut connection = views.acquire().await.map_err(unavailable)?;
        match view_page::quarantine(&mut connection, after, limit_of(limit)).await {
            Err(error) if is_damage(&error) => Ok(Vec::new()),
            rows => rows.map_err(unavailable),
        }
    }

    async fn view_page(&self, after: &str, limit: usize) -> Result<ViewPage, ReadError> {
        let Some(views) = &self.views else { return Ok(ViewPage::default()) };
        let tables = Arc::clone(&self.shadow_tables().await?.entity_tables);
        let (epoch, limit) = (self.identity.epoch, limit_of(limit));
        let mut moment = views.begin().await.map_err(unavailable)?;
        let page = view_page::page(&mut moment, epoch, &tables, after, limit).await;
        match page {
            // The damage was reported already; nothing is compared with it.
            Err(error) if is_damage(&error) => Ok(ViewPage::default()),
            page => page.map_err(unavailable),
        }
    }

    async fn whole_table_faults(&self) -> Result<Vec<Fault>, ReadError> {
        let Some(views) = &self.views else { return Ok(Vec::new()) };
        let mut shadow_tables = self.shadow_tables().await?;
        let mut moment = views.begin().await.map_err(unavailable)?;
        let faults = whole_tables::faults(&mut moment, &mut shadow_tables).await;
        faults.map_err(|error| ReadError::Store(StoreError::unavailable(error)))
    }

    async fn expected_rows(
        &self,
        folds: &[ExpectedViews],
    ) -> Result<Vec<Vec<TableRow>>, ReadError> {
        if folds.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.shadow_tables().await?.rows(folds).await;
        rows.map_err(|error| ReadError::Store(StoreError::unavailable(error)))
    }
}

fn stored_version(row: &SqliteRow, index: usize) -> Version {
    let number: i64 = row.try_get(index).unwrap_or_default();
    Version(u64::try_from(number).unwrap_or_default())
}
