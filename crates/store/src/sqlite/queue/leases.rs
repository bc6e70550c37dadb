//! Leases and drift timers: written by workers alone, and allowed to be lost. All times here are steady time.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::{AssertSqlSafe, SqliteConnection};
use stateward_domain::id::{BackendName, EntityId, Version};
use stateward_domain::ports::sync_queue::{Lease, LeaseReason, LeaseRequest, NextDue, Release};
use stateward_domain::time::Timestamp;

use crate::shared::stored_row::signed;
use crate::sql_value::parsed;
use crate::sql_value::{limit_of, unsigned};
use crate::sqlite::queue::encode;
use crate::sqlite::views_db::begin;

/// Rows that are read to find the next free one, in two rounds: nearly always one of the first four is free.
const LOOKAHEADS: [u32; 2] = [4, 256];

/// Due work of one priority without lease or snooze, oldest first. A snooze is void once its row moved on.
const DUE: &str = "SELECT * FROM (SELECT q.entity, q.priority, q.lease_after AS due FROM sync_queue q \
    LEFT JOIN sync_leases l ON l.entity = q.entity \
    WHERE q.backend = ?1 AND q.priority = {priority} AND q.lease_after <= ?3 \
    AND (l.entity IS NULL OR (l.until <= ?3 AND (l.snooze <= ?3 OR q.position > l.seen))) \
    ORDER BY q.lease_after LIMIT ?5)";

/// Entities without work whose drift check is due.
const CHECKS: &str = "SELECT * FROM (SELECT q.entity, 3 AS priority, l.drift_due AS due \
    FROM sync_leases l JOIN sync_queue q ON q.entity = l.entity AND q.backend = l.backend \
    WHERE l.backend = ?1 AND l.drift_due IS NOT NULL AND l.drift_due <= ?3 \
    AND l.until <= ?3 AND q.due IS NULL ORDER BY l.drift_due LIMIT ?6)";

/// Selects and leases in one statement, so that no other worker can come in between.
static TAKE: LazyLock<String> = LazyLock::new(|| {
    // One index range per priority: else rows that are not due yet would be scanned.
    let work = ["0", "1", "2"].map(|priority| DUE.replace("{priority}", priority));
    let rows = [&work[0], &work[1], &work[2], CHECKS].join(" UNION ALL ");
    format!(
        "INSERT INTO sync_leases (entity, backend, worker, until) \
         SELECT entity, ?1, ?2, ?4 FROM ({rows}) WHERE true ORDER BY priority, due LIMIT ?5 \
         ON CONFLICT (entity) DO UPDATE SET backend = excluded.backend, \
         worker = excluded.worker, until = excluded.until, snooze = 0 RETURNING entity, \
         (SELECT position FROM sync_queue q WHERE q.entity = sync_leases.entity), \
         (SELECT due IS NULL FROM sync_queue q WHERE q.entity = sync_leases.entity), \
         (SELECT confirmation FROM sync_observed o WHERE o.entity = sync_leases.entity)"
    )
});

const ENTITY: (&str, &str) = ("sync_leases", "entity");
const CONFIRMATION: (&str, &str) = ("sync_observed", "confirmation");

pub(super) async fn lease(
    connection: &mut SqliteConnection,
    request: &LeaseRequest,
    now: Timestamp,
) -> Result<Vec<Lease>, sqlx::Error> {
    let taken: Vec<(String, String, bool, Option<i64>)> =
        sqlx::query_as(AssertSqlSafe(TAKE.as_str()))
            .bind(&request.backend.0)
            .bind(&request.worker)
            .bind(now.0)
            .bind(now.after(request.duration).0)
            .bind(limit_of(request.limit))
            .bind(limit_of(request.checks))
            .fetch_all(connection)
            .await?;
    let lease = |(entity, position, idle, observed): (String, String, bool, Option<i64>)| {
        let observed =
            observed.map(|number| unsigned(CONFIRMATION, &entity, number)).transpose()?;
        let seen = parsed(("sync_queue", "position"), &entity, &position)?;
        let reason = if idle { LeaseReason::Drift } else { LeaseReason::Work };
        let observed_under = Version(observed.unwrap_or_default());
        Ok(Lease { entity: parsed(ENTITY, &entity, &entity)?, reason, seen, observed_under })
    };
    taken.into_iter().map(lease).collect()
}

/// Those of the entities that are leased on the backend.
pub(super) async fn held(
    connection: &mut SqliteConnection,
    backend: &BackendName,
    entities: &[EntityId],
    now: Timestamp,
) -> Result<HashSet<EntityId>, sqlx::Error> {
    if entities.is_empty() {
        return Ok(HashSet::new());
    }
    let held: Vec<String> = sqlx::query_scalar(
        "SELECT entity FROM sync_leases WHERE entity IN (SELECT value FROM json_each(?)) \
         AND backend = ? AND until > ?",
    )
    .bind(encode(&entities))
    .bind(&backend.0)
    .bind(now.0)
    .fetch_all(connection)
    .await?;
    held.iter().map(|text| parsed(ENTITY, text, text)).collect()
}

/// An expired lease is not renewed, even if no other worker took it since: its worker stopped relying on it.
pub(super) async fn renew(
    connection: &mut SqliteConnection,
    held: &[(EntityId, String)],
    duration: Duration,
    now: Timestamp,
) -> Result<Vec<EntityId>, sqlx::Error> {
    let renewed: Vec<String> = sqlx::query_scalar(
        "UPDATE sync_leases SET until = ? FROM json_each(?) held \
         WHERE entity = held.value ->> 0 AND worker = held.value ->> 1 AND until > ? \
         RETURNING entity",
    )
    .bind(now.after(duration).0)
    .bind(encode(&held))
    .bind(now.0)
    .fetch_all(connection)
    .await?;
    renewed.iter().map(|text| parsed(ENTITY, text, text)).collect()
}

pub(super) async fn release(
    connection: &mut SqliteConnection,
    releases: &[Release],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    observe(connection, releases).await?;
    let at = |pause: Duration| now.after(pause).0;
    let ended: Vec<_> = releases
        .iter()
        .map(|release| {
            let snooze = release.snooze.map_or(0, at);
            let drift_due = release.drift_in.map(at);
            (release.entity, &release.worker, snooze, release.seen.to_string(), drift_due)
        })
        .collect();
    sqlx::query(
        "UPDATE sync_leases SET worker = NULL, until = 0, snooze = ended.value ->> 2, \
         seen = ended.value ->> 3, drift_due = coalesce(ended.value ->> 4, drift_due) \
         FROM json_each(?) ended \
         WHERE entity = ended.value ->> 0 AND worker = ended.value ->> 1",
    )
    .bind(encode(&ended))
    .execute(connection)
    .await?;
    Ok(())
}

/// Before the leases end, so that the next holder sees the observation.
async fn observe(
    connection: &mut SqliteConnection,
    releases: &[Release],
) -> Result<(), sqlx::Error> {
    let observed = releases.iter().filter_map(|release| {
        let under = release.observed_under?;
        Some((release.entity, signed(under.0)))
    });
    let observed: Vec<_> = observed.collect();
    if observed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO sync_observed (entity, confirmation) \
         SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE true \
         ON CONFLICT (entity) DO UPDATE SET confirmation = max(confirmation, excluded.confirmation)",
    )
    .bind(encode(&observed))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn observed_since(
    connection: &mut SqliteConnection,
    backend: &BackendName,
    current: Version,
) -> Result<Version, sqlx::Error> {
    let known: i64 = sqlx::query_scalar(
        "INSERT INTO sync_observed_since (backend, confirmation) VALUES (?, ?) \
         ON CONFLICT (backend) DO UPDATE SET backend = excluded.backend RETURNING confirmation",
    )
    .bind(&backend.0)
    .bind(signed(current.0))
    .fetch_one(connection)
    .await?;
    let place = ("sync_observed_since", "confirmation");
    Ok(Version(unsigned(place, &backend.0, known)?))
}

/// Removes drift timers that end after `latest`.
pub(super) async fn forget_late(
    connection: &mut SqliteConnection,
    backend: &BackendName,
    latest: Timestamp,
) -> Result<u64, sqlx::Error> {
    let forgotten =
        sqlx::query("UPDATE sync_leases SET drift_due = NULL WHERE backend = ? AND drift_due > ?");
    Ok(forgotten.bind(&backend.0).bind(latest.0).execute(connection).await?.rows_affected())
}

/// Spread by the last digits of the entities' ids, which are random already.
pub(super) async fn seed(
    connection: &mut SqliteConnection,
    backend: &BackendName,
    interval: Duration,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let mut transaction = begin(connection).await?;
    let idle: Vec<String> = sqlx::query_scalar(
        "SELECT q.entity FROM sync_queue q LEFT JOIN sync_leases l ON l.entity = q.entity \
         WHERE q.backend = ? AND q.due IS NULL AND l.drift_due IS NULL",
    )
    .bind(&backend.0)
    .fetch_all(&mut *transaction)
    .await?;
    for entity in &idle {
        let share = u32::from_str_radix(&entity[entity.len() - 4..], 16).unwrap_or_default();
        let pause = interval * share / 0xffff;
        sqlx::query(
            "INSERT INTO sync_leases (entity, backend, drift_due) VALUES (?, ?, ?) \
             ON CONFLICT (entity) DO UPDATE SET drift_due = excluded.drift_due",
        )
        .bind(entity)
        .bind(&backend.0)
        .bind(now.after(pause).0)
        .execute(&mut *transaction)
        .await?;
    }
    // Also removes rows of entities that do not exist any more.
    let left = sqlx::query(
        "DELETE FROM sync_leases WHERE backend = ? AND until <= ? \
         AND entity NOT IN (SELECT entity FROM sync_queue)",
    )
    .bind(&backend.0)
    .bind(now.0)
    .execute(&mut *transaction)
    .await?;
    if left.rows_affected() > 0 {
        let gone = "DELETE FROM sync_observed WHERE entity NOT IN (SELECT entity FROM sync_queue)";
        sqlx::query(gone).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(idle.len() as u64)
}

pub(super) async fn next_due(
    connection: &mut SqliteConnection,
    backend: &BackendName,
    drift: bool,
    now: Timestamp,
) -> Result<NextDue, sqlx::Error> {
    let mut first = None;
    for lookahead in LOOKAHEADS {
        let seen: Vec<(i64, Option<i64>, bool)> = sqlx::query_as(AssertSqlSafe(NEXT.as_str()))
            .bind(&backend.0)
            .bind(lookahead)
            .bind(drift)
            .fetch_all(&mut *connection)
            .await?;
        first = seen.iter().filter_map(|(_, at, _)| *at).min();
        // Rows are ordered by time: behind a free one there is nothing earlier.
        let known = (0..SORTS).all(|sort| {
            let mut rows = seen.iter().filter(|row| row.0 == sort);
            rows.clone().count() < lookahead as usize || rows.any(|(_, _, free)| *free)
        });
        if known {
            break;
        }
    }
    Ok(NextDue { within: first.map(|at| Timestamp(at).since(now)) })
}

/// Classes of leasable rows: work of three priorities, and drift checks.
const SORTS: i64 = 4;

/// The first rows of each class: the class, when the row can be leased (`NULL` = never), and whether it is free then.
static NEXT: LazyLock<String> = LazyLock::new(|| {
    let work = [0, 1, 2].map(|priority| {
        format!(
            "SELECT {priority}, max(due, coalesce(held, 0)), due >= coalesce(held, 0) FROM \
             (SELECT q.due, max(l.until, CASE WHEN q.position > l.seen THEN 0 ELSE l.snooze END) AS held FROM \
              (SELECT entity, lease_after AS due, position FROM sync_queue \
               WHERE backend = ?1 AND priority = {priority} AND lease_after IS NOT NULL \
               ORDER BY lease_after LIMIT ?2) q \
              LEFT JOIN sync_leases l ON l.entity = q.entity)"
        )
    });
    let checks = "SELECT 3, CASE WHEN idle THEN max(drift_due, until) END, idle AND drift_due >= until \
                  FROM (SELECT l.drift_due, l.until, q.entity NOT NULL AND q.due IS NULL AS idle \
                        FROM (SELECT entity, drift_due, until FROM sync_leases \
                              WHERE ?3 AND backend = ?1 AND drift_due IS NOT NULL \
                              ORDER BY drift_due LIMIT ?2) l \
                        LEFT JOIN sync_queue q ON q.entity = l.entity)";
    [&work[0], &work[1], &work[2], checks].join(" UNION ALL ")
});
