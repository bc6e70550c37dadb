//! Whether a pooler stands in between that lends a server's session for one transaction.
//!
//! Invariant: all statements of a connection run in one session. Settings, prepared statements and notifications belong to
//! a session: behind such a pooler they would reach another one, some without an error.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::time::timeout;

use super::error::{OpenError, message};

/// A pooler whose sessions are all in use does not answer in this time.
const ANSWER: Duration = Duration::from_secs(3);

/// Fails where the database `name` is reached through such a pooler at `host`.
///
/// # Errors
/// [`OpenError::Pooler`]; [`OpenError::NoPrimary`]: the server does not answer.
pub(super) async fn check(host: &PgConnectOptions, name: String) -> Result<(), OpenError> {
    match lends_transactions(host).await {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::Pooler(name)),
        Err(error) => Err(OpenError::NoPrimary { database: name, reasons: message(&error) }),
    }
}

/// Whether two connections to `host` exchange their sessions between transactions.
///
/// Both ends of a pooler's queue of free sessions are tried: the one that was freed last (the default), and the one that was
/// freed first (`server_round_robin`).
///
/// # Errors
/// The server does not answer.
async fn lends_transactions(host: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let lends = async {
        let host = host.clone().disable_statement_logging();
        let (mut one, mut other) = (host.connect().await?, host.connect().await?);
        let lends = exchange(&mut one, &mut other).await?;
        // They were read; an error here changes nothing.
        let _ = (one.close().await, other.close().await);
        Ok(lends)
    };
    match timeout(ANSWER, lends).await {
        Ok(lends) => lends,
        // A pool of one session: the other connection waits for it.
        Err(_) => Ok(true),
    }
}

async fn exchange(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // A server never refuses to begin a transaction; a pooler that lends sessions for a statement does.
    let (Some(ones), Some(others)) = (begin(one).await?, begin(other).await?) else {
        return Ok(true);
    };
    for last_freed in [true, false] {
        let (first, second) =
            if last_freed { (&mut *other, &mut *one) } else { (&mut *one, &mut *other) };
        commit(first).await?;
        commit(second).await?;
        if begin(other).await? != Some(others) || begin(one).await? != Some(ones) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Begins a transaction; the process of its session, `None` = refused.
async fn begin(connection: &mut PgConnection) -> Result<Option<i32>, sqlx::Error> {
    match sqlx::raw_sql("BEGIN").execute(&mut *connection).await {
        Ok(_) => {}
        Err(sqlx::Error::Database(_)) => return Ok(None),
        Err(error) => return Err(error),
    }
    let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?;
    row.try_get(0).map(Some)
}

async fn commit(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("COMMIT").execute(connection).await.map(drop)
}
