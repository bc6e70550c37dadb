//! Members of a cluster, and duties as lease rows, both in the database's time.
//!
//! Invariant: a member that stopped, or cannot reach the database, loses its duties without its help.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use stateward_domain::id::BackendName;
use stateward_domain::ports::cluster::{Cluster, Duty, Member, NodeId, Role};
use stateward_domain::ports::store_error::StoreError;
use uuid::Uuid;

use super::connect::Database;
use super::error::store_error;
use super::lease_clock::{ClockPrediction, LeaseClock};
use super::views_db::{micros, parsed};

/// A member that did not beat for as long is gone: five beats of three seconds.
const GONE_AFTER: Duration = Duration::from_secs(15);

/// Heartbeats are one after another: of two members that join at once, the second sees the first, so they never both take
/// themselves for the only one. `OFFSET 0` keeps the lock before the function, whose statements have snapshots of their own.
const BEAT: &str = "SELECT o_id, o_name, o_role, o_version, o_knows, o_seen, o_backends, \
     o_observe_only, o_revision, o_report, stateward_views.clock_or($10), \
     (SELECT catalogue FROM stateward.log) \
     FROM (SELECT 1 AS one FROM pg_advisory_xact_lock(x'535457424541'::bigint) OFFSET 0) turn, \
     LATERAL stateward_views.beat_v4($1, $2, $3, $4, $5 * turn.one, $6, $7, $8, $9, $10, $11, \
     $12, $13)";

/// The processes that work on one database.
pub struct Members {
    database: Database,
    leases: LeaseClock,
    /// Since the process began.
    steady: Instant,
    prediction: ClockPrediction,
}

impl Members {
    /// The members of `database`, whose lives and duties `leases` measures.
    #[must_use]
    pub fn new(database: Database, leases: LeaseClock) -> Self {
        let (steady, prediction) = (Instant::now(), ClockPrediction::default());
        Self { database, leases, steady, prediction }
    }

    /// Steady time, by which the clock of leases is predicted.
    fn steady(&self) -> i64 {
        match &self.leases {
            LeaseClock::Database => micros(self.steady.elapsed()),
            LeaseClock::Given(clock) | LeaseClock::Stepped(clock, _) => clock.moment().steady.0,
        }
    }
}

/// A stored member.
type MemberRow = (Uuid, String, String, String, i64, String, String, bool, i64, String);
/// A stored member with the clock of leases and the log's catalogue.
type BeatRow = (Uuid, String, String, String, i64, String, String, bool, i64, String, i64, i64);

fn member(row: MemberRow) -> Result<Member, StoreError> {
    let (id, name, role, version, knows, seen, backends, observe_only, revision, report) = row;
    let key = id.to_string();
    let damaged = |column, error: &dyn std::fmt::Display| {
        StoreError::inconsistent(("members", column), &key, error.to_string())
    };
    let seen = parsed(("members", "seen"), &key, &seen)?;
    let backends: BTreeMap<BackendName, String> =
        serde_json::from_str(&backends).map_err(|error| damaged("backends", &error))?;
    Ok(Member {
        id: NodeId(id),
        name,
        role: role_of(&role).ok_or_else(|| damaged("role", &"there is no such role"))?,
        version,
        knows: u32::try_from(knows).map_err(|error| damaged("knows", &error))?,
        seen,
        backends,
        observe_only,
        revision: u64::try_from(revision).map_err(|error| damaged("revision", &error))?,
        report: serde_json::from_str(&report).map_err(|error| damaged("report", &error))?,
    })
}

/// A role as it is stored.
const fn role_name(role: Role) -> &'static str {
    match role {
        Role::All => "all",
        Role::Api => "api",
        Role::Worker => "worker",
    }
}

fn role_of(name: &str) -> Option<Role> {
    [Role::All, Role::Api, Role::Worker].into_iter().find(|role| role_name(*role) == name)
}

/// A duty as it is stored.
fn duty_name(duty: &Duty) -> String {
    match duty {
        Duty::Project(name) => format!("project/{name}"),
        Duty::Rebuild(name) => format!("rebuild/{name}"),
        Duty::Sweep(backend) => format!("sweep/{}", backend.0),
        Duty::SeedTimers(backend) => format!("seed_timers/{}", backend.0),
        Duty::ForgetClaims => "forget_claims".to_owned(),
        Duty::Unconfigured => "unconfigured".to_owned(),
    }
}

/// The log may hold events that this process cannot read.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log has events of catalogue {found}, this version reads {known}: use a newer stateward"
)]
pub(super) struct NewerCatalogue {
    /// The log's.
    pub(super) found: i64,
    /// This process's.
    pub(super) known: u32,
}

#[async_trait]
impl Cluster for Members {
    fn is_shared(&self) -> bool {
        true
    }

    async fn beat(&self, me: &Member) -> Result<Vec<Member>, StoreError> {
        let backends = serde_json::to_string(&me.backends).map_err(StoreError::fatal)?;
        let report = serde_json::to_string(&me.report).map_err(StoreError::fatal)?;
        let mut session = self.database.session().await?;
        // Behind the wait for a connection, which is no step of the clock.
        let expected = self.prediction.at(self.steady());
        let query = sqlx::query_as(BEAT)
            .bind(me.id.0)
            .bind(&me.name)
            .bind(role_name(me.role))
            .bind(&me.version)
            .bind(i64::from(me.knows))
            .bind(me.seen.to_string())
            .bind(backends)
            .bind(me.observe_only)
            .bind(micros(GONE_AFTER))
            .bind(self.leases.now())
            .bind(expected)
            .bind(i64::try_from(me.revision).map_err(StoreError::fatal)?)
            .bind(report);
        let rows: Vec<BeatRow> = session.fetch_all(query).await.map_err(store_error)?;
        if let Some(row) = rows.first() {
            self.prediction.observe(row.10, self.steady());
            if row.11 > i64::from(me.knows) {
                let (found, known) = (row.11, me.knows);
                return Err(StoreError::fatal(NewerCatalogue { found, known }));
            }
        }
        let rows = rows.into_iter();
        rows.map(
            |(id, name, role, version, knows, seen, backends, observe, revision, report, ..)| {
                member((id, name, role, version, knows, seen, backends, observe, revision, report))
            },
        )
        .collect()
    }

    async fn hold(&self, me: NodeId, duty: &Duty, duration: Duration) -> Result<bool, StoreError> {
        let query = sqlx::query_as("SELECT stateward_views.hold_v2($1, $2, $3, $4)")
            .bind(duty_name(duty))
            .bind(me.0)
            .bind(micros(duration))
            .bind(self.leases.now());
        let (held,): (bool,) = self.database.fetch_one(query).await?;
        Ok(held)
    }

    async fn give_back(&self, me: NodeId, duty: &Duty) -> Result<(), StoreError> {
        let query = sqlx::query("SELECT stateward_views.give_back_v1($1, $2)");
        self.database.execute(query.bind(duty_name(duty)).bind(me.0)).await.map(drop)
    }

    async fn raise_catalogue(&self, catalogue: u32) -> Result<bool, StoreError> {
        let query = sqlx::query_as("SELECT stateward.raise_catalogue_v1($1, $2, $3)")
            .bind(i64::from(catalogue))
            .bind(self.leases.now())
            .bind(micros(GONE_AFTER));
        let (raised,): (bool,) = self.database.fetch_one(query).await?;
        Ok(raised)
    }

    async fn leave(&self, me: NodeId) -> Result<(), StoreError> {
        let leave = sqlx::query("SELECT stateward_views.leave_v1($1)").bind(me.0);
        self.database.execute(leave).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duty_and_each_role_has_a_name_of_its_own() {
        let backend = || BackendName::from("b");
        let name = || "b".to_owned();
        let duties = [
            (Duty::Project(name()), "project/b"),
            (Duty::Rebuild(name()), "rebuild/b"),
            (Duty::Sweep(backend()), "sweep/b"),
            (Duty::SeedTimers(backend()), "seed_timers/b"),
            (Duty::ForgetClaims, "forget_claims"),
            (Duty::Unconfigured, "unconfigured"),
        ];
        for (duty, name) in duties {
            assert_eq!(duty_name(&duty), name);
        }
        for role in [Role::All, Role::Api, Role::Worker] {
            assert_eq!(role_of(role_name(role)), Some(role));
        }
        assert_eq!(role_of("x"), None);
    }

    #[test]
    fn a_member_that_no_version_wrote_is_named() {
        type Change = fn(&mut MemberRow);
        let row = || -> MemberRow {
            let seen = stateward_domain::id::Position::START.to_string();
            let text = |text: &str| text.to_owned();
            (
                Uuid::nil(),
                text("n"),
                text("all"),
                text("1"),
                1,
                seen,
                text("{}"),
                false,
                1,
                text("{}"),
            )
        };
        assert!(member(row()).is_ok());
        let changes: [(Change, &str); 6] = [
            (|row| row.2 = "x".to_owned(), "role"),
            (|row| row.4 = -1, "knows"),
            (|row| row.5 = "x".to_owned(), "seen"),
            (|row| row.6 = "[".to_owned(), "backends"),
            (|row| row.8 = -1, "revision"),
            (|row| row.9 = "[".to_owned(), "report"),
        ];
        for (change, column) in changes {
            let mut damaged = row();
            change(&mut damaged);
            let Err(StoreError::Inconsistent { table, column: found, .. }) = member(damaged) else {
                panic!("{column} is read");
            };
            assert_eq!((&*table, &*found), ("members", column));
        }
    }
}
