//! The barrier behind which what is visible is on the standbys too.
//!
//! Invariant: where standbys are synchronous, what was found instead of written (a repetition by ids or by key, a decision
//! without events) is answered only after a later WAL record has committed: a commit whose wait for its standby broke
//! off is visible here and can vanish in a failover.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stateward_domain::ports::store_error::StoreError;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::connect::Database;
use super::error::store_error;

/// A WAL record whose commit waits for the standbys; nothing where none is synchronous.
const RECORD: &str = "SELECT CASE WHEN current_setting('synchronous_standby_names') = '' THEN '' \
     ELSE set_config('synchronous_commit', \
     CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true) \
     || pg_logical_emit_message(true, 'stateward', '')::text END";

/// The barrier of a process: one record for all calls that wait. Cheap to clone.
#[derive(Clone)]
pub(super) struct StandbyBarrier {
    database: Database,
    /// Number of calls.
    asked: Arc<AtomicU64>,
    /// Number of the last call that a record covers. Held while a record commits, also when its callers gave up: then the
    /// server waits on, and another connection would only wait too.
    passed: Arc<Mutex<u64>>,
}

impl StandbyBarrier {
    pub(super) fn new(database: Database) -> Self {
        Self { database, asked: Arc::default(), passed: Arc::default() }
    }

    /// Resolves once all that was visible before the call is on the synchronous standbys.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after the time of a statement.
    pub(super) async fn pass(&self) -> Result<(), StoreError> {
        let number = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let deadline = Instant::now() + self.database.statement_limit();
        let late = |_| StoreError::unavailable("the commit waits for a standby");
        let passed = timeout_at(deadline, Arc::clone(&self.passed).lock_owned());
        let mut passed = passed.await.map_err(late)?;
        if *passed >= number {
            return Ok(());
        }
        let covered = self.asked.load(Ordering::Acquire);
        let mut session = self.database.session().await?;
        let record = tokio::spawn(async move {
            let answer: Result<(String,), _> =
                session.fetch_one_patiently(sqlx::query_as(RECORD)).await;
            if answer.is_ok() {
                *passed = covered;
            }
            answer.map_err(store_error)
        });
        let answer = timeout_at(deadline, record).await.map_err(late)?;
        answer.map_err(StoreError::unavailable)?.map(drop)
    }
}
