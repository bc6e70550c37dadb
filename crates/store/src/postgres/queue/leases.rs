//! Leases and drift timers: written by workers alone, and allowed to be lost.
//!
//! A lease ends by the database's clock; work, snoozes and timers are due by the engine's. Taking and renewing a lease is
//! durable: one that a failover loses would let two workers act.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use stateward_domain::id::{BackendName, EntityId, Version};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::ports::sync_queue::{Lease, LeaseReason, LeaseRequest, NextDue, Release};
use tokio::time::timeout;
use uuid::Uuid;

use super::Queue;
use crate::postgres::error::store_error;
use crate::postgres::views_db::{micros, parsed};
use crate::shared::stored_row::{signed, unsigned};
use crate::sql_value::limit_of;

/// Rows that are read to find the next free one, in two rounds: nearly always one of the first four is free.
const LOOKAHEADS: [i64; 2] = [4, 256];
/// Classes of leasable rows: work of three priorities, and drift checks.
const CLASSES: i32 = 4;

/// One row, so that the commit may be waited for without a deadline.
const LEASE: &str = "SELECT coalesce(array_agg(o_entity), '{}'), coalesce(array_agg(o_position), '{}'), \
     coalesce(array_agg(o_idle), '{}'), coalesce(array_agg(o_observed), '{}'), stateward_views.clock_or($7) \
     FROM stateward_views.lease_v3($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
const RENEW: &str = "SELECT coalesce(array_agg(renewed), '{}'), stateward_views.clock_or($4) \
     FROM stateward_views.renew_v2($1, $2, $3, $4, $5) AS renewed";
type Leased = (Vec<String>, Vec<String>, Vec<bool>, Vec<Option<i64>>, i64);

impl Queue {
    pub(super) async fn take(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError> {
        let within = request.within;
        let query = |expected: Option<i64>| {
            sqlx::query_as(LEASE)
                .bind(request.backend.0.clone())
                .bind(request.worker.clone())
                .bind(micros(request.duration))
                .bind(limit_of(request.limit))
                .bind(limit_of(request.checks))
                .bind(self.steady())
                .bind(self.leases.now())
                .bind(expected)
                .bind(request.takeover)
                .bind(within.map(|within| limit_of(within.leases)))
                .bind(within.map(|within| limit_of(within.checks)))
                .bind(within.map(|within| limit_of(within.running)))
                .bind(within.map(|within| limit_of(within.part.0)))
                .bind(within.map(|within| limit_of(within.part.1)))
        };
        let (entities, positions, idle, observed, clock): Leased = self.durably(query).await?;
        self.prediction.observe(clock, self.steady());
        let rows = entities.into_iter().zip(positions).zip(idle).zip(observed);
        let lease = |(((entity, position), idle), observed): (((String, String), bool), _)| {
            let place = ("sync_observed", "confirmation");
            let observed: Option<i64> = observed;
            let observed = observed.map(|number| unsigned(place, &entity, number)).transpose()?;
            let seen = parsed(("sync_queue", "position"), &entity, &position)?;
            let reason = if idle { LeaseReason::Drift } else { LeaseReason::Work };
            let observed_under = Version(observed.unwrap_or_default());
            let entity = parsed(("sync_leases", "entity"), &entity, &entity)?;
            Ok(Lease { entity, reason, seen, observed_under })
        };
        rows.map(lease).collect()
    }

    pub(super) async fn extend(
        &self,
        held: &[(EntityId, String)],
        duration: Duration,
    ) -> Result<Vec<EntityId>, StoreError> {
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let (entities, workers): (Vec<Uuid>, Vec<String>) =
            held.iter().map(|(entity, worker)| (entity.0, worker.clone())).unzip();
        let query = |expected: Option<i64>| {
            let query = sqlx::query_as(RENEW).bind(entities).bind(workers);
            query.bind(micros(duration)).bind(self.leases.now()).bind(expected)
        };
        let (renewed, clock): (Vec<String>, i64) = self.durably(query).await?;
        self.prediction.observe(clock, self.steady());
        renewed.iter().map(|id| parsed(("sync_leases", "entity"), id, id)).collect()
    }

    fn steady(&self) -> i64 {
        self.clock.moment().steady.0
    }

    /// The row of a statement whose commit may wait for a standby. The caller stops waiting after the time of a
    /// statement; the connection is kept until the server answers, so that the server's sessions do not pile up. `query`
    /// gets what the clock of leases is expected to show.
    async fn durably<O>(
        &self,
        query: impl FnOnce(Option<i64>) -> QueryAs<'static, sqlx::Postgres, O, PgArguments>,
    ) -> Result<O, StoreError>
    where
        O: Send + Unpin + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + 'static,
    {
        let database = self.db.database.clone();
        let limit = database.statement_limit();
        let permit = timeout(limit, Arc::clone(&self.durable).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(StoreError::unavailable("leases wait for their commits"));
        };
        let mut session = database.session().await?;
        // Behind the wait for a connection, which is no step of the clock.
        let query = query(self.prediction.at(self.steady()));
        let answer = tokio::spawn(async move {
            let answer = session.fetch_one_patiently(query).await.map_err(store_error);
            drop(permit);
            answer
        });
        match timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(StoreError::unavailable(error)),
            Err(_) => Err(StoreError::unavailable("a lease waits for its commit")),
        }
    }

    pub(super) async fn end(&self, releases: &[Release]) -> Result<(), StoreError> {
        let now = self.clock.moment().steady;
        let seen = releases.iter().filter_map(|release| {
            let under = release.observed_under?;
            Some((release.entity.0, signed(under.0)))
        });
        let (observed, under): (Vec<Uuid>, Vec<i64>) = seen.unzip();
        let entities: Vec<Uuid> = releases.iter().map(|release| release.entity.0).collect();
        let workers: Vec<String> = releases.iter().map(|release| release.worker.clone()).collect();
        let at = |pause: Duration| now.after(pause).0;
        let snoozes: Vec<i64> =
            releases.iter().map(|release| release.snooze.map_or(0, at)).collect();
        let seen: Vec<String> = releases.iter().map(|release| release.seen.to_string()).collect();
        let timers: Vec<Option<i64>> =
            releases.iter().map(|release| release.drift_in.map(at)).collect();
        let ended = sqlx::query("SELECT stateward_views.release_v1($1, $2, $3, $4, $5, $6, $7)")
            .bind(observed)
            .bind(under)
            .bind(entities)
            .bind(workers)
            .bind(snoozes)
            .bind(seen)
            .bind(timers);
        self.db.database.execute(ended).await.map(drop)
    }

    pub(super) async fn observed_since_version(
        &self,
        backend: &BackendName,
        current: Version,
    ) -> Result<Version, StoreError> {
        let query = sqlx::query_as("SELECT stateward_views.observed_since_v1($1, $2)");
        let known = self.db.one(query.bind(&backend.0).bind(signed(current.0))).await?;
        let place = ("sync_observed_since", "confirmation");
        Ok(Version(unsigned(place, &backend.0, known)?))
    }

    pub(super) async fn seed(
        &self,
        backend: &BackendName,
        interval: Duration,
    ) -> Result<u64, StoreError> {
        let query = sqlx::query_as("SELECT stateward_views.seed_timers_v1($1, $2, $3, $4)")
            .bind(&backend.0)
            .bind(micros(interval))
            .bind(self.clock.moment().steady.0)
            .bind(self.leases.now());
        let seeded: i64 = self.db.one(query).await?;
        Ok(seeded.unsigned_abs())
    }

    pub(super) async fn next(
        &self,
        backend: &BackendName,
        drift: bool,
    ) -> Result<NextDue, StoreError> {
        let mut first = None;
        for lookahead in LOOKAHEADS {
            let query = sqlx::query_as(AssertSqlSafe(NEXT.as_str()))
                .bind(&backend.0)
                .bind(lookahead)
                .bind(drift)
                .bind(self.clock.moment().steady.0)
                .bind(self.leases.now());
            let seen: Vec<(i32, Option<i64>, Option<bool>)> =
                self.db.database.fetch_all(query).await?;
            first = seen.iter().filter_map(|(_, within, _)| *within).min();
            // Rows are ordered by time: behind a free one there is nothing earlier.
            let known = (0..CLASSES).all(|class| {
                let mut rows = seen.iter().filter(|row| row.0 == class);
                limit_of(rows.clone().count()) < lookahead || rows.any(|row| row.2 == Some(true))
            });
            if known {
                break;
            }
        }
        let within = |micros: i64| Duration::from_micros(micros.max(0).unsigned_abs());
        Ok(NextDue { within: first.map(within) })
    }
}

/// In how many microseconds a lease `l` ends. While a step of the clock is recent, a lease ends with that time or earlier.
const HELD: &str = "CASE WHEN l.entity IS NULL THEN NULL \
     WHEN stateward_views.lease_ended(l.until, l.lasts, c.leases, c.careful_until, c.low) THEN least(l.until - c.leases, 0) \
     WHEN l.until > c.leases + l.lasts + 2000000 THEN c.careful_until - c.leases \
     ELSE greatest(l.until, c.careful_until) - c.leases END";

/// The first rows of each class: the class, in how many microseconds the row can be leased (NULL = never), and whether
/// it is free then. Differences, because leases and work are measured by different clocks.
static NEXT: LazyLock<String> = LazyLock::new(|| {
    let work = [0, 1, 2].map(|priority| {
        format!(
            "SELECT {priority}, greatest(r.due, r.held), r.due >= coalesce(r.held, r.due) FROM ( \
             SELECT q.lease_after - c.steady AS due, greatest({HELD}, \
                 CASE WHEN q.position > l.seen THEN NULL ELSE l.snooze - c.steady END) AS held \
             FROM (SELECT entity, lease_after, position FROM stateward_views.sync_queue \
                   WHERE backend = $1 AND priority = {priority} AND lease_after IS NOT NULL \
                   ORDER BY lease_after LIMIT $2) q CROSS JOIN c \
             LEFT JOIN stateward_views.sync_leases l ON l.entity = q.entity) r"
        )
    });
    let checks = format!(
        "SELECT 3, CASE WHEN r.idle THEN greatest(r.due, r.held) END, r.idle AND r.due >= r.held FROM ( \
         SELECT l.drift_due - c.steady AS due, {HELD} AS held, \
             q.entity IS NOT NULL AND q.due IS NULL AS idle \
         FROM (SELECT entity, drift_due, until, lasts FROM stateward_views.sync_leases \
               WHERE $3 AND backend = $1 AND drift_due IS NOT NULL ORDER BY drift_due LIMIT $2) l CROSS JOIN c \
         LEFT JOIN stateward_views.sync_queue q ON q.entity = l.entity) r"
    );
    let rows = [&*work[0], &*work[1], &*work[2], &*checks].join(" UNION ALL ");
    format!(
        "WITH c AS MATERIALIZED (SELECT $4::bigint AS steady, stateward_views.clock_or($5) AS leases, \
         k.careful_until, k.low FROM stateward_views.lease_clock k) {rows}"
    )
});
