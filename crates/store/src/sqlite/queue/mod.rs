//! The sync queue: rows that the executor alone writes; `leases`: rows of workers; `reference_index`: dependents by
//! target.

mod leases;
mod reference_index;
pub(super) mod schema;

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use sqlx::SqliteConnection;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::next_work::{QueueRow, WaitsFor};
use stateward_domain::id::{BackendName, EntityId, Position, Version};
use stateward_domain::ports::projection::Quarantined;
use stateward_domain::ports::sync_queue::{
    Dependents, Lease, LeaseRequest, NextDue, QueueChange, QueueError, Release, SeenHints,
    SyncQueue,
};
use stateward_domain::time::{Moment, Timestamp};

use crate::shared::grants::Grants;
use crate::shared::hints::{KnownCheckpoint, WorkHints};
use crate::shared::queue_plan::{GroupedChanges, Wakeup, WokenBy, lease_after};
use crate::shared::queue_row::{
    self, BACKEND, QueueColumns, READ_OF_QUEUE, TimedQueueRow, waits_for,
};
use crate::sqlite::error::store_error;
use crate::sqlite::quarantine;
use crate::sqlite::queue::schema::NAME;
use crate::sqlite::transaction::{PipelinedTransaction, update_on_conflict};
use crate::sqlite::views_db::{self, ViewsDb};

/// Sync queue and leases of the embedded store.
pub struct Queue {
    file: Arc<ViewsDb>,
    known: KnownCheckpoint,
    hints: WorkHints,
    /// No lease is held when the files are opened.
    grants: Mutex<Grants>,
}

impl Queue {
    pub(in crate::sqlite) fn new(file: Arc<ViewsDb>) -> Self {
        let (known, hints) = (KnownCheckpoint::default(), WorkHints::default());
        Self { file, known, hints, grants: Mutex::default() }
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leases within the concurrency of the request. `writer` keeps other leases out meanwhile.
    async fn take(
        &self,
        writer: &mut SqliteConnection,
        request: &LeaseRequest,
    ) -> Result<Vec<Lease>, sqlx::Error> {
        let now = self.file.now().steady;
        let granted = self.grants().of(&request.backend);
        let held = leases::held(writer, &request.backend, &granted, now).await?;
        let request = &self.grants().allowed(request, |entity| held.contains(entity));
        let leases = leases::lease(writer, request, now).await?;
        self.grants().add(request, &leases);
        Ok(leases)
    }
}

fn unavailable(error: sqlx::Error) -> QueueError {
    store_error(error).into()
}

/// Adds the changes. The statements return a row for each row that they wake.
async fn apply(
    transaction: &mut PipelinedTransaction<'_>,
    changes: &[QueueChange],
    now: Moment,
) -> Result<(), sqlx::Error> {
    let GroupedChanges { puts, removed, wakeups } = GroupedChanges::of(changes);
    put(transaction, &puts, now).await?;
    if !removed.is_empty() {
        reference_index::remove(transaction, &removed);
        transaction
            .push("DELETE FROM sync_queue WHERE entity IN (SELECT value FROM json_each(?))")
            .push(encode(&removed));
    }
    let (mut woken, mut backends) = (Vec::new(), Vec::new());
    for Wakeup { by, at, position } in wakeups {
        let waited_for = match by {
            WokenBy::Entity(entity) => WaitsFor::Entity(entity),
            WokenBy::Name(name) => WaitsFor::Name(name.clone()),
            WokenBy::Backend(backend) => {
                backends.push((backend, at, position));
                continue;
            }
        };
        woken.push((waits_for(&waited_for), at, position.to_string()));
    }
    if !woken.is_empty() {
        wake(transaction, &woken, now);
    }
    for (backend, at, position) in backends {
        wake_backend(transaction, backend, at, position, now);
    }
    Ok(())
}

/// Inserts or replaces these rows.
pub(in crate::sqlite) async fn put<'r>(
    transaction: &mut PipelinedTransaction<'_>,
    rows: &[&'r QueueRow],
    now: Moment,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let timed = |row: &&'r QueueRow| TimedQueueRow { row, lease_after: lease_after(row, now) };
    let timed: Vec<_> = rows.iter().map(timed).collect();
    transaction.insert_rows("sync_queue", &PUT, &timed).await?;
    reference_index::put(transaction, rows);
    Ok(())
}

static PUT: LazyLock<String> =
    LazyLock::new(|| update_on_conflict::<TimedQueueRow<'_>>("entity", |_| true));

static ROW: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {} FROM sync_queue WHERE entity = ?", READ_OF_QUEUE.join(", "))
});

/// Wakes the rows that wait for one of these: value of `waits_for`, time, and position of the waking event.
fn wake(
    transaction: &mut PipelinedTransaction<'_>,
    woken: &[(String, Timestamp, String)],
    now: Moment,
) {
    transaction
        .push(
            "UPDATE sync_queue SET due = min(due, woken.value ->> 1), \
             lease_after = min(lease_after, ?), \
             position = max(position, woken.value ->> 2) FROM json_each(?) woken \
             WHERE waits_for = woken.value ->> 0 AND due IS NOT NULL RETURNING 1",
        )
        .push(now.steady.0)
        .push(encode(&woken));
}

/// Wakes the rows that wait for the backend.
fn wake_backend(
    transaction: &mut PipelinedTransaction<'_>,
    backend: &BackendName,
    at: Timestamp,
    position: Position,
    now: Moment,
) {
    transaction
        .push(
            "UPDATE sync_queue SET due = min(due, ?), lease_after = min(lease_after, ?), \
             position = max(position, ?) \
             WHERE waits_for = ? AND backend = ? AND due IS NOT NULL RETURNING 1",
        )
        .push(at.0)
        .push(now.steady.0)
        .push(position.to_string())
        .push(BACKEND)
        .push(backend.0.clone());
}

pub(in crate::sqlite) fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("ids, numbers and texts are JSON")
}

/// The oldest due work of each backend: one index lookup per backend and priority, however much is due.
const OLDEST_DUE: &str = "\
    WITH RECURSIVE backends (name) AS (
        SELECT min(backend) FROM sync_queue WHERE lease_after IS NOT NULL
        UNION ALL
        SELECT (SELECT min(q.backend) FROM sync_queue q WHERE q.lease_after IS NOT NULL AND q.backend > name)
        FROM backends WHERE name IS NOT NULL
    ), oldest (name, due) AS (
        SELECT name, (SELECT q.lease_after FROM sync_queue q INDEXED BY sync_queue_lease_after
            WHERE q.backend = name AND q.priority = p.value AND q.lease_after IS NOT NULL
            AND q.waits_for IS NULL ORDER BY q.lease_after LIMIT 1)
        FROM backends, json_each('[0, 1, 2]') p WHERE name IS NOT NULL
    )
    SELECT name, min(due) FROM oldest WHERE due IS NOT NULL GROUP BY name ORDER BY name";

impl Queue {
    /// Ends every lease and snooze, as the opening of the store does: its lock proves that no worker runs. Idempotent.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    pub async fn release_all(&self) -> Result<(), QueueError> {
        self.end_all_leases().await.map_err(unavailable)
    }

    pub(in crate::sqlite) async fn end_all_leases(&self) -> Result<(), sqlx::Error> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::queue::release_all::before");
        let released = sqlx::query("UPDATE sync_leases SET worker = NULL, until = 0, snooze = 0");
        released.execute(&mut **writer).await?;
        crate::failpoints::reach("store::queue::release_all::after");
        Ok(())
    }
}

#[async_trait]
impl SyncQueue for Queue {
    async fn checkpoint(&self) -> Result<Position, QueueError> {
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        views_db::checkpoint(&mut connection, NAME).await.map_err(unavailable)
    }

    async fn advance(
        &self,
        from: Position,
        to: Position,
        changes: &[QueueChange],
    ) -> Result<bool, QueueError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::queue::advance::before");
        let written = async {
            let mut transaction = writer.pipeline();
            views_db::compare_and_swap(&mut transaction, NAME, from, to);
            apply(&mut transaction, changes, self.file.now()).await?;
            transaction.commit().await.map_err(sqlx::Error::from)
        };
        let woken = match written.await {
            Ok(woken) => woken,
            Err(error) => {
                let moved = views_db::moved_checkpoint(&mut writer, NAME, from)
                    .await
                    .map_err(unavailable)?;
                let moved = moved.map(|actual| QueueError::CheckpointMoved { actual });
                return Err(moved.unwrap_or_else(|| unavailable(error)));
            }
        };
        crate::failpoints::reach("store::queue::advance::after");
        // Before the writer is free: the next delivery is known after this one.
        self.known.set(to);
        self.hints.delivered(changes, woken > 0);
        Ok(woken > 0)
    }

    async fn reset(&self) -> Result<(), QueueError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::queue::reset::before");
        let mut transaction = writer.pipeline();
        transaction.push("DELETE FROM sync_queue");
        transaction.push("DELETE FROM sync_uses");
        transaction.push("DELETE FROM quarantine WHERE model = ?").push(NAME);
        let start = transaction.push("UPDATE checkpoints SET position = ? WHERE name = ?");
        start.push(Position::START.to_string()).push(NAME);
        transaction.commit().await.map_err(|error| unavailable(error.into()))?;
        crate::failpoints::reach("store::queue::reset::after");
        self.known.set(Position::START);
        Ok(())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, QueueError> {
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        quarantine::all(&mut connection, NAME).await.map_err(unavailable)
    }

    async fn quarantine(&self, entry: &Quarantined) -> Result<(), QueueError> {
        let mut writer = self.file.writer().await;
        quarantine::put(&mut writer, NAME, entry).await.map_err(unavailable)
    }

    async fn end_quarantine(&self, stream: &str) -> Result<(), QueueError> {
        let mut writer = self.file.writer().await;
        quarantine::remove(&mut writer, NAME, stream).await.map_err(unavailable)
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Lease>, QueueError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::queue::lease::before");
        let leases = self.take(&mut writer, request).await;
        crate::failpoints::reach("store::queue::lease::after");
        leases.map_err(unavailable)
    }

    async fn renew(
        &self,
        held: &[(EntityId, String)],
        duration: Duration,
    ) -> Result<Vec<EntityId>, QueueError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::queue::renew::before");
        let now = self.file.now().steady;
        let renewed = leases::renew(&mut writer, held, duration, now).await;
        crate::failpoints::reach("store::queue::renew::after");
        renewed.map_err(unavailable)
    }

    async fn release(&self, releases: &[Release]) -> Result<(), QueueError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::queue::release::before");
        let now = self.file.now().steady;
        leases::release(&mut writer, releases, now).await.map_err(unavailable)?;
        crate::failpoints::reach("store::queue::release::after");
        Ok(())
    }

    async fn observed_since(
        &self,
        backend: &BackendName,
        current: Version,
    ) -> Result<Version, QueueError> {
        let mut writer = self.file.writer().await;
        leases::observed_since(&mut writer, backend, current).await.map_err(unavailable)
    }

    async fn void_snoozes(&self, backend: &BackendName) -> Result<(), QueueError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::queue::void_snoozes::before");
        let voided = sqlx::query("UPDATE sync_leases SET snooze = 0 WHERE backend = ?");
        voided.bind(&backend.0).execute(&mut **writer).await.map_err(unavailable)?;
        crate::failpoints::reach("store::queue::void_snoozes::after");
        Ok(())
    }

    async fn forget_late_drift_timers(
        &self,
        backend: &BackendName,
        longest: Duration,
    ) -> Result<u64, QueueError> {
        let mut writer = self.file.writer().await;
        let now = self.file.now().steady;
        leases::forget_late(&mut writer, backend, now.after(longest)).await.map_err(unavailable)
    }

    async fn seed_drift_timers(
        &self,
        backend: &BackendName,
        interval: Duration,
    ) -> Result<u64, QueueError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::queue::seed::before");
        let seeded = leases::seed(&mut writer, backend, interval, self.file.now().steady).await;
        crate::failpoints::reach("store::queue::seed::after");
        seeded.map_err(unavailable)
    }

    async fn next_due(&self, backend: &BackendName, drift: bool) -> Result<NextDue, QueueError> {
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        let now = self.file.now().steady;
        leases::next_due(&mut connection, backend, drift, now).await.map_err(unavailable)
    }

    async fn due_elsewhere(&self, backend: &BackendName, seen: SeenHints) -> SeenHints {
        self.hints.beyond(backend, seen).await
    }

    async fn advanced_past(&self, position: Position) {
        self.known.reached(position, async { self.checkpoint().await.ok() }).await;
    }

    async fn row(&self, entity: EntityId) -> Result<Option<QueueRow>, QueueError> {
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        let row: Option<QueueColumns> = sqlx::query_as(ROW.as_str())
            .bind(entity.to_string())
            .fetch_optional(&mut *connection)
            .await
            .map_err(unavailable)?;
        let Some(row) = row else { return Ok(None) };
        let dependencies =
            reference_index::targets_of(&mut connection, entity).await.map_err(unavailable)?;
        Ok(Some(queue_row::decode(row, dependencies)?))
    }

    async fn dependents(
        &self,
        of: &[ClaimKey],
        after: Option<EntityId>,
        limit: usize,
    ) -> Result<Dependents, QueueError> {
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        let dependents = reference_index::dependents_of(&mut connection, of, after, limit).await;
        dependents.map_err(unavailable)
    }

    async fn oldest_due(&self) -> Result<Vec<(BackendName, Duration)>, QueueError> {
        let now = self.file.now().steady;
        let rows: Vec<(String, i64)> =
            sqlx::query_as(OLDEST_DUE).fetch_all(&self.file.readers).await.map_err(unavailable)?;
        let since = |(name, due)| (BackendName(name), now.since(Timestamp(due)));
        Ok(rows.into_iter().map(since).collect())
    }
}
