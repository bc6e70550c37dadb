//! The two files, as a verification reads them: in pages, over connections of its own, so that nobody waits for it.

use std::path::PathBuf;

use async_trait::async_trait;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::StreamId;
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{Holder, ReadError};

use super::raw::{self, COLUMNS};
use crate::audit::{Held, Identity, Row, Snapshot, Source, Unreadable};
use crate::sqlite::error::{Fault, fault, message};

/// Lines of `SQLite`'s own check that are told, at most.
const DAMAGE_LINES: u32 = 20;

/// Behind every text.
const LAST: &str = "\u{10ffff}";

/// `events.db`, and `views.db` where there is one.
#[derive(Clone)]
pub(in crate::sqlite) struct Files {
    pub(in crate::sqlite) identity: Identity,
    pub(in crate::sqlite) directory: PathBuf,
    pub(in crate::sqlite) log: SqlitePool,
    pub(in crate::sqlite) views: Option<SqlitePool>,
}

pub(super) fn unavailable(error: sqlx::Error) -> ReadError {
    ReadError::Unavailable(message(&error))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn is_damage(error: &sqlx::Error) -> bool {
    fault(error) == Fault::Damaged
}

impl Files {
    fn read(&self, rows: &[SqliteRow]) -> Vec<Row> {
        rows.iter().map(|row| raw::read(row, self.identity.epoch)).collect()
    }

    async fn page(
        &self,
        after: u64,
        until: u64,
        limit: usize,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let statement = format!(
            "SELECT {COLUMNS} FROM events WHERE position > ? AND position <= ? \
             ORDER BY position LIMIT ?"
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(signed(after))
            .bind(signed(until))
            .bind(limit_of(limit))
            .fetch_all(&self.log)
            .await
    }

    /// A page in which the file is damaged: what can be read of it, row by row.
    async fn what_is_left(
        &self,
        mut after: u64,
        until: u64,
        limit: usize,
    ) -> Result<Vec<Row>, ReadError> {
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
            // Positions far away must not be asked for one by one.
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

    /// Number of the read model's live tables, with where it stands.
    async fn tables(&self) -> Option<(i64, Position)> {
        let row: (i64, String) =
            sqlx::query_as("SELECT tables, position FROM checkpoints WHERE name = 'entities'")
                .fetch_optional(self.views.as_ref()?)
                .await
                .ok()??;
        let position: Position = row.1.parse().ok()?;
        let ours = position == Position::START || position.epoch == self.identity.epoch;
        ours.then_some((row.0, position))
    }
}

#[async_trait]
impl Source for Files {
    fn identity(&self) -> Identity {
        self.identity
    }

    async fn head(&self) -> Result<Position, ReadError> {
        let head = "SELECT coalesce(max(position), 0) FROM events";
        let head: Result<i64, _> = sqlx::query_scalar(head).fetch_one(&self.log).await;
        let head = match head {
            // The table's end cannot be read: an index knows it too.
            Err(error) if is_damage(&error) => {
                let head = "SELECT coalesce(max(position), 0) FROM events INDEXED BY events_by_id";
                sqlx::query_scalar(head).fetch_one(&self.log).await
            }
            head => head,
        };
        let minor = u64::try_from(head.map_err(unavailable)?).unwrap_or_default();
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

    async fn rows(&self, after: u64, until: u64, limit: usize) -> Result<Vec<Row>, ReadError> {
        match self.page(after, until, limit).await {
            Ok(rows) => Ok(self.read(&rows)),
            Err(error) if is_damage(&error) => self.what_is_left(after, until, limit).await,
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn lives(
        &self,
        after: (&str, Version),
        until: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, ReadError> {
        let statement = format!(
            "SELECT {COLUMNS} FROM events WHERE aggregate_type = ? \
             AND (aggregate_id, sequence) > (?, ?) AND aggregate_id <= ? \
             ORDER BY aggregate_id, sequence LIMIT ?"
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(StreamId::ENTITY)
            .bind(after.0)
            .bind(signed(after.1.0))
            .bind(until.unwrap_or(LAST))
            .bind(limit_of(limit))
            .fetch_all(&self.log)
            .await;
        match rows {
            Ok(rows) => Ok(self.read(&rows)),
            // The damage is told already; what is behind it is compared with nothing.
            Err(error) if is_damage(&error) => Ok(Vec::new()),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn claims(&self, after: &str, limit: usize) -> Result<Vec<Held>, ReadError> {
        let rows = sqlx::query(
            "SELECT c.key, c.aggregate_type, c.aggregate_id, c.sequence, c.value, e.metadata \
             FROM claims c LEFT JOIN events e ON e.aggregate_type = c.aggregate_type \
             AND e.aggregate_id = c.aggregate_id AND e.sequence = c.sequence \
             WHERE c.key > ? ORDER BY c.key LIMIT ?",
        )
        .bind(after)
        .bind(limit_of(limit))
        .fetch_all(&self.log)
        .await;
        let rows = match rows {
            Err(error) if is_damage(&error) => Vec::new(),
            rows => rows.map_err(unavailable)?,
        };
        let held = |row: &SqliteRow| Held {
            key: ClaimKey(raw::lossy(row, 0)),
            holder: Holder {
                stream: StreamId { category: raw::lossy(row, 1), id: raw::lossy(row, 2) },
                version: unsigned(row, 3),
                value: raw::lossy(row, 4),
            },
            metadata: row.try_get(5).ok().flatten(),
        };
        Ok(rows.iter().map(held).collect())
    }

    async fn holder(&self, key: &ClaimKey) -> Result<Option<Holder>, ReadError> {
        let held = "SELECT aggregate_type, aggregate_id, sequence, value FROM claims WHERE key = ?";
        let row = sqlx::query(held).bind(&key.0).fetch_optional(&self.log).await;
        let holder = |row: SqliteRow| Holder {
            stream: StreamId { category: raw::lossy(&row, 0), id: raw::lossy(&row, 1) },
            version: unsigned(&row, 2),
            value: raw::lossy(&row, 3),
        };
        Ok(row.map_err(unavailable)?.map(holder))
    }

    async fn model(&self) -> Result<Option<Position>, ReadError> {
        Ok(self.tables().await.map(|(_, position)| position))
    }

    async fn snapshots(&self, after: &str, limit: usize) -> Result<Vec<Snapshot>, ReadError> {
        let (Some(views), Some((tables, _))) = (&self.views, self.tables().await) else {
            return Ok(Vec::new());
        };
        let statement = format!(
            "SELECT id, version, state, data FROM entities_v{tables} WHERE id > ? \
             ORDER BY id LIMIT ?"
        );
        let rows = sqlx::query(AssertSqlSafe(statement)).bind(after).bind(limit_of(limit));
        let rows = match rows.fetch_all(views).await {
            Err(error) if is_damage(&error) => Vec::new(),
            rows => rows.map_err(unavailable)?,
        };
        let snapshot = |row: &SqliteRow| Snapshot {
            id: raw::lossy(row, 0),
            version: unsigned(row, 1),
            state: raw::lossy(row, 2),
            data: raw::lossy(row, 3),
        };
        Ok(rows.iter().map(snapshot).collect())
    }

    async fn set_aside(&self) -> Result<Vec<String>, ReadError> {
        let Some(views) = &self.views else { return Ok(Vec::new()) };
        let streams = sqlx::query("SELECT stream FROM quarantine WHERE model = 'entities'");
        // Without such a table there is no read model either.
        let rows = streams.fetch_all(views).await.unwrap_or_default();
        Ok(rows.iter().map(|row| raw::lossy(row, 0)).collect())
    }
}

fn unsigned(row: &SqliteRow, index: usize) -> Version {
    let number: i64 = row.try_get(index).unwrap_or_default();
    Version(u64::try_from(number).unwrap_or_default())
}
