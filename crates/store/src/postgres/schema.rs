//! The schema `stateward`: made and migrated by its owner, checked by every process that opens the log.
//!
//! Invariant: a check changes nothing, and a process that may not continue the log says so in one line.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr};

use super::connect::Database;
use super::error::{OpenError, message};
use super::identity::{self, LogIdentity};
use super::pooler;
use super::primary;
use super::target::Target;

/// Oldest version of the server, as `server_version_num`.
const SERVER_MIN: i32 = 150_000;

/// All migrations: number, name and text.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "log", include_str!("../../../../migrations/postgres/0001_log.sql")),
    (2, "views", include_str!("../../../../migrations/postgres/0002_views.sql")),
    (3, "lost_events", include_str!("../../../../migrations/postgres/0003_lost_events.sql")),
    (4, "clock_steps", include_str!("../../../../migrations/postgres/0004_clock_steps.sql")),
    (5, "grants", include_str!("../../../../migrations/postgres/0005_grants.sql")),
    (6, "catalogue", include_str!("../../../../migrations/postgres/0006_catalogue.sql")),
    (7, "reports", include_str!("../../../../migrations/postgres/0007_reports.sql")),
];

/// Where sqlx records what was applied.
const APPLIED: &str = "stateward.migrations";

/// Advisory lock of a migration. Its first half is none of an append's mark.
const LOCK: i64 = 0x0053_5457_4d49;

/// Rights of the role that appends and reads.
const GRANTS: &[(&str, &[&str])] = &[
    ("events", &["SELECT", "INSERT"]),
    ("streams", &["SELECT", "INSERT", "UPDATE"]),
    ("claims", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("log", &["SELECT", "UPDATE"]),
    ("migrations", &["SELECT"]),
];

/// Tables of the schema `stateward_views`, which the role reads and writes.
const VIEWS: &[&str] = &[
    "checkpoints",
    "quarantine",
    "sync_queue",
    "sync_uses",
    "sync_leases",
    "sync_observed",
    "sync_observed_since",
    "members",
    "duties",
    "lease_clock",
    "lease_grants",
];

/// Makes or migrates the schema as its owner, the role of `target`. Idempotent. Grants `role` what a process of
/// stateward needs, if one is given. Returns the version of the schema.
///
/// # Errors
/// [`OpenError`] in one line: a foreign or newer schema is left as it is.
pub async fn migrate(target: &Target, role: Option<&str>) -> Result<i64, OpenError> {
    let database = target.database().to_owned();
    let found = primary::find(target.hosts(), 0, None).await;
    let found = found.map_err(|none| OpenError::NoPrimary {
        database: database.clone(),
        reasons: none.reasons,
    })?;
    let failed = |error: sqlx::Error| failure(&database, &error);
    // The lock below is a session's.
    pooler::check(&found.host, database.clone()).await?;
    let host = found.host.disable_statement_logging();
    let mut connection: PgConnection = host.connect().await.map_err(failed)?;
    // One at a time, also while the schema is half made. Released with the connection.
    let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK);
    lock.execute(&mut connection).await.map_err(failed)?;
    let state = State::read(&mut connection).await.map_err(failed)?;
    if let Some(error) = state.fault(&database, false) {
        return Err(error);
    }
    migrator().run_direct(None, &mut connection, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(error),
        MigrateError::VersionMissing(found) => other_version(&database, found),
        other => OpenError::Damaged { database: database.clone(), fault: other.to_string() },
    })?;
    identity::begin(&mut connection).await.map_err(failed)?;
    if let Some(role) = role {
        grant(&mut connection, role).await.map_err(failed)?;
    }
    connection.close().await.map_err(failed)?;
    Ok(newest())
}

/// Checks that this process may continue the log. Changes nothing but the epoch of a log that was moved.
///
/// # Errors
/// [`OpenError`] in one line.
pub(super) async fn check(
    connection: &mut PgConnection,
    database: &str,
) -> Result<LogIdentity, OpenError> {
    let failed = |error: sqlx::Error| failure(database, &error);
    let state = State::read(connection).await.map_err(failed)?;
    if let Some(error) = state.fault(database, true) {
        return Err(error);
    }
    let missing = missing_rights(connection).await.map_err(failed)?;
    if !missing.is_empty() {
        let (role, database, missing) = (state.role, database.to_owned(), missing.join(", "));
        return Err(OpenError::Rights { role, database, missing });
    }
    let applied: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM migrations")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if !lives_beside(connection, applied).await.map_err(failed)? {
        return Err(other_version(database, applied));
    }
    continued(connection, database).await
}

/// Whether this version may start on the schema at `applied`: its own, or a newer one that still knows it.
async fn lives_beside(connection: &mut PgConnection, applied: i64) -> Result<bool, sqlx::Error> {
    if applied <= newest() {
        return Ok(applied == newest());
    }
    let oldest: i64 =
        sqlx::query_scalar("SELECT oldest_schema FROM stateward.log").fetch_one(connection).await?;
    Ok(newest() >= oldest)
}

/// The identity of the log in `database`, as it is: also of one that is fenced or was moved. Changes nothing.
///
/// # Errors
/// [`OpenError`] in one line.
pub(super) async fn present(database: &Database) -> Result<LogIdentity, OpenError> {
    let name = database.name();
    let mut session = database.session().await.map_err(|error| OpenError::Database {
        database: name.to_owned(),
        message: error.to_string(),
    })?;
    let failed = |error: sqlx::Error| failure(name, &error);
    let state = State::read(session.raw()).await.map_err(failed)?;
    if let Some(error) = state.fault(name, true) {
        return Err(error);
    }
    let identity = identity::stored(session.raw()).await.map_err(failed)?;
    session.done();
    identity.ok_or_else(|| OpenError::NotMigrated(name.to_owned()))
}

/// The log's identity, once it is certain that new positions follow all that are there.
async fn continued(
    connection: &mut PgConnection,
    database: &str,
) -> Result<LogIdentity, OpenError> {
    let failed = |error: sqlx::Error| failure(database, &error);
    let damaged =
        |fault: &str| OpenError::Damaged { database: database.to_owned(), fault: fault.to_owned() };
    let (drawn, cached, last): (i64, i64, i64) = sqlx::query_as(
        "SELECT last_value, (SELECT seqcache FROM pg_sequence WHERE seqrelid = 'blocks'::regclass), \
         (SELECT coalesce(max(position), 0) >> 10 FROM events) FROM blocks",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    if drawn < last {
        let found =
            format!("the sequence stateward.blocks is at {drawn}, behind the log at {last}");
        return Err(damaged(&format!("{found}: set it with setval")));
    }
    if cached != 1 {
        return Err(damaged("the sequence stateward.blocks has a cache: ALTER SEQUENCE … CACHE 1"));
    }
    let Some(identity) = identity::read(connection).await.map_err(failed)? else {
        return Err(OpenError::NotMigrated(database.to_owned()));
    };
    if identity.fenced {
        return Err(damaged("it was moved elsewhere and is fenced"));
    }
    Ok(identity)
}

/// What a database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    server: i32,
    version: String,
    role: String,
    /// Whether the schema is there.
    schema: bool,
    /// Whether the role may use it.
    usage: bool,
    /// Whether the schema is this program's, or empty.
    ours: bool,
    /// Whether it has a log.
    log: bool,
}

impl State {
    async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let query = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
             current_user::text, n.oid IS NOT NULL, \
             coalesce(has_schema_privilege(n.oid, 'USAGE'), false), \
             coalesce(bool_or(c.relname = 'migrations'), count(c.oid) = 0), coalesce(bool_or(c.relname = 'log'), false) \
             FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = 'stateward' \
             LEFT JOIN pg_class c ON c.relnamespace = n.oid GROUP BY n.oid";
        let row: (i32, String, String, bool, bool, bool, bool) =
            sqlx::query_as(query).fetch_one(connection).await?;
        let (server, version, role, schema, usage, ours, log) = row;
        Ok(Self { server, version, role, schema, usage, ours, log })
    }

    /// Why the database cannot be used; `there`: whether the log has to be there.
    fn fault(&self, database: &str, there: bool) -> Option<OpenError> {
        let database = database.to_owned();
        if self.server < SERVER_MIN {
            Some(OpenError::TooOld(self.version.clone()))
        } else if self.schema && !self.ours {
            Some(OpenError::Foreign(database))
        } else if there && !self.log {
            Some(OpenError::NotMigrated(database))
        } else if self.schema && !self.usage {
            let missing = "USAGE ON SCHEMA stateward".to_owned();
            Some(OpenError::Rights { role: self.role.clone(), database, missing })
        } else {
            None
        }
    }
}

/// The rights of [`GRANTS`] that the role lacks.
async fn missing_rights(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let wanted = GRANTS.iter().flat_map(|(table, rights)| {
        rights.iter().map(move |right| ((*table).to_owned(), (*right).to_owned()))
    });
    let (tables, rights): (Vec<String>, Vec<String>) = wanted.unzip();
    sqlx::query_scalar(
        "SELECT r || ' ON stateward.' || t FROM unnest($1::text[], $2::text[]) AS wanted (t, r) \
         WHERE NOT has_table_privilege('stateward.' || t, r) \
         UNION ALL SELECT 'USAGE, SELECT ON SEQUENCE stateward.blocks' \
         WHERE NOT has_sequence_privilege('stateward.blocks', 'USAGE') \
         OR NOT has_sequence_privilege('stateward.blocks', 'SELECT') \
         UNION ALL SELECT 'USAGE, CREATE ON SCHEMA stateward_views' \
         WHERE NOT has_schema_privilege(to_regnamespace('stateward_views')::oid, 'USAGE') \
         OR NOT has_schema_privilege(to_regnamespace('stateward_views')::oid, 'CREATE') \
         UNION ALL SELECT r || ' ON stateward_views.' || t \
         FROM unnest($3::text[]) t, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) r \
         WHERE NOT has_table_privilege(to_regclass('stateward_views.' || t), r)",
    )
    .bind(tables)
    .bind(rights)
    .bind(VIEWS)
    .fetch_all(connection)
    .await
}

async fn grant(connection: &mut PgConnection, role: &str) -> Result<(), sqlx::Error> {
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    let mut statements = vec![
        format!("GRANT USAGE ON SCHEMA stateward TO {role}"),
        format!("GRANT USAGE, SELECT ON SEQUENCE stateward.blocks TO {role}"),
        // Read models make their own tables.
        format!("GRANT USAGE, CREATE ON SCHEMA stateward_views TO {role}"),
        format!("GRANT USAGE ON SEQUENCE stateward_views.tables TO {role}"),
    ];
    statements.extend(VIEWS.iter().map(|table| {
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON stateward_views.{table} TO {role}")
    }));
    statements.extend(GRANTS.iter().map(|(table, rights)| {
        format!("GRANT {} ON stateward.{table} TO {role}", rights.join(", "))
    }));
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    Ok(())
}

fn migrator() -> Migrator {
    let step = |(number, name, text): &(i64, &'static str, &'static str)| {
        let (name, text) = (Cow::Borrowed(*name), (*text).into_sql_str());
        Migration::new(*number, name, MigrationType::Simple, text, false)
    };
    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().map(step).collect());
    migrator.create_schema("stateward");
    migrator.dangerous_set_table_name(APPLIED);
    migrator
}

/// Number of the newest migration.
fn newest() -> i64 {
    MIGRATIONS.iter().map(|(number, ..)| *number).max().unwrap_or_default()
}

fn other_version(database: &str, found: i64) -> OpenError {
    let known = newest();
    let advice = if found > known {
        "use the version of stateward that migrated it, or a newer one"
    } else {
        "run `stateward migrate` as its owner"
    };
    OpenError::OtherVersion { database: database.to_owned(), found, known, advice }
}

fn failure(database: &str, error: &sqlx::Error) -> OpenError {
    OpenError::Database { database: database.to_owned(), message: message(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_or_a_foreign_schema_is_refused_before_anything_else() {
        let version = "15.1".to_owned();
        let (role, server) = ("r".to_owned(), SERVER_MIN);
        let ready =
            State { server, version, role, schema: true, usage: true, ours: true, log: true };
        let empty = State { schema: false, usage: false, log: false, ..ready.clone() };
        for (state, there, named) in [
            (ready.clone(), true, None),
            (ready.clone(), false, None),
            (empty.clone(), false, None),
            (empty, true, Some("run `stateward migrate`")),
            (State { server: SERVER_MIN - 1, ..ready.clone() }, true, Some("too old")),
            (State { ours: false, log: false, ..ready.clone() }, true, Some("another program's")),
            (State { ours: false, log: false, ..ready.clone() }, false, Some("another program's")),
            (State { log: false, ..ready.clone() }, false, None),
            (State { usage: false, ..ready }, true, Some("USAGE")),
        ] {
            let line = state.fault("db", there).map(|error| error.to_string());
            let as_expected = match (&line, named) {
                (Some(line), Some(named)) => line.contains(named),
                (line, named) => line.is_none() && named.is_none(),
            };
            assert!(as_expected, "{state:?} {there}: {line:?}");
        }
    }
}
