//! Derives the claims on objects from the events: for an import, and once for a log that an older version wrote.
//!
//! Older versions let two entities hold one object. The one that took it first gets the claim, the other one becomes
//! a contender. The first one is known only at the end, so holdings are collected in a temporary table.

use std::borrow::Cow;
use std::path::Path;

use sqlx::SqliteConnection;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::StreamId;

use crate::audit::{ClaimRecord, EntityReplay, EntityReplays, ReplayedStream};
use crate::shared::stored_row::signed;
use crate::sqlite::audit::offline;
use crate::sqlite::error::{OpenError, RESTORE};
use crate::sqlite::transaction::{Insert, Values, WriteConnection};

/// Rows written at a time.
const BATCH: usize = 4_096;

const TABLE: &str = "CREATE TEMP TABLE objects (key TEXT NOT NULL, entity TEXT NOT NULL, \
                     sequence INTEGER NOT NULL, at INTEGER NOT NULL, position INTEGER NOT NULL)";

const OBJECTS: Insert = Insert {
    table: Cow::Borrowed("temp.objects"),
    columns: &["key", "entity", "sequence", "at", "position"],
    conflict: "",
};

const CLAIM: &str = "INSERT INTO claims (key, aggregate_type, aggregate_id, sequence, value, taken_at) \
    SELECT CASE place WHEN 1 THEN key ELSE ? || substr(key, 1 + length(?)) || '/' || entity END, \
    ?, entity, sequence, '', at FROM \
    (SELECT *, row_number() OVER (PARTITION BY key ORDER BY position) AS place FROM temp.objects)";

/// Holdings of all entities, until it is known which came first.
pub(in crate::sqlite) struct ObjectClaims {
    rows: Vec<(ClaimKey, String, ClaimRecord)>,
}

impl ObjectClaims {
    pub(in crate::sqlite) async fn begin(
        writer: &mut WriteConnection,
    ) -> Result<Self, sqlx::Error> {
        sqlx::query(TABLE).execute(&mut **writer).await?;
        Ok(Self { rows: Vec::new() })
    }

    pub(in crate::sqlite) async fn add(
        &mut self,
        writer: &mut WriteConnection,
        replay: &EntityReplay,
    ) -> Result<(), sqlx::Error> {
        let held = replay.held.iter().filter(|(key, _)| key.is_on_object());
        let id = &replay.stream.id;
        self.rows.extend(held.map(|(key, record)| (key.clone(), id.clone(), record.clone())));
        if self.rows.len() < BATCH { Ok(()) } else { self.flush(writer).await }
    }

    /// Inserts all claims and sets `objects_claimed`, in one transaction.
    pub(in crate::sqlite) async fn claim(
        mut self,
        writer: &mut WriteConnection,
    ) -> Result<(), sqlx::Error> {
        self.flush(writer).await?;
        let mut transaction = writer.pipeline();
        let values = transaction.push(CLAIM);
        values.push(ClaimKey::CONTENDER).push(ClaimKey::OBJECT).push(StreamId::ENTITY);
        transaction.push("UPDATE log SET objects_claimed = 1");
        transaction.commit().await?;
        sqlx::query("DROP TABLE temp.objects").execute(&mut **writer).await?;
        Ok(())
    }

    async fn flush(&mut self, writer: &mut WriteConnection) -> Result<(), sqlx::Error> {
        let bind = |values: &mut Values, (key, id, record): &(ClaimKey, String, ClaimRecord)| {
            values
                .push(key.0.clone())
                .push(id.clone())
                .push(signed(record.version.0))
                .push(record.at.0)
                .push(signed(record.position.minor));
        };
        let mut transaction = writer.pipeline();
        transaction.insert(&OBJECTS, &self.rows, bind).await?;
        transaction.commit().await?;
        self.rows.clear();
        Ok(())
    }
}

/// Takes the claims on objects of the log in `path`, unless that was done already: reads all events, once. A stream
/// that cannot be folded to its end holds what it held up to the broken event.
pub(in crate::sqlite) async fn derive_once(
    log: SqliteConnection,
    path: &Path,
) -> Result<SqliteConnection, OpenError> {
    let mut writer = WriteConnection::new(log);
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.to_owned(), &error, RESTORE);
    let claimed = sqlx::query_scalar("SELECT objects_claimed FROM log");
    if claimed.fetch_one(&mut *writer).await.map_err(failed)? {
        return Ok(writer.into_inner());
    }
    let files = offline::open_files(path, Path::new("")).await?;
    let mut objects = ObjectClaims::begin(&mut writer).await.map_err(failed)?;
    let mut replays = EntityReplays::of(&files);
    let mut entities = 0_u64;
    let unread = |error: stateward_domain::ports::event_store::ReadError| OpenError::Io {
        path: path.to_owned(),
        message: error.to_string(),
    };
    while let Some(ReplayedStream { replay, broken }) = replays.next().await.map_err(unread)? {
        if entities == 0 {
            tracing::info!(
                "an older version wrote the log: deriving who manages which object, once"
            );
        }
        entities += 1;
        if let Some(why) = broken {
            tracing::warn!(stream = %replay.stream, why, "cannot be folded to its end");
        }
        objects.add(&mut writer, &replay).await.map_err(failed)?;
    }
    files.log.close().await;
    objects.claim(&mut writer).await.map_err(failed)?;
    if entities > 0 {
        tracing::info!(entities, "derived who manages which object");
    }
    Ok(writer.into_inner())
}
