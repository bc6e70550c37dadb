//! The sync queue: rows that the executor alone writes; `leases`: rows of workers.
//!
//! Invariant: each call that writes is one statement, so no lock outlives a round trip.

mod leases;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::next_work::{QueueRow, WaitsFor};
use stateward_domain::id::{BackendName, EntityId, Position, Version};
use stateward_domain::ports::projection::Quarantined;
use stateward_domain::ports::sync_queue::{
    Dependents, Lease, LeaseRequest, NextDue, QueueChange, QueueError, Release, SeenHints,
    SyncQueue,
};
use stateward_domain::time::{LogClock, Moment, Timestamp};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::column_arrays::{ColumnArrays, ColumnType};
use super::connect::Database;
use super::lease_clock::{ClockPrediction, LeaseClock};
use super::shared_checkpoint::SharedCheckpoint;
use super::views_db::ViewsDb;
use crate::shared::hints::WorkHints;
use crate::shared::queue_plan::{GroupedChanges, Wakeup, WokenBy, lease_after};
use crate::shared::queue_row::{self, QueueColumns, READ_OF_QUEUE, TimedQueueRow, waits_for};
use crate::sql_value::limit_of;

/// Name of the projection's checkpoint.
const NAME: &str = "sync_queue";
/// Types of the columns of [`TimedQueueRow`], as `advance_v1` takes them.
pub(super) const TYPES: [ColumnType; 8] = [
    ColumnType::Uuid,
    ColumnType::Text,
    ColumnType::Number,
    ColumnType::Number,
    ColumnType::Number,
    ColumnType::Text,
    ColumnType::Text,
    ColumnType::Number,
];
/// Durable commits at once: each keeps its connection while it waits for a standby.
const DURABLE_MAX: usize = 4;

const ADVANCE: &str = "SELECT stateward_views.advance_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
     $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";

static ROW: LazyLock<String> = LazyLock::new(|| {
    let columns = READ_OF_QUEUE.map(|column| match column {
        "entity" => "entity::text".to_owned(),
        other => other.to_owned(),
    });
    // The references of the row in the same snapshot.
    format!(
        "SELECT {}, ARRAY(SELECT used FROM stateward_views.sync_uses WHERE user_id = entity) \
         FROM stateward_views.sync_queue WHERE entity = $1",
        columns.join(", ")
    )
});

const DEPENDENTS: &str = "SELECT DISTINCT user_id FROM stateward_views.sync_uses \
     WHERE used = ANY ($1) AND ($2::uuid IS NULL OR user_id > $2) ORDER BY user_id LIMIT $3";

/// One index lookup for each backend and priority.
const OLDEST_DUE: &str = "WITH RECURSIVE backends (name) AS ( \
         SELECT min(backend) FROM stateward_views.sync_queue WHERE lease_after IS NOT NULL \
         UNION ALL \
         SELECT (SELECT min(q.backend) FROM stateward_views.sync_queue q \
             WHERE q.lease_after IS NOT NULL AND q.backend > b.name) \
         FROM backends b WHERE b.name IS NOT NULL \
     ), oldest (name, due) AS ( \
         SELECT b.name, (SELECT q.lease_after FROM stateward_views.sync_queue q \
             WHERE q.backend = b.name AND q.priority = p AND q.lease_after IS NOT NULL \
             AND q.waits_for IS NULL ORDER BY q.lease_after LIMIT 1) \
         FROM backends b, generate_series(0, 2) p WHERE b.name IS NOT NULL \
     ) \
     SELECT name, min(due) FROM oldest WHERE due IS NOT NULL GROUP BY name ORDER BY name";

/// Sync queue and leases of a database. Any number of processes may have one.
pub struct Queue {
    db: ViewsDb,
    /// When work is due.
    clock: LogClock,
    /// When leases end.
    leases: LeaseClock,
    prediction: ClockPrediction,
    durable: Arc<Semaphore>,
    checkpoint: SharedCheckpoint,
    hints: WorkHints,
}

impl Queue {
    /// The queue of `database`. Work is due by `clock`; `leases` measures leases.
    #[must_use]
    pub fn new(database: Database, clock: impl Into<LogClock>, leases: LeaseClock) -> Self {
        let durable = Arc::new(Semaphore::new(DURABLE_MAX));
        Self {
            db: ViewsDb::new(database),
            clock: clock.into(),
            leases,
            prediction: ClockPrediction::default(),
            durable,
            checkpoint: SharedCheckpoint::new(NAME),
            hints: WorkHints::default(),
        }
    }
}

/// The rows of a delivery, the last one of each entity.
fn last_of_each<'r>(rows: &[&'r QueueRow]) -> Vec<&'r QueueRow> {
    let last: BTreeMap<EntityId, &QueueRow> = rows.iter().map(|row| (row.entity, *row)).collect();
    last.into_values().collect()
}

/// The earliest time and the furthest position for each key, as three columns.
#[derive(Default)]
struct Wakeups(BTreeMap<String, (Timestamp, Position)>);

impl Wakeups {
    fn add(&mut self, key: String, at: Timestamp, position: Position) {
        let known = self.0.entry(key).or_insert((at, position));
        *known = (known.0.min(at), known.1.furthest(position));
    }

    fn columns(self) -> (Vec<String>, Vec<i64>, Vec<String>) {
        let mut columns = (Vec::new(), Vec::new(), Vec::new());
        for (key, (at, position)) in self.0 {
            columns.0.push(key);
            columns.1.push(at.0);
            columns.2.push(position.to_string());
        }
        columns
    }
}

/// The wake-ups by entity or name, and those by backend.
fn wakeups(all: Vec<Wakeup<'_>>) -> (Wakeups, Wakeups) {
    let (mut keys, mut backends) = (Wakeups::default(), Wakeups::default());
    for Wakeup { by, at, position } in all {
        match by {
            WokenBy::Entity(entity) => keys.add(waits_for(&WaitsFor::Entity(entity)), at, position),
            WokenBy::Name(name) => keys.add(waits_for(&WaitsFor::Name(name.clone())), at, position),
            WokenBy::Backend(backend) => backends.add(backend.0.clone(), at, position),
        }
    }
    (keys, backends)
}

impl Queue {
    /// Writes a delivery; `None` = the checkpoint is elsewhere.
    async fn write(
        &self,
        from: Position,
        to: Position,
        changes: GroupedChanges<'_>,
        now: Moment,
    ) -> Result<Option<i64>, QueueError> {
        let puts = last_of_each(&changes.puts);
        let pairs = puts
            .iter()
            .flat_map(|row| row.dependencies.iter().map(|target| (row.entity.0, target.0.clone())));
        let (entities, names): (Vec<Uuid>, Vec<String>) = pairs.unzip();
        let timed =
            puts.iter().map(|row| TimedQueueRow { row, lease_after: lease_after(row, now) });
        let rows = ColumnArrays::of(&timed.collect::<Vec<_>>(), &TYPES);
        let removed: Vec<Uuid> = changes.removed.iter().map(|entity| entity.0).collect();
        let (keys, backends) = wakeups(changes.wakeups);
        let (keys, backends) = (keys.columns(), backends.columns());
        let query = sqlx::query_as(ADVANCE).bind(from.to_string()).bind(to.to_string());
        let query = rows.bind(query.bind(now.steady.0)).bind(entities).bind(names).bind(removed);
        let query = query.bind(keys.0).bind(keys.1).bind(keys.2);
        let query = query.bind(backends.0).bind(backends.1).bind(backends.2);
        Ok(self.db.one(query).await?)
    }
}

#[async_trait]
impl SyncQueue for Queue {
    async fn checkpoint(&self) -> Result<Position, QueueError> {
        Ok(self.db.checkpoint(NAME).await?)
    }

    async fn advance(
        &self,
        from: Position,
        to: Position,
        changes: &[QueueChange],
    ) -> Result<bool, QueueError> {
        crate::failpoints::reach("store::queue::advance::before");
        let written =
            self.write(from, to, GroupedChanges::of(changes), self.clock.moment()).await?;
        crate::failpoints::reach("store::queue::advance::after");
        match written {
            Some(woken) => {
                self.checkpoint.moved(&self.db, to);
                self.hints.delivered(changes, woken > 0);
                Ok(woken > 0)
            }
            None => Err(QueueError::CheckpointMoved { actual: self.db.checkpoint(NAME).await? }),
        }
    }

    async fn reset(&self) -> Result<(), QueueError> {
        crate::failpoints::reach("store::queue::reset::before");
        let reset = sqlx::query("SELECT stateward_views.reset_queue_v1()");
        self.db.database.execute(reset).await?;
        crate::failpoints::reach("store::queue::reset::after");
        self.checkpoint.moved(&self.db, Position::START);
        Ok(())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, QueueError> {
        Ok(self.db.quarantined(NAME).await?)
    }

    async fn quarantine(&self, entry: &Quarantined) -> Result<(), QueueError> {
        Ok(self.db.quarantine(NAME, entry).await?)
    }

    async fn end_quarantine(&self, stream: &str) -> Result<(), QueueError> {
        Ok(self.db.end_quarantine(NAME, stream).await?)
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Lease>, QueueError> {
        crate::failpoints::reach("store::queue::lease::before");
        let leases = self.take(request).await?;
        crate::failpoints::reach("store::queue::lease::after");
        Ok(leases)
    }

    async fn renew(
        &self,
        held: &[(EntityId, String)],
        duration: Duration,
    ) -> Result<Vec<EntityId>, QueueError> {
        crate::failpoints::reach("store::queue::renew::before");
        let renewed = self.extend(held, duration).await?;
        crate::failpoints::reach("store::queue::renew::after");
        Ok(renewed)
    }

    async fn release(&self, releases: &[Release]) -> Result<(), QueueError> {
        crate::failpoints::reach("store::queue::release::before");
        self.end(releases).await?;
        crate::failpoints::reach("store::queue::release::after");
        Ok(())
    }

    async fn observed_since(
        &self,
        backend: &BackendName,
        current: Version,
    ) -> Result<Version, QueueError> {
        Ok(self.observed_since_version(backend, current).await?)
    }

    async fn void_snoozes(&self, backend: &BackendName) -> Result<(), QueueError> {
        crate::failpoints::reach("store::queue::void_snoozes::before");
        let voided = sqlx::query("SELECT stateward_views.void_snoozes_v1($1)").bind(&backend.0);
        self.db.database.execute(voided).await?;
        crate::failpoints::reach("store::queue::void_snoozes::after");
        Ok(())
    }

    async fn forget_late_drift_timers(
        &self,
        backend: &BackendName,
        longest: Duration,
    ) -> Result<u64, QueueError> {
        let latest = self.clock.moment().steady.after(longest);
        let forget = sqlx::query_as("SELECT stateward_views.forget_late_timers_v1($1, $2)");
        let forgotten: i64 = self.db.one(forget.bind(&backend.0).bind(latest.0)).await?;
        Ok(forgotten.unsigned_abs())
    }

    async fn seed_drift_timers(
        &self,
        backend: &BackendName,
        interval: Duration,
    ) -> Result<u64, QueueError> {
        crate::failpoints::reach("store::queue::seed::before");
        let seeded = self.seed(backend, interval).await?;
        crate::failpoints::reach("store::queue::seed::after");
        Ok(seeded)
    }

    async fn next_due(&self, backend: &BackendName, drift: bool) -> Result<NextDue, QueueError> {
        Ok(self.next(backend, drift).await?)
    }

    async fn due_elsewhere(&self, backend: &BackendName, seen: SeenHints) -> SeenHints {
        tokio::select! {
            seen = self.hints.beyond(backend, seen) => seen,
            never = self.checkpoint.follow(&self.db, || self.hints.anywhere()) => match never {},
        }
    }

    async fn advanced_past(&self, position: Position) {
        self.checkpoint.reached(&self.db, position, || self.hints.anywhere()).await;
    }

    async fn row(&self, entity: EntityId) -> Result<Option<QueueRow>, QueueError> {
        let query = sqlx::query_as(AssertSqlSafe(ROW.as_str())).bind(entity.0);
        let row: Option<StoredColumns> = self.db.database.fetch_optional(query).await?;
        let Some((entity, backend, priority, since, due, waits_for, position, used)) = row else {
            return Ok(None);
        };
        let columns: QueueColumns = (entity, backend, priority, since, due, waits_for, position);
        let dependencies: BTreeSet<_> = used.into_iter().map(ClaimKey).collect();
        Ok(Some(queue_row::decode(columns, dependencies)?))
    }

    async fn dependents(
        &self,
        of: &[ClaimKey],
        after: Option<EntityId>,
        limit: usize,
    ) -> Result<Dependents, QueueError> {
        // Read first: a write in between makes the dependents newer than `as_of`, never older.
        let as_of = self.db.checkpoint(NAME).await?;
        let names: Vec<String> = of.iter().map(|name| name.0.clone()).collect();
        let query = sqlx::query_as(DEPENDENTS).bind(names).bind(after.map(|after| after.0));
        let rows: Vec<(Uuid,)> = self.db.database.fetch_all(query.bind(limit_of(limit))).await?;
        let entities = rows.into_iter().map(|(id,)| EntityId(id)).collect();
        Ok(Dependents { entities, as_of })
    }

    async fn oldest_due(&self) -> Result<Vec<(BackendName, Duration)>, QueueError> {
        let now = self.clock.moment().steady;
        let rows: Vec<(String, i64)> =
            self.db.database.fetch_all(sqlx::query_as(OLDEST_DUE)).await?;
        let since = |(name, due)| (BackendName(name), now.since(Timestamp(due)));
        Ok(rows.into_iter().map(since).collect())
    }
}

/// [`QueueColumns`], and the names that the entity depends on.
type StoredColumns =
    (String, String, i64, Option<i64>, Option<i64>, Option<String>, String, Vec<String>);
