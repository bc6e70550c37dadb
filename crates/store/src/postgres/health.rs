//! What the store knows about its own state: whether there is a primary, what holds readers back, and settings of the
//! server that weaken a promise.

use std::time::Duration;

use async_trait::async_trait;
use stateward_domain::id::Position;
use stateward_domain::ports::health::{Check, Lag, StoreCounters, StoreHealth};
use stateward_domain::time::{LogClock, Timestamp};
use tokio::time::timeout;

use super::clock_skew::Reading;
use super::connect::Database;

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_millis(800);
/// Age of an append in flight that is reported.
const HELD_BACK: Duration = Duration::from_secs(5);

/// The oldest append that holds readers back (process and program), its age in seconds, whether it was prepared; whether
/// the server syncs its writes; the number of events that were lost lately; its clock. A prepared transaction has no process. The
/// age is unknown where the role may not see it.
const READ: &str = "SELECT h.holder, h.age, h.prepared, current_setting('fsync')::bool, \
     (SELECT lost_events FROM stateward.log WHERE lost_at > stateward_views.clock_or(NULL) - $2), \
     stateward_views.clock_or(NULL) \
     FROM (SELECT 1) one LEFT JOIN LATERAL \
     (SELECT coalesce('process ' || l.pid || coalesce(' (' || nullif(a.application_name, '') || ')', ''), \
     'a prepared transaction') AS holder, l.pid IS NULL AS prepared, \
     floor(extract(epoch FROM clock_timestamp() - a.xact_start))::bigint AS age \
     FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid::bigint >> 16 = x'5357'::bigint \
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND (a.xact_start IS NULL OR a.xact_start < clock_timestamp() - $1 * interval '1 second') \
     ORDER BY a.xact_start NULLS FIRST LIMIT 1) h ON true";
/// How long it is reported that events were lost, in microseconds.
const LOST: i64 = 24 * 3_600 * 1_000_000;

/// A row of [`READ`].
type Row = (Option<String>, Option<i64>, Option<bool>, bool, Option<i64>, Option<i64>);

/// What is reported of an append that holds readers back. One whose age the role may not see counts from when readers
/// stood still.
fn holder(row: &Row, stood: Duration) -> Option<String> {
    let (Some(holder), age, prepared, ..) = row else { return None };
    let seconds = age.map_or(stood.as_secs(), i64::unsigned_abs);
    let reported = age.is_some() || *prepared == Some(true) || stood >= HELD_BACK;
    reported.then(|| format!("readers wait for an append of {holder}, for {seconds} s"))
}

/// Events behind a position, and when the one at it was recorded.
const LAG: &str = "SELECT (SELECT count(*) FROM (SELECT FROM stateward.events WHERE position > $1 LIMIT $2) behind), \
     (SELECT recorded_at FROM stateward.events WHERE position = $1)";

/// The state of a database.
pub struct Health {
    database: Database,
    clock: Option<LogClock>,
}

impl Health {
    /// Of the store that `database` connects to.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database, clock: None }
    }

    /// Also compares this machine's clock with the database's.
    #[must_use]
    pub fn with_clock(self, clock: LogClock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    fn wall(&self) -> Option<Timestamp> {
        self.clock.as_ref().map(|clock| clock.moment().wall)
    }
}

#[async_trait]
impl StoreHealth for Health {
    fn log_held_back(&self) -> Duration {
        self.database.held_back()
    }

    async fn lag(&self, position: Position, _: Position) -> Option<Lag> {
        let (at, limit) = (position.minor.cast_signed(), Lag::EVENTS_MAX.cast_signed());
        let read = self.database.fetch_one(sqlx::query_as(LAG).bind(at).bind(limit));
        let (events, since): (i64, Option<i64>) = timeout(ANSWER, read).await.ok()?.ok()?;
        Some(Lag { events: events.unsigned_abs(), since: since.map(Timestamp) })
    }

    fn counters(&self) -> Option<StoreCounters> {
        Some(self.database.counters().read())
    }

    async fn health(&self) -> Vec<Check> {
        let query = sqlx::query_as(READ).bind(HELD_BACK.as_secs_f64()).bind(LOST);
        let before = self.wall();
        let answer = timeout(ANSWER, self.database.fetch_one(query)).await;
        let after = self.wall();
        let unknown = (None, None, None, true, None, None);
        let (fault, row): (Option<String>, Row) = match answer {
            Ok(Ok(row)) => (None, row),
            Ok(Err(error)) => (Some(error.to_string()), unknown),
            Err(_) => {
                let late = || "the database does not answer".to_owned();
                (Some(self.database.fault().unwrap_or_else(late)), unknown)
            }
        };
        let held_back = holder(&row, self.database.held_back());
        let (.., synced, lost, now) = row;
        let reading = before.zip(after).zip(now.map(Timestamp));
        let skew = reading
            .and_then(|((before, after), database)| Reading { before, database, after }.report());
        let unsynced =
            (!synced).then(|| "fsync is off: a crash of the server may lose the log".to_owned());
        let lost = lost.filter(|lost| *lost > 0).map(|lost| {
            format!("{lost} events are gone: the database was restored, or its standby did not have them")
        });
        vec![
            Check::serious("store/database", fault),
            warning("store/log-held-back", held_back),
            warning("store/fsync", unsynced),
            warning("store/log-lost", lost),
            warning("store/clock", skew),
        ]
    }
}

/// A check that keeps no request from being served.
fn warning(name: &'static str, fault: Option<String>) -> Check {
    Check { serious: false, ..Check::serious(name, fault) }
}
