//! Connections that belong to one life of a primary, and the sessions of calls on them.
//!
//! Invariant: a session whose statement did not end is closed, never reused. One that breaks, answers late, or is
//! read-only gives up all that belong to the same primary.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgQueryResult, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{FromRow, Postgres};
use tokio::time::timeout;

use super::error::{ErrorClass, classify, message};

/// Connections that belong to one life of a primary.
pub(super) struct Primary {
    pool: PgPool,
    host: PgConnectOptions,
    /// How long a statement may take.
    statement: Duration,
    /// Why it was given up.
    lost: OnceLock<String>,
}

impl Primary {
    pub(super) fn new(pool: PgPool, host: PgConnectOptions, statement: Duration) -> Self {
        Self { pool, host, statement, lost: OnceLock::new() }
    }

    /// Its connections. Closed when it was given up.
    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How to connect to it.
    pub(super) fn host(&self) -> &PgConnectOptions {
        &self.host
    }

    /// Why it was given up; `None` = it is in use.
    pub(super) fn reason(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Gives up all connections to it; those whose statements still run are closed. Idempotent.
    pub(super) fn lose(&self, reason: &str) {
        if self.lost.set(reason.to_owned()).is_ok() {
            tracing::warn!(reason, "the database's primary is lost");
            let pool = self.pool.clone();
            tokio::spawn(async move { pool.close().await });
        }
    }
}

/// A connection to the primary, for one call. Dropped while a statement runs, it is closed.
pub(super) struct Session {
    connection: PoolConnection<Postgres>,
    primary: Arc<Primary>,
    /// Whether the last statement ended, so that the connection can be used again.
    clean: bool,
}

impl Session {
    pub(super) fn new(connection: PoolConnection<Postgres>, primary: Arc<Primary>) -> Self {
        Self { connection, primary, clean: true }
    }

    /// All rows.
    ///
    /// # Errors
    /// The server's; [`ErrorClass::Lost`] when it took longer than a statement may.
    pub(super) async fn fetch_all<'q, O>(
        &mut self,
        query: QueryAs<'q, Postgres, O, PgArguments>,
    ) -> Result<Vec<O>, sqlx::Error>
    where
        O: Send + Unpin + for<'r> FromRow<'r, PgRow> + 'q,
    {
        self.clean = false;
        let limit = self.primary.statement;
        let answer = timeout(limit, query.fetch_all(&mut *self.connection)).await;
        self.settle(answer.unwrap_or_else(|_| Err(late())))
    }

    /// One row, or none.
    ///
    /// # Errors
    /// As for [`fetch_all`](Self::fetch_all).
    pub(super) async fn fetch_optional<'q, O>(
        &mut self,
        query: QueryAs<'q, Postgres, O, PgArguments>,
    ) -> Result<Option<O>, sqlx::Error>
    where
        O: Send + Unpin + for<'r> FromRow<'r, PgRow> + 'q,
    {
        self.clean = false;
        let limit = self.primary.statement;
        let answer = timeout(limit, query.fetch_optional(&mut *self.connection)).await;
        self.settle(answer.unwrap_or_else(|_| Err(late())))
    }

    /// One row.
    ///
    /// # Errors
    /// As for [`fetch_all`](Self::fetch_all).
    pub(super) async fn fetch_one<'q, O>(
        &mut self,
        query: QueryAs<'q, Postgres, O, PgArguments>,
    ) -> Result<O, sqlx::Error>
    where
        O: Send + Unpin + for<'r> FromRow<'r, PgRow> + 'q,
    {
        self.fetch_optional(query).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Executes a statement.
    ///
    /// # Errors
    /// As for [`fetch_all`](Self::fetch_all).
    pub(super) async fn execute(
        &mut self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<PgQueryResult, sqlx::Error> {
        self.clean = false;
        let limit = self.primary.statement;
        let answer = timeout(limit, query.execute(&mut *self.connection)).await;
        self.settle(answer.unwrap_or_else(|_| Err(late())))
    }

    /// The connection itself. Until [`done`](Self::done) it counts as used by a statement.
    pub(super) fn raw(&mut self) -> &mut PgConnection {
        self.clean = false;
        &mut self.connection
    }

    /// Gives up the primary, as when a connection to it breaks: the next call searches, and checks what it finds.
    pub(super) fn give_up(&self, reason: &str) {
        self.primary.lose(reason);
    }

    /// Every statement on [`raw`](Self::raw) has ended.
    pub(super) fn done(&mut self) {
        self.clean = true;
    }

    /// One row of a statement whose commit may wait for a standby: without a deadline, as long as the server answers
    /// others. The caller stops waiting on its own, and lets this go on.
    ///
    /// # Errors
    /// The server's.
    pub(super) async fn fetch_one_patiently<'q, O>(
        &mut self,
        query: QueryAs<'q, Postgres, O, PgArguments>,
    ) -> Result<O, sqlx::Error>
    where
        O: Send + Unpin + for<'r> FromRow<'r, PgRow> + 'q,
    {
        self.clean = false;
        let answer = tokio::select! {
            answer = query.fetch_one(&mut *self.connection) => answer,
            () = self.primary.pool.close_event() => Err(late()),
        };
        self.settle(answer)
    }

    /// What the answer says about the connection.
    fn settle<T>(&mut self, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let class = answer.as_ref().err().map(classify);
        match (class, &answer) {
            (Some(ErrorClass::Lost | ErrorClass::ReadOnly), Err(error)) => {
                self.primary.lose(&message(error));
            }
            _ => self.clean = true,
        }
        answer
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.clean {
            self.connection.close_on_drop();
        }
    }
}

fn late() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the server did not answer"))
}
