//! Compares tables that have no index by entity with the read model's own rows, each in one statement: labels by which
//! lists select, and counts.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use stateward_domain::audit::{Fault, FaultKind};
use stateward_domain::envelope::StreamId;
use stateward_domain::ports::store_error::StoreError;
use tokio::time::timeout;

use super::view_page;
use crate::audit::ENTITIES;
use crate::postgres::connect::Database;
use crate::postgres::error::store_error;

/// Faults of one table that are reported, at most.
const FAULTS_MAX: i64 = 100;
/// How long a comparison may take.
const TIME: Duration = Duration::from_mins(10);

/// Rows of `labels` that differ: key, entity, and whether the row is there.
const LABELS: &str = "WITH expected AS ( \
     SELECT p.namespace, l.key, v.value, e.id FROM stateward_views.entities_v{n} e \
     CROSS JOIN LATERAL jsonb_each_text(e.labels) AS l (key, value) \
     CROSS JOIN LATERAL (VALUES (''), (e.namespace)) AS p (namespace) \
     CROSS JOIN LATERAL (VALUES (''), ('=' || l.value)) AS v (value) WHERE NOT e.deleted), \
     invented AS (SELECT namespace, key, value, id FROM stateward_views.labels_v{n} EXCEPT TABLE expected LIMIT {max}), \
     missing AS (TABLE expected EXCEPT SELECT namespace, key, value, id FROM stateward_views.labels_v{n} LIMIT {max}) \
     SELECT concat_ws(' ', namespace, key, value, id), id::text, true FROM invented \
     UNION ALL SELECT concat_ws(' ', namespace, key, value, id), id::text, false FROM missing";

/// Groups whose number differs: key, the stored number and the expected one.
const COUNTS: &str = "WITH expected AS ( \
     SELECT backend, kind, state, blocked, dead, count(*) AS number FROM stateward_views.entities_v{n} \
     WHERE NOT deleted GROUP BY backend, kind, state, blocked, dead) \
     SELECT concat_ws(' ', backend, kind, state, blocked, dead::int), coalesce(c.number, 0), coalesce(x.number, 0) \
     FROM stateward_views.counts_v{n} c FULL JOIN expected x USING (backend, kind, state, blocked, dead) \
     WHERE coalesce(c.number, 0) <> coalesce(x.number, 0) LIMIT {max}";

/// Faults of these tables of the live read model.
pub(super) async fn faults(database: &Database) -> Result<Vec<Fault>, StoreError> {
    let mut session = database.session().await?;
    let stored = view_page::checkpoints(session.raw()).await.map_err(store_error)?;
    let live = stored.iter().find(|checkpoint| checkpoint.name == ENTITIES);
    let Some(n) = live.filter(|live| live.tables != 0 && live.has_tables).map(|live| live.tables)
    else {
        session.done();
        return Ok(Vec::new());
    };
    let statement = |text: &str| {
        let text = text.replace("{n}", &n.to_string()).replace("{max}", &FAULTS_MAX.to_string());
        AssertSqlSafe(text)
    };
    let late = |_| StoreError::unavailable("labels and counts are not compared in time");
    let labels = sqlx::query_as(statement(LABELS)).fetch_all(session.raw());
    let labels: Vec<(String, String, bool)> =
        timeout(TIME, labels).await.map_err(late)?.map_err(store_error)?;
    let counts = sqlx::query_as(statement(COUNTS)).fetch_all(session.raw());
    let counts: Vec<(String, i64, i64)> =
        timeout(TIME, counts).await.map_err(late)?.map_err(store_error)?;
    session.done();
    let label = |(key, entity, stored): (String, String, bool)| {
        let what = if stored {
            "the events make no such row"
        } else {
            "the row is missing that the events make"
        };
        let stream = StreamId { category: StreamId::ENTITY.to_owned(), id: entity };
        let fault = Fault::new(FaultKind::View, format!("labels of {key}: {what}"));
        fault.in_table("labels", &key, None).of(&stream)
    };
    let count = |(key, stored, expected): (String, i64, i64)| {
        let what = format!("counts.number of {key}: {stored}, and by the events {expected}");
        Fault::new(FaultKind::View, what).in_table("counts", &key, Some("number"))
    };
    Ok(labels.into_iter().map(label).chain(counts.into_iter().map(count)).collect())
}
