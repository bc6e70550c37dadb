//! Writes a whole log into an empty database: the same ids, versions, times, bytes and hashes in a new epoch, under the
//! restore hold. Claims are derived.
//!
//! Invariant: meanwhile no process appends. An import is one transaction; a copy commits each page, and the log is fenced
//! until it is complete, so that a copy that broke off goes on where it was.

use std::io::BufRead;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use stateward_domain::audit::Checkpoint;
use stateward_domain::entity::claims::{self, Claim, ClaimKey};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{LogId, Version};
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::Timestamp;
use tokio::sync::Mutex;

use super::audit::untrusted_row::UntrustedRow;
use super::connect::Database;
use super::error::{OpenError, message, store_error};
use super::log::event_row::page;
use super::schema;
use super::session::Session;
use crate::audit::{
    ClaimRecord, EntityEvents, EntityReplay, EntityReplays, ExportReader, LineError, RawRow,
    ReplayedStream,
};
use crate::sql_value::limit_of;

/// Claims on objects that are written at a time.
const BATCH: usize = 4_096;

/// Every append begins with the lock: none comes in between.
const BEGIN: &[&str] = &[
    "BEGIN",
    "SET LOCAL idle_in_transaction_session_timeout = '10min'",
    "LOCK TABLE streams IN EXCLUSIVE MODE",
];
/// Whether there are events, whether the log is fenced, its id, and the name of a process that serves it.
const STATE: &str = "SELECT EXISTS (SELECT FROM events), l.fenced, l.log_id, \
     (SELECT name FROM stateward_views.members WHERE until > stateward_views.clock_or(NULL) LIMIT 1) FROM log l";

/// Why a log was not written; an import changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The line is invalid, or the export has a part of the log only.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The export has no line.
    #[error("the export is empty")]
    Empty,
    /// Two entities hold one claim.
    #[error("the events let two entities hold {0}")]
    HeldTwice(ClaimKey),
    /// The log has events.
    #[error("the log of the database {0} has events already")]
    Occupied(String),
    /// A process serves the log.
    #[error("{node} serves the database {database}: stop it first")]
    Served {
        /// Name of the database.
        database: String,
        /// Name of the process.
        node: String,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// Imports the export `lines` into the log of `database`, which must be empty and unserved, in one transaction: same ids,
/// versions, times, bytes and hashes, the same log id, a new epoch. Everything is verified while it is read. Returns the
/// log's checkpoint.
///
/// # Errors
/// [`ImportError`], with the line of the first fault; then nothing was changed.
pub async fn import(
    lines: impl BufRead,
    database: &Database,
    now: Timestamp,
) -> Result<Checkpoint, ImportError> {
    let mut reader = ExportReader::of(lines);
    let mut writer = LogImport::begin(database, None).await?;
    let mut page = reader.page()?;
    let log_id = reader.log_id().ok_or(ImportError::Empty)?;
    while !page.is_empty() {
        writer.write(&page).await?;
        page = reader.page()?;
    }
    writer.finish(log_id).await?;
    reader.finish(now).ok_or(ImportError::Empty)
}

/// A log that is being written. Dropped before [`finish`](Self::finish), an import leaves it as it was, and a copy leaves
/// it fenced, with whole pages.
pub(super) struct LogImport {
    database: String,
    session: Mutex<Session>,
    /// Whether each page is committed.
    paged: bool,
}

impl LogImport {
    /// Begins to write the log of `database`: whole, or as a copy of the log `log_id` by pages, which goes on with what
    /// an earlier one wrote.
    ///
    /// # Errors
    /// [`ImportError::Occupied`], [`ImportError::Served`], [`ImportError::Store`].
    pub(super) async fn begin(
        database: &Database,
        paged: Option<LogId>,
    ) -> Result<Self, ImportError> {
        schema::present(database).await?;
        let name = database.name().to_owned();
        let unavailable = |error: StoreError| OpenError::Database {
            database: name.clone(),
            message: error.to_string(),
        };
        let mut session = database.session().await.map_err(unavailable)?;
        let failed = |error: sqlx::Error| failure(&name, &error);
        let connection = session.raw();
        execute(connection, BEGIN).await.map_err(failed)?;
        let (events, fenced, log_id, node): (bool, bool, uuid::Uuid, Option<String>) =
            sqlx::query_as(STATE).fetch_one(&mut *connection).await.map_err(failed)?;
        if let Some(node) = node {
            return Err(ImportError::Served { database: name, node });
        }
        let goes_on = fenced && paged.is_some_and(|paged| paged.0 == log_id);
        if (events || fenced) && !goes_on {
            return Err(ImportError::Occupied(name));
        }
        if let Some(log_id) = paged {
            let fence = "UPDATE log SET log_id = $1, put_back = true, fenced = true";
            let fence = sqlx::query(fence).bind(log_id.0);
            fence.execute(&mut *connection).await.map_err(failed)?;
            execute(connection, &["COMMIT"]).await.map_err(failed)?;
        }
        Ok(Self { database: name, session: Mutex::new(session), paged: paged.is_some() })
    }

    /// Ids and hashes of the events that are there behind `after`, in order, with the position of the last one.
    pub(super) async fn written(
        &mut self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, uuid::Uuid, Vec<u8>)>, ImportError> {
        let name = self.database.clone();
        let rows = "SELECT position, event_id, hash FROM events WHERE position > $1 ORDER BY position LIMIT $2";
        let rows = sqlx::query_as(rows).bind(after).bind(limit_of(limit));
        let rows = rows.fetch_all(self.session.get_mut().raw()).await;
        rows.map_err(|error| failure(&name, &error))
    }

    /// Writes events that follow those before, in the order of the log; at most 1,000.
    pub(super) async fn write(&mut self, events: &[Recorded]) -> Result<(), ImportError> {
        let name = self.database.clone();
        let failed = |error: sqlx::Error| failure(&name, &error);
        let connection = self.session.get_mut().raw();
        if self.paged {
            execute(connection, &["BEGIN"]).await.map_err(failed)?;
        }
        insert_events(connection, events).await.map_err(failed)?;
        let control = events.iter().filter(|event| event.stream.category != StreamId::ENTITY);
        for event in control {
            if let Some(Claim::Take { key, value, .. }) = claims::of_request(&event.envelope(), 0) {
                let record = ClaimRecord::by(event, value);
                take(connection, &name, &event.stream, &key, &record).await?;
            }
        }
        if self.paged {
            execute(connection, &["COMMIT"]).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Derives everything else, and opens the log, in a new epoch and under the restore hold.
    pub(super) async fn finish(self, log_id: LogId) -> Result<(), ImportError> {
        let name = self.database.clone();
        let failed = |error: sqlx::Error| failure(&name, &error);
        if self.paged {
            let mut session = self.session.lock().await;
            execute(session.raw(), BEGIN).await.map_err(failed)?;
        }
        self.derive().await?;
        let mut session = self.session.into_inner();
        let connection = session.raw();
        // The epoch is another one than before, in the same range.
        let open = "UPDATE log SET log_id = $1, put_back = true, fenced = false, \
             epoch = (epoch + floor(random() * 4294967294)::bigint) % 4294967295 + 1";
        sqlx::query(open).bind(log_id.0).execute(&mut *connection).await.map_err(failed)?;
        sqlx::query("COMMIT").execute(&mut *connection).await.map_err(failed)?;
        session.done();
        Ok(())
    }

    /// Derives the heads of streams, and the claims of entities.
    async fn derive(&self) -> Result<(), ImportError> {
        let failed = |error: sqlx::Error| failure(&self.database, &error);
        {
            let mut session = self.session.lock().await;
            let heads = "INSERT INTO streams (aggregate_type, aggregate_id, version, before, hash, recorded_at) \
                 SELECT DISTINCT ON (aggregate_type, aggregate_id) aggregate_type, aggregate_id, sequence, \
                 sequence - 1, hash, recorded_at FROM events \
                 ORDER BY aggregate_type, aggregate_id, sequence DESC \
                 ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE SET version = excluded.version, \
                 before = excluded.before, hash = excluded.hash, recorded_at = excluded.recorded_at";
            // What an earlier end that broke off left is derived again.
            let claims = "DELETE FROM claims WHERE aggregate_type = 'entity'";
            let objects = "CREATE TEMP TABLE objects (key text COLLATE \"C\" NOT NULL, entity text NOT NULL, \
                 sequence bigint NOT NULL, at bigint NOT NULL, position bigint NOT NULL) ON COMMIT DROP";
            execute(session.raw(), &[heads, claims, objects]).await.map_err(failed)?;
        }
        let mut replays = EntityReplays::of(self);
        let mut objects = Vec::new();
        loop {
            let next = replays.next().await.map_err(|error| self.unreadable(error.to_string()))?;
            let Some(ReplayedStream { replay, broken }) = next else { break };
            if let Some(why) = broken {
                return Err(self.unreadable(format!("{}: {why}", replay.stream)));
            }
            self.take_all(replay, &mut objects).await?;
        }
        self.flush(&mut objects).await?;
        // Older versions let two entities hold one object: the first one has the claim, the others contend for it.
        let claim = "INSERT INTO claims (key, aggregate_type, aggregate_id, sequence, value, taken_at) \
             SELECT CASE place WHEN 1 THEN key ELSE $1 || substr(key, 1 + length($2)) || '/' || entity END, \
             $3, entity, sequence, '', at FROM \
             (SELECT *, row_number() OVER (PARTITION BY key ORDER BY position) AS place FROM objects) placed";
        let claim = sqlx::query(claim).bind(ClaimKey::CONTENDER).bind(ClaimKey::OBJECT);
        let claim = claim.bind(StreamId::ENTITY);
        claim.execute(self.session.lock().await.raw()).await.map_err(failed)?;
        Ok(())
    }

    /// Takes the claims of an entity; those on objects are collected, because the first holder is known at the end.
    async fn take_all(
        &self,
        replay: EntityReplay,
        objects: &mut Vec<(ClaimKey, String, ClaimRecord)>,
    ) -> Result<(), ImportError> {
        let (of_objects, others): (Vec<_>, Vec<_>) =
            replay.held.into_iter().partition(|(key, _)| key.is_on_object());
        let id = &replay.stream.id;
        objects.extend(of_objects.into_iter().map(|(key, record)| (key, id.clone(), record)));
        if objects.len() >= BATCH {
            self.flush(objects).await?;
        }
        let mut session = self.session.lock().await;
        for (key, record) in others {
            if !take(session.raw(), &self.database, &replay.stream, &key, &record).await? {
                return Err(ImportError::HeldTwice(key));
            }
        }
        Ok(())
    }

    async fn flush(
        &self,
        objects: &mut Vec<(ClaimKey, String, ClaimRecord)>,
    ) -> Result<(), ImportError> {
        let rows = || objects.iter();
        let keys: Vec<String> = rows().map(|(key, ..)| key.0.clone()).collect();
        let entities: Vec<String> = rows().map(|(_, entity, _)| entity.clone()).collect();
        let records = || rows().map(|(.., record)| record);
        let versions: Vec<i64> = records().map(|record| record.version.0.cast_signed()).collect();
        let times: Vec<i64> = records().map(|record| record.at.0).collect();
        let positions: Vec<i64> =
            records().map(|record| record.position.minor.cast_signed()).collect();
        let insert = "INSERT INTO objects SELECT * \
             FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])";
        let insert = sqlx::query(insert).bind(keys).bind(entities).bind(versions);
        let insert = insert.bind(times).bind(positions);
        let inserted = insert.execute(self.session.lock().await.raw()).await;
        inserted.map_err(|error| failure(&self.database, &error))?;
        objects.clear();
        Ok(())
    }

    fn unreadable(&self, fault: String) -> ImportError {
        OpenError::Damaged { database: self.database.clone(), fault }.into()
    }
}

#[async_trait]
impl EntityEvents for LogImport {
    async fn events_after(
        &self,
        after: (&str, Version),
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError> {
        let condition = "aggregate_type = $1 AND (aggregate_id, sequence) > ($2, $3)";
        let page = page(condition, "aggregate_id, sequence", "$4");
        let query = sqlx::query_as(AssertSqlSafe(page))
            .bind(StreamId::ENTITY)
            .bind(after.0.to_owned())
            .bind(after.1.0.cast_signed())
            .bind(limit_of(limit));
        let rows: Result<Vec<UntrustedRow>, _> =
            query.fetch_all(self.session.lock().await.raw()).await;
        Ok(rows.map_err(store_error)?.into_iter().map(|row| row.in_epoch(0)).collect())
    }
}

/// Inserts events at new positions, in their order.
async fn insert_events(
    connection: &mut PgConnection,
    events: &[Recorded],
) -> Result<(), sqlx::Error> {
    let texts = |text: fn(&Recorded) -> String| events.iter().map(text).collect::<Vec<String>>();
    let numbers = |number: fn(&Recorded) -> i64| events.iter().map(number).collect::<Vec<i64>>();
    let ids: Vec<uuid::Uuid> = events.iter().map(|event| event.id.0).collect();
    let hashes: Vec<Vec<u8>> = events.iter().map(|event| event.hash.to_vec()).collect();
    let insert = "INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, \
         payload, metadata, event_id, recorded_at, hash) \
         SELECT b.block * 1024 + o - 1, t, i, q, y, v, p::json, m::json, e, r, h \
         FROM (SELECT nextval('blocks') AS block) b, \
         unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], \
         $8::uuid[], $9::bigint[], $10::bytea[]) WITH ORDINALITY AS n (t, i, q, y, v, p, m, e, r, h, o)";
    sqlx::query(insert)
        .bind(texts(|event| event.stream.category.clone()))
        .bind(texts(|event| event.stream.id.clone()))
        .bind(numbers(|event| event.version.0.cast_signed()))
        .bind(texts(|event| event.event_type.clone()))
        .bind(texts(|event| event.schema_version.to_string()))
        .bind(texts(|event| event.payload.to_string()))
        .bind(texts(|event| event.metadata.to_string()))
        .bind(ids)
        .bind(numbers(|event| event.recorded_at.0))
        .bind(hashes)
        .execute(connection)
        .await
        .map(drop)
}

/// Whether `stream` could take the claim. An idempotency key that was forgotten may have been used again: the newest one
/// wins.
async fn take(
    connection: &mut PgConnection,
    database: &str,
    stream: &StreamId,
    key: &ClaimKey,
    record: &ClaimRecord,
) -> Result<bool, ImportError> {
    let idempotency = key.0.starts_with(ClaimKey::IDEMPOTENCY);
    let taken = sqlx::query(
        "INSERT INTO claims AS c (key, aggregate_type, aggregate_id, sequence, value, taken_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (key) DO UPDATE SET \
         aggregate_type = excluded.aggregate_type, aggregate_id = excluded.aggregate_id, \
         sequence = excluded.sequence, value = excluded.value, taken_at = excluded.taken_at \
         WHERE $7 AND c.taken_at <= excluded.taken_at",
    )
    .bind(key.0.clone())
    .bind(stream.category.clone())
    .bind(stream.id.clone())
    .bind(record.version.0.cast_signed())
    .bind(record.value.clone())
    .bind(record.at.0)
    .bind(idempotency)
    .execute(connection)
    .await;
    let taken = taken.map_err(|error| failure(database, &error))?;
    Ok(taken.rows_affected() > 0 || idempotency)
}

async fn execute(
    connection: &mut PgConnection,
    statements: &[&'static str],
) -> Result<(), sqlx::Error> {
    for statement in statements {
        sqlx::query(*statement).execute(&mut *connection).await?;
    }
    Ok(())
}

fn failure(database: &str, error: &sqlx::Error) -> ImportError {
    OpenError::Database { database: database.to_owned(), message: message(error) }.into()
}
