//! Imports an export into an empty store: the same log in a new epoch.

use std::io::BufRead;
use std::path::Path;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteSynchronous;
use stateward_domain::audit::Checkpoint;
use stateward_domain::entity::claims::{self, Claim, ClaimKey};
use stateward_domain::envelope::{NewEvent, Recorded, StreamId};
use stateward_domain::time::Timestamp;

use crate::audit::{
    AuditSource, ClaimRecord, EntityReplay, EntityReplays, ExportReader, LineError, ReplayedStream,
};
use crate::shared::chain::SealedEvent;
use crate::shared::stored_row::signed;
use crate::sqlite::audit::offline;
use crate::sqlite::error::{OpenError, RESTORE, message};
use crate::sqlite::files::database::log_file;
use crate::sqlite::files::install::{StagedInstall, close_connection};
use crate::sqlite::files::object_claims::ObjectClaims;
use crate::sqlite::log::batch;
use crate::sqlite::transaction::WriteConnection;

/// Why an export was not imported; then nothing was changed.
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
    /// The directory has a log with events, or cannot be written.
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// Imports the export `lines` into the store in `directory`, which must be empty: same ids, versions, times, bytes,
/// hashes and ordinals, the same log id, a new epoch. Claims are derived. Everything is verified while it is read.
/// Returns the log's checkpoint.
///
/// # Errors
/// [`ImportError`], with the line of the first fault; then nothing was changed.
pub async fn import(
    lines: impl BufRead,
    directory: &Path,
    now: Timestamp,
) -> Result<Checkpoint, ImportError> {
    require_empty(directory).await?;
    let mut install = StagedInstall::begin(directory)?;
    let path = install.stage("events.db");
    let mut reader = ExportReader::of(lines);
    let mut page = reader.page()?;
    let log_id = reader.log_id().ok_or(ImportError::Empty)?;
    let mut connection =
        WriteConnection::new(log_file(&path, SqliteSynchronous::Off, log_id).await?);
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.clone(), &error, RESTORE);
    // Numbers of a log that several processes write have gaps; here they have none.
    let mut next = 1;
    while !page.is_empty() {
        write(&mut connection, next, &page).await.map_err(failed)?;
        next += page.len() as u64;
        take_request_claims(&mut connection, &path, &page).await?;
        page = reader.page()?;
    }
    derive_claims(&mut connection, &path).await?;
    let floor = "UPDATE log SET time_floor = (SELECT max(recorded_at) FROM events)";
    sqlx::query(floor).execute(&mut *connection).await.map_err(failed)?;
    let moved = "PRAGMA wal_checkpoint(TRUNCATE)";
    sqlx::query(moved).execute(&mut *connection).await.map_err(failed)?;
    close_connection(connection.into_inner(), &path).await?;
    install.commit(now)?;
    reader.finish(now).ok_or(ImportError::Empty)
}

/// Refuses a directory whose log has events.
pub(super) async fn require_empty(directory: &Path) -> Result<(), ImportError> {
    let log = directory.join("events.db");
    match offline::open_files(&log, Path::new("")).await {
        Err(OpenError::Missing(_)) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(files) => {
            let head = files.head().await;
            files.log.close().await;
            let unknown = |error: stateward_domain::ports::event_store::ReadError| OpenError::Io {
                path: log.clone(),
                message: error.to_string(),
            };
            if head.map_err(unknown)?.minor > 0 {
                return Err(OpenError::Occupied(log).into());
            }
            Ok(())
        }
    }
}

async fn write(
    writer: &mut WriteConnection,
    first: u64,
    events: &[Recorded],
) -> Result<(), sqlx::Error> {
    let stored: Vec<NewEvent> = events
        .iter()
        .map(|event| NewEvent {
            id: event.id,
            event_type: event.event_type.clone(),
            schema_version: event.schema_version,
            payload: event.payload.clone(),
            metadata: event.metadata.clone(),
        })
        .collect();
    let rows: Vec<SealedEvent<'_>> = events
        .iter()
        .zip(&stored)
        .map(|(event, stored)| SealedEvent {
            stream: &event.stream,
            version: event.version,
            recorded_at: event.recorded_at,
            hash: event.hash,
            event: stored,
        })
        .collect();
    let mut transaction = writer.pipeline();
    batch::insert(&mut transaction, first, &rows).await?;
    transaction.commit().await?;
    Ok(())
}

/// Derives the claims from the events that were written to `path`.
async fn derive_claims(writer: &mut WriteConnection, path: &Path) -> Result<(), ImportError> {
    let files = offline::open_files(path, Path::new("")).await?;
    let broken =
        |message: String| OpenError::Damaged { path: path.to_owned(), message, advice: RESTORE };
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.to_owned(), &error, RESTORE);
    let mut objects = ObjectClaims::begin(writer).await.map_err(failed)?;
    let mut replays = EntityReplays::of(&files);
    while let Some(folded) = replays.next().await.map_err(|error| broken(error.to_string()))? {
        let ReplayedStream { replay, broken: None } = folded else {
            return Err(broken(folded.broken.unwrap_or_default()).into());
        };
        objects.add(writer, &replay).await.map_err(failed)?;
        take_entity_claims(writer, path, replay).await?;
    }
    files.log.close().await;
    Ok(objects.claim(writer).await.map_err(failed)?)
}

/// Takes the claims that only one entity can ever have held: all but those on objects.
async fn take_entity_claims(
    connection: &mut SqliteConnection,
    path: &Path,
    replay: EntityReplay,
) -> Result<(), ImportError> {
    for (key, record) in replay.held.into_iter().filter(|(key, _)| !key.is_on_object()) {
        if !insert_claim(connection, path, &replay.stream, &key, &record).await? {
            return Err(ImportError::HeldTwice(key));
        }
    }
    Ok(())
}

/// Takes the idempotency claims of control streams; those of entities come with their replays.
async fn take_request_claims(
    connection: &mut SqliteConnection,
    path: &Path,
    events: &[Recorded],
) -> Result<(), ImportError> {
    for event in events.iter().filter(|event| event.stream.category != StreamId::ENTITY) {
        if let Some(Claim::Take { key, value, .. }) = claims::of_request(&event.envelope(), 0) {
            insert_claim(connection, path, &event.stream, &key, &ClaimRecord::by(event, value))
                .await?;
        }
    }
    Ok(())
}

/// Whether `stream` could take the claim. An idempotency key that was forgotten may have been used again: the newest
/// one wins.
async fn insert_claim(
    connection: &mut SqliteConnection,
    path: &Path,
    stream: &StreamId,
    key: &ClaimKey,
    record: &ClaimRecord,
) -> Result<bool, ImportError> {
    let held = sqlx::query(
        "INSERT INTO claims (key, aggregate_type, aggregate_id, sequence, value, taken_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (key) DO UPDATE SET \
         aggregate_type = ?2, aggregate_id = ?3, sequence = ?4, value = ?5, taken_at = ?6 \
         WHERE key GLOB ?7 || '*' AND taken_at <= ?6",
    )
    .bind(&key.0)
    .bind(&stream.category)
    .bind(&stream.id)
    .bind(signed(record.version.0))
    .bind(&record.value)
    .bind(record.at.0)
    .bind(ClaimKey::IDEMPOTENCY)
    .execute(connection)
    .await;
    let held =
        held.map_err(|error| OpenError::Io { path: path.to_owned(), message: message(&error) })?;
    Ok(held.rows_affected() > 0 || key.0.starts_with(ClaimKey::IDEMPOTENCY))
}
