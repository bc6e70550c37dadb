//! The log's name, and the life of its database. A position is of one epoch: a database that was restored or copied
//! elsewhere begins another one, because both could give the same positions to different events.

use sqlx::postgres::PgConnection;
use stateward_domain::id::LogId;
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
}

/// The log's row, and whether it is of the database that it is in.
type Row = (Uuid, i64, bool, bool, bool);

const READ: &str = "SELECT log_id, epoch, put_back, fenced, \
     database = d.oid AND (system_identifier IN ('', $1) OR $1 = '') \
     FROM log, pg_database d WHERE d.datname = current_database()";

/// Another epoch than the present one, in the same range.
const BEGIN_EPOCH: &str = "UPDATE log SET put_back = true, system_identifier = $1, database = d.oid, \
     timeline = ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint, \
     epoch = (epoch + floor(random() * 4294967294)::bigint) % 4294967295 + 1 \
     FROM pg_database d WHERE d.datname = current_database() AND epoch = $2";

/// The identity of the log. In another server or database than it was in, it begins an epoch, and is marked as put back.
/// `None`: the log has no row.
pub(super) async fn read(
    connection: &mut PgConnection,
) -> Result<Option<LogIdentity>, sqlx::Error> {
    let server = system_identifier(connection).await;
    let select = || sqlx::query_as(READ).bind(server.clone());
    let row: Option<Row> = select().fetch_optional(&mut *connection).await?;
    let row = match row {
        Some((_, epoch, _, fenced, false)) if !fenced => {
            // Of several processes at once, the first begins the epoch for all of them.
            let begin = sqlx::query(BEGIN_EPOCH).bind(server.clone()).bind(epoch);
            begin.execute(&mut *connection).await?;
            select().fetch_optional(&mut *connection).await?
        }
        row => row,
    };
    let Some((log_id, epoch, put_back, fenced, _)) = row else { return Ok(None) };
    let epoch = u32::try_from(epoch).map_err(|error| undecodable(("log", "epoch"), "", error))?;
    Ok(Some(LogIdentity { log_id: LogId(log_id), epoch, put_back, fenced }))
}

/// The identity of the log as it is stored; `None`: the log has no row.
pub(super) async fn stored(
    connection: &mut PgConnection,
) -> Result<Option<LogIdentity>, sqlx::Error> {
    let row: Option<(Uuid, i64, bool, bool)> =
        sqlx::query_as("SELECT log_id, epoch, put_back, fenced FROM log")
            .fetch_optional(connection)
            .await?;
    let Some((log_id, epoch, put_back, fenced)) = row else { return Ok(None) };
    let epoch = u32::try_from(epoch).map_err(|error| undecodable(("log", "epoch"), "", error))?;
    Ok(Some(LogIdentity { log_id: LogId(log_id), epoch, put_back, fenced }))
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
