//! Connections of a process to the primary of one database: pooled, with the settings that every session has, dialled
//! again with backoff when the primary is lost.
//!
//! Invariants: all connections are to one primary; when one of them breaks, answers late, or is read-only, all are given
//! up. A session whose statement did not end is closed, never reused. No setting of a role or a database changes what a
//! session does. Nothing is read from a standby.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgQueryResult, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{ConnectOptions, FromRow, Postgres};
use stateward_domain::ports::store_error::StoreError;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout_at};

use super::checkpoint_hints::CheckpointHints;
use super::continuity::Continuity;
use super::counters::Counters;
use super::error::{OpenError, message, store_error};
use super::held_back::HeldBack;
use super::identity::LogIdentity;
use super::limits::Limits;
use super::pooler;
use super::primary_search::{NotFound, PrimarySearch};
use super::seen_events::SeenEvent;
use super::session::{Primary, Session};
use super::target::Target;

/// First and longest pause between two searches for the primary; each is shortened by up to half.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A connection that is unused for as long is closed.
const IDLE: Duration = Duration::from_mins(10);

/// Settings of every session, whatever the role or the database is set to.
const SETTINGS: &str = "SELECT count(set_config(name, value, false)) FROM (VALUES \
     ('default_transaction_isolation', 'read committed'), \
     ('statement_timeout', '0'), \
     ('transaction_timeout', '0'), \
     ('lock_timeout', '3s'), \
     ('idle_in_transaction_session_timeout', '10s'), \
     ('jit', 'off'), \
     ('search_path', 'stateward, pg_temp')) AS wanted (name, value) \
     WHERE current_setting(name, true) IS NOT NULL \
     AND NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::bool";

/// Connections to the primary of one database. Cheap to clone.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    target: Target,
    application: String,
    limits: Limits,
    /// The last primary that was found; it may be lost by now.
    present: RwLock<Option<Arc<Primary>>>,
    search: Mutex<Search>,
    /// Timeline that was used last.
    timeline: AtomicI64,
    /// The log that every later primary has to have.
    log: OnceLock<Continuity>,
    /// Why this process cannot go on with the log; `None` = it can.
    superseded: watch::Sender<Option<String>>,
    /// Whether an append in flight holds the log's reader back.
    held_back: watch::Sender<HeldBack>,
    /// Why the last search found no primary; `None` = it found one.
    fault: watch::Sender<Option<String>>,
    checkpoint_hints: CheckpointHints,
    counters: Counters,
}

/// Pauses between searches for the primary.
struct Search {
    not_before: Instant,
    pause: Duration,
    /// See [`PrimarySearch::find`].
    forked_since: Option<Instant>,
}

impl Database {
    /// Connects to the primary of `target` as `stateward/NODE`.
    ///
    /// # Errors
    /// [`OpenError::NoPrimary`]: what each host answered. [`OpenError::Pooler`]: its sessions are of a transaction.
    pub async fn connect(target: Target, node: &str, limits: Limits) -> Result<Self, OpenError> {
        let name = target.database().to_owned();
        let database = Self(Arc::new(Inner {
            target,
            application: format!("stateward/{node}"),
            limits,
            present: RwLock::default(),
            search: Mutex::new(Search {
                not_before: Instant::now(),
                pause: PAUSE,
                forked_since: None,
            }),
            timeline: AtomicI64::new(0),
            log: OnceLock::new(),
            superseded: watch::Sender::new(None),
            held_back: watch::Sender::new(HeldBack::default()),
            fault: watch::Sender::new(None),
            checkpoint_hints: CheckpointHints::default(),
            counters: Counters::default(),
        }));
        match database.primary().await {
            Ok(primary) => pooler::check(primary.host(), name).await.map(|()| database),
            Err(reasons) => Err(OpenError::NoPrimary { database: name, reasons }),
        }
    }

    /// A primary with another log than this, or another epoch of it, is refused from now on: what this process knows of
    /// positions would be wrong there. The first call counts.
    pub(super) fn expect(&self, log: &LogIdentity) {
        // Already set: another log of this process expects the same.
        let _ = self.0.log.set(Continuity::of(log));
    }

    /// This process has seen these events: a later primary has to have them.
    pub(super) fn remember(&self, events: impl IntoIterator<Item = SeenEvent>) {
        if let Some(log) = self.0.log.get() {
            log.remember(events);
        }
    }

    /// The log's reader read this horizon, and then the last number that was drawn.
    pub(super) fn note_horizon(&self, horizon: i64, drawn: i64) {
        self.0.held_back.send_modify(|held| *held = held.after(horizon, drawn, Instant::now()));
    }

    /// For how long an append in flight has held the log's reader back; zero = none does. Answers from memory.
    #[must_use]
    pub fn held_back(&self) -> Duration {
        self.0.held_back.borrow().lasted(Instant::now())
    }

    /// Resolves, with the reason in one line, when this process cannot go on with its log: the log began another epoch,
    /// because events were lost or it was restored. Then the process has to end; its next life reads the log as it is.
    pub async fn superseded(&self) -> String {
        let mut superseded = self.0.superseded.subscribe();
        let reason = superseded.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match reason {
            Ok(Some(reason)) => reason,
            // The sender lives as long as this handle.
            _ => std::future::pending().await,
        }
    }

    fn is_superseded(&self) -> bool {
        self.0.superseded.borrow().is_some()
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    pub(super) fn checkpoint_hints(&self) -> &CheckpointHints {
        &self.0.checkpoint_hints
    }

    /// Name of the database, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.target.database()
    }

    /// Why the database cannot be reached; `None` = the last call reached it. Answers from memory.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let searched = self.0.fault.borrow().clone();
        let present = self.0.present.read().unwrap_or_else(PoisonError::into_inner);
        searched
            .or_else(|| present.as_ref().and_then(|primary| primary.reason().map(str::to_owned)))
    }

    /// A session with the primary. Waits for a connection as long as [`Limits::acquire`] says.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing was sent.
    pub(super) async fn session(&self) -> Result<Session, StoreError> {
        let deadline = Instant::now() + self.0.limits.acquire;
        loop {
            let found = timeout_at(deadline, self.primary()).await;
            let primary = match found {
                Ok(Ok(primary)) => primary,
                // A superseded process finds no primary any more: to search on would only spin.
                Ok(Err(_)) if Instant::now() < deadline && !self.is_superseded() => continue,
                Ok(Err(reasons)) => return Err(StoreError::unavailable(reasons)),
                Err(_) => {
                    let known = self.fault().unwrap_or_else(|| "no primary answered".to_owned());
                    return Err(StoreError::unavailable(known));
                }
            };
            let Ok(acquired) = timeout_at(deadline, primary.pool().acquire()).await else {
                return Err(StoreError::unavailable("no connection is free"));
            };
            match acquired {
                Ok(connection) => {
                    return Ok(Session::new(connection, primary));
                }
                // All are in use: a new primary would not help.
                Err(sqlx::Error::PoolTimedOut)
                    if primary.pool().size() >= self.0.limits.connections =>
                {
                    return Err(StoreError::unavailable("no connection is free"));
                }
                Err(error) => primary.lose(&message(&error)),
            }
        }
    }

    /// As [`Session::fetch_all`], in a session of its own.
    ///
    /// # Errors
    /// As classified by [`store_error`].
    pub(super) async fn fetch_all<'q, O>(
        &self,
        query: QueryAs<'q, Postgres, O, PgArguments>,
    ) -> Result<Vec<O>, StoreError>
    where
        O: Send + Unpin + for<'r> FromRow<'r, PgRow> + 'q,
    {
        self.session().await?.fetch_all(query).await.map_err(store_error)
    }

    /// As [`Session::fetch_optional`], in a session of its own.
    ///
    /// # Errors
    /// As classified by [`store_error`].
    pub(super) async fn fetch_optional<'q, O>(
        &self,
        query: QueryAs<'q, Postgres, O, PgArguments>,
    ) -> Result<Option<O>, StoreError>
    where
        O: Send + Unpin + for<'r> FromRow<'r, PgRow> + 'q,
    {
        self.session().await?.fetch_optional(query).await.map_err(store_error)
    }

    /// As [`Session::fetch_one`], in a session of its own.
    ///
    /// # Errors
    /// As classified by [`store_error`].
    pub(super) async fn fetch_one<'q, O>(
        &self,
        query: QueryAs<'q, Postgres, O, PgArguments>,
    ) -> Result<O, StoreError>
    where
        O: Send + Unpin + for<'r> FromRow<'r, PgRow> + 'q,
    {
        self.session().await?.fetch_one(query).await.map_err(store_error)
    }

    /// As [`Session::execute`], in a session of its own.
    ///
    /// # Errors
    /// As classified by [`store_error`]; it is unknown whether a statement was executed whose connection broke.
    pub(super) async fn execute(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<PgQueryResult, StoreError> {
        self.session().await?.execute(query).await.map_err(store_error)
    }

    /// Whether a connection listens for notifications.
    pub(super) fn listens(&self) -> bool {
        self.0.limits.listen
    }

    /// How long a statement may take.
    pub(super) fn statement_limit(&self) -> Duration {
        self.0.limits.statement
    }

    /// A pool of one connection to the present primary, beside those of calls, and the pool of calls, which is closed when
    /// that primary is lost.
    ///
    /// # Errors
    /// Why there is no primary.
    pub(super) async fn dedicated(&self) -> Result<(PgPool, PgPool), String> {
        let primary = self.primary().await?;
        let one = PoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let one = one.acquire_timeout(self.0.limits.acquire);
        Ok((one.connect_lazy_with(primary.host().clone()), primary.pool().clone()))
    }

    /// Closes all connections. Calls that come later dial again.
    pub async fn close(&self) {
        let primary = self.0.present.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(primary) = primary {
            primary.pool().close().await;
        }
    }

    fn present(&self) -> Option<Arc<Primary>> {
        let present = self.0.present.read().unwrap_or_else(PoisonError::into_inner);
        present.clone().filter(|primary| primary.reason().is_none())
    }

    /// The present primary, or the one that a search finds. One search at a time, after a pause that grows with failures.
    async fn primary(&self) -> Result<Arc<Primary>, String> {
        if let Some(present) = self.present() {
            return Ok(present);
        }
        let mut search = self.0.search.lock().await;
        if let Some(present) = self.present() {
            return Ok(present);
        }
        tokio::time::sleep_until(search.not_before).await;
        let timeline = self.0.timeline.load(Ordering::Relaxed);
        let superseded = self.0.superseded.borrow().clone();
        if let Some(reason) = superseded {
            return Err(reason);
        }
        let wanted = PrimarySearch {
            hosts: self.0.target.hosts(),
            log: self.0.log.get(),
            application: &self.0.application,
            limit: self.0.limits.statement,
            forked: self.0.limits.forked,
        };
        match wanted.find(timeline, &mut search.forked_since).await {
            Ok(found) => {
                // Also a primary that is lost at once is not dialled without a pause.
                search.not_before = Instant::now() + PAUSE;
                search.pause = PAUSE;
                self.0.timeline.store(found.timeline, Ordering::Relaxed);
                self.0.counters.moved(timeline, found.timeline);
                let primary = Arc::new(self.pool(found.host));
                let mut present = self.0.present.write().unwrap_or_else(PoisonError::into_inner);
                *present = Some(Arc::clone(&primary));
                self.0.fault.send_replace(None);
                Ok(primary)
            }
            Err(NotFound { reason, superseded }) => {
                let shortened = search.pause.mul_f64(rand::random_range(0.5..=1.0));
                search.not_before = Instant::now() + shortened;
                search.pause = (search.pause * 2).min(PAUSE_MAX);
                self.0.fault.send_replace(Some(reason.clone()));
                if superseded {
                    self.0.superseded.send_replace(Some(reason.clone()));
                }
                Err(reason)
            }
        }
    }

    fn pool(&self, host: PgConnectOptions) -> Primary {
        let host = host.application_name(&self.0.application).disable_statement_logging();
        let pool = PoolOptions::new()
            .max_connections(self.0.limits.connections)
            .acquire_timeout(self.0.limits.acquire)
            .idle_timeout(IDLE)
            // A test would double the round trips; a broken connection gives up all of them.
            .test_before_acquire(false)
            .after_connect(|connection, _| Box::pin(set_up(connection)))
            .connect_lazy_with(host.clone());
        Primary::new(pool, host, self.0.limits.statement)
    }
}

/// Sets a new session up.
async fn set_up(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let set: i64 = sqlx::query_scalar(SETTINGS).fetch_one(connection).await?;
    if set == 0 {
        return Err(sqlx::Error::Protocol("the server is no writable primary".to_owned()));
    }
    Ok(())
}
