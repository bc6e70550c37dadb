//! The log's name, and the life of its database. A position is of one epoch: a database that was restored or copied
//! elsewhere begins another one, because both could give the same positions to different events.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use stateward_domain::id::LogId;
use stateward_domain::ports::audit::LogLife;
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use crate::sql_value::undecodable;

/// What identifies the log, and this life of its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// The log's name for ever.
    pub log_id: LogId,
    /// The epoch of its positions.
    pub epoch: u32,
    /// Whether the log was restored or copied: nothing should act on backends before a person says so.
    pub put_back: bool,
    /// Whether it was moved elsewhere and takes no append.
    pub fenced: bool,
    /// When this epoch began because events were gone; `None` = none were missed.
    pub lost_at: Option<Timestamp>,
}

impl LogIdentity {
    /// What is known of the present life of the log. The hold is set with the begin of an epoch alone.
    pub(super) fn life(&self) -> LogLife {
        let held_epoch = self.put_back.then_some(self.epoch);
        LogLife { held: self.put_back, held_epoch, lost_at: self.lost_at }
    }
}

/// Age of the youngest sign of life at which no process remembers what the log had, in seconds.
const FORGOTTEN: i64 = 600;

/// Timeline of the server.
const TIMELINE: &str =
    "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint";

/// Time of a loss that is noticed now: no event that the log still has was recorded later, also where a wrong clock wrote
/// it. Clocks of nodes differ, so the last event is not always the newest.
const LOSS_TIME: &str = "greatest(stateward_views.clock_or(NULL), (SELECT max(recorded_at) FROM \
     (SELECT recorded_at FROM stateward.events ORDER BY position DESC LIMIT 1024) newest))";

/// Where the log is, compared with where it was.
pub(super) struct Place {
    /// What tells this server's data from that of any other; empty = unknown.
    server: String,
    /// Whether it is another server, or another database of it.
    pub(super) moved: bool,
    /// Whether it is on another timeline: a standby was promoted, or a moment was restored.
    pub(super) promoted: bool,
    /// Whether no process lived for as long as one would remember: neither a heartbeat nor an event is younger.
    forgotten: bool,
}

impl Place {
    pub(super) async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let server = system_identifier(connection).await;
        let read = format!(
            "SELECT NOT (l.database = d.oid AND (l.system_identifier IN ('', $1) OR $1 = '')), \
             l.timeline <> {TIMELINE}, \
             coalesce(greatest((SELECT max(until) FROM stateward_views.members), \
             (SELECT recorded_at FROM stateward.events ORDER BY position DESC LIMIT 1)), 0) \
             < stateward_views.clock_or(NULL) - $2 * 1000000 \
             FROM stateward.log l, pg_database d WHERE d.datname = current_database()"
        );
        let row: Option<(bool, bool, bool)> = sqlx::query_as(AssertSqlSafe(read))
            .bind(&server)
            .bind(FORGOTTEN)
            .fetch_optional(connection)
            .await?;
        // Without a row there is no log that could have been moved.
        let (moved, promoted, forgotten) = row.unwrap_or_default();
        Ok(Self { server, moved, promoted, forgotten })
    }
}

/// The identity of the log. In another server or database than it was in, or on another timeline that no process could
/// remember, it begins an epoch, and is marked as put back. `None`: the log has no row.
pub(super) async fn read(
    connection: &mut PgConnection,
) -> Result<Option<LogIdentity>, sqlx::Error> {
    let place = Place::of(connection).await?;
    let Some(found) = stored(connection).await? else { return Ok(None) };
    if found.fenced {
        return Ok(Some(found));
    }
    if place.moved || (place.promoted && place.forgotten) {
        begin_epoch(connection, found.epoch.into(), &place, true, None).await?;
    } else if place.promoted {
        keep_timeline(connection).await?;
    } else {
        return Ok(Some(found));
    }
    stored(connection).await
}

/// The log goes on, on the server's timeline.
pub(super) async fn keep_timeline(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let keep = format!("UPDATE stateward.log SET timeline = {TIMELINE}");
    sqlx::query(AssertSqlSafe(keep)).execute(connection).await.map(drop)
}

/// Begins an epoch in place of `before`; if another process did, it adds to that one (see [`note_loss`]). `held`: nothing may be changed on backends before a
/// person says so. `lost`: events that are gone. Positions of what is derived are of the new epoch then: a derived row
/// never knows an event that the log does not have, because its commit came later. A checkpoint that is ahead of the
/// log all the same stays as it is.
pub(super) async fn begin_epoch(
    connection: &mut PgConnection,
    before: i64,
    place: &Place,
    held: bool,
    lost: Option<u64>,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // Another epoch, in the same range.
    let begin = format!(
        "UPDATE stateward.log SET put_back = put_back OR $2, system_identifier = $3, database = d.oid, \
         timeline = {TIMELINE}, lost_events = coalesce($4, 0), \
         lost_at = CASE WHEN $4 IS NOT NULL THEN {LOSS_TIME} END, \
         epoch = (epoch + floor(random() * 4294967294)::bigint) % 4294967295 + 1 \
         FROM pg_database d WHERE d.datname = current_database() AND epoch = $1 \
         RETURNING lpad(to_hex(epoch), 8, '0')"
    );
    let epoch: Option<String> = sqlx::query_scalar(AssertSqlSafe(begin))
        .bind(before)
        .bind(held)
        .bind(&place.server)
        .bind(lost.map(u64::cast_signed))
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(epoch) = epoch else {
        transaction.rollback().await?;
        return match lost {
            Some(lost) => note_loss(connection, held, lost).await,
            None => Ok(()),
        };
    };
    for table in ["checkpoints", "sync_queue", "quarantine"] {
        let renew = format!(
            "UPDATE stateward_views.{table} SET position = $1 || substr(position, 9) \
             WHERE position <> repeat('0', 40) AND substr(position, 9) <= repeat('0', 16) || \
             lpad(to_hex((SELECT coalesce(max(position), 0) FROM stateward.events)), 16, '0')"
        );
        sqlx::query(AssertSqlSafe(renew)).bind(&epoch).execute(&mut *transaction).await?;
    }
    let seen = "UPDATE stateward_views.sync_leases SET seen = '' WHERE seen <> ''";
    sqlx::query(seen).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// Adds to an epoch that another process began what this one knows: that `lost` events are gone, and whether nothing may be
/// changed on backends before a person says so. Idempotent.
pub(super) async fn note_loss(
    connection: &mut PgConnection,
    held: bool,
    lost: u64,
) -> Result<(), sqlx::Error> {
    let note = format!(
        "UPDATE stateward.log SET put_back = put_back OR $1, lost_events = greatest(lost_events, $2), \
         lost_at = coalesce(lost_at, {LOSS_TIME}) WHERE ($1 AND NOT put_back) OR lost_events < $2"
    );
    let note = sqlx::query(AssertSqlSafe(note)).bind(held).bind(lost.cast_signed());
    note.execute(connection).await.map(drop)
}

/// The identity of the log as it is stored; `None`: the log has no row.
pub(super) async fn stored(
    connection: &mut PgConnection,
) -> Result<Option<LogIdentity>, sqlx::Error> {
    let row: Option<(Uuid, i64, bool, bool, Option<i64>)> =
        sqlx::query_as("SELECT log_id, epoch, put_back, fenced, lost_at FROM stateward.log")
            .fetch_optional(connection)
            .await?;
    let Some((log_id, epoch, put_back, fenced, lost_at)) = row else { return Ok(None) };
    let epoch = u32::try_from(epoch).map_err(|error| undecodable(("log", "epoch"), "", error))?;
    let lost_at = lost_at.map(Timestamp);
    Ok(Some(LogIdentity { log_id: LogId(log_id), epoch, put_back, fenced, lost_at }))
}

/// Gives the log its name and its epoch, unless it has them.
pub(super) async fn begin(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let server = system_identifier(connection).await;
    sqlx::query(
        "INSERT INTO stateward.log (log_id, epoch, system_identifier, database, timeline) \
         SELECT gen_random_uuid(), 1 + floor(random() * 4294967295)::bigint, $1, oid, \
         ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint \
         FROM pg_database WHERE datname = current_database() ON CONFLICT DO NOTHING",
    )
    .bind(server)
    .execute(connection)
    .await
    .map(drop)
}

/// What tells this server's data from that of any other. Empty where a service took the right to read it away: then the
/// database alone tells.
async fn system_identifier(connection: &mut PgConnection) -> String {
    let identifier = sqlx::query_scalar("SELECT system_identifier::text FROM pg_control_system()");
    identifier.fetch_one(connection).await.unwrap_or_default()
}
