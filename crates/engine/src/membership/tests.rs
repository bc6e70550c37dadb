use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stateward_domain::backend::ParkCause;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::Version;
use stateward_domain::ports::cluster::Duty;
use stateward_domain::ports::member_report::{Calls, Observations};
use stateward_domain::time::{LogClock, ManualClock};
use uuid::Uuid;

use super::*;
use crate::backends::BackendSettings;
use crate::backends::availability::Unavailable;
use crate::backends::mass_absence::MassAbsence;
use crate::secrets::Secrets;
use crate::stub_driver::StubDriver;

/// A cluster whose other members and duties a test sets.
#[derive(Default)]
struct FakeCluster {
    others: Mutex<Vec<Member>>,
    /// The duties of others.
    taken: Mutex<Vec<Duty>>,
    down: AtomicBool,
    holds: Mutex<u32>,
}

impl FakeCluster {
    fn answers(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::Relaxed) {
            Err(StoreError::unavailable("down"))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl Cluster for FakeCluster {
    fn is_shared(&self) -> bool {
        true
    }

    async fn beat(&self, me: &Member) -> Result<Vec<Member>, StoreError> {
        self.answers()?;
        let mut all = self.others.lock().unwrap().clone();
        all.push(me.clone());
        Ok(all)
    }

    async fn hold(&self, _: NodeId, duty: &Duty, _: Duration) -> Result<bool, StoreError> {
        self.answers()?;
        *self.holds.lock().unwrap() += 1;
        Ok(!self.taken.lock().unwrap().contains(duty))
    }

    async fn give_back(&self, _: NodeId, _: &Duty) -> Result<(), StoreError> {
        self.answers()
    }

    async fn raise_catalogue(&self, catalogue: u32) -> Result<bool, StoreError> {
        self.answers()?;
        Ok(self.others.lock().unwrap().iter().all(|other| other.knows >= catalogue))
    }

    async fn leave(&self, _: NodeId) -> Result<(), StoreError> {
        self.answers()
    }
}

struct Setup {
    cluster: Arc<FakeCluster>,
    clock: Arc<ManualClock>,
    membership: Membership,
    observe_only: Arc<AtomicBool>,
    backends: Backends,
}

impl Setup {
    /// A member with the backend `b` of eight rounds and `rate`.
    fn new(rate: u32) -> Self {
        let (cluster, clock) = (Arc::new(FakeCluster::default()), ManualClock::new());
        let own = ClockAndIds { log_clock: LogClock::from(Arc::clone(&clock)) };
        let description = NodeDescription { name: "me".to_owned(), ..NodeDescription::default() };
        let observe_only = Arc::<AtomicBool>::default();
        let flag = Arc::clone(&observe_only);
        let mut settings =
            BackendSettings::new("b", "stub", Arc::new(StubDriver { kinds: Vec::new() }));
        settings.concurrency = 8;
        settings.rate_per_second = std::num::NonZeroU32::new(rate);
        let backends = Backends::new([settings], Arc::new(Secrets::default()));
        let membership = Membership::new(cluster.clone(), description, flag, own, backends.clone());
        Self { cluster, clock, membership, observe_only, backends }
    }

    fn joined_by(&self, role: Role, backend: &str) {
        self.joined_by_one(role, backend, false);
    }

    fn joined_by_one(&self, role: Role, backend: &str, observe_only: bool) {
        let digests = BTreeMap::from([(BackendName::from(backend), String::new())]);
        self.cluster.others.lock().unwrap().push(Member {
            id: NodeId(Uuid::from_u128(rand::random())),
            name: "other".to_owned(),
            role,
            version: "1".to_owned(),
            knows: 1,
            seen: Position::START,
            backends: digests,
            observe_only,
            revision: 0,
            report: MemberReport::default(),
        });
    }

    async fn beat(&self) {
        self.membership.beat().await.unwrap();
    }

    /// Beats until the member has been there for long enough to have its share.
    async fn settle(&self) {
        for _ in 0..3 {
            self.clock.advance(BEAT);
            self.beat().await;
        }
    }

    fn backend(&self) -> Arc<Backend> {
        self.backends.get(&BackendName::from("b")).unwrap()
    }

    fn rate(&self) -> u32 {
        self.membership.rate(&self.backend()).unwrap()
    }

    fn works(&self) -> bool {
        self.membership.works_on(&self.backend())
    }

    fn part(&self) -> (usize, usize) {
        self.membership.concurrency(&self.backend(), 0).part
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_member_has_no_share_before_the_others_know_it_and_the_whole_when_it_is_alone() {
    let alone = Setup::new(8);
    assert_eq!(alone.rate(), 0, "not joined");
    alone.beat().await;
    assert_eq!(alone.rate(), 8);

    let second = Setup::new(8);
    second.joined_by(Role::All, "b");
    second.beat().await;
    assert_eq!(second.rate(), 0, "the other may still use all of it");
    second.clock.advance(BEAT);
    second.beat().await;
    second.clock.advance(BEAT);
    second.beat().await;
    assert_eq!(second.rate(), 0, "one that hears nothing may still have its share");
    second.clock.advance(SECOND);
    assert_eq!(second.rate(), 4);
}

#[tokio::test]
async fn a_member_works_at_once_where_no_rate_is_divided_and_takes_over_once_a_step_was_found() {
    let setup = Setup::new(0);
    setup.joined_by(Role::All, "b");
    assert!(setup.works() && !setup.membership.may_take_over());
    setup.beat().await;
    assert!(setup.works() && !setup.membership.may_take_over());
    let all = setup.membership.concurrency(&setup.backend(), 3);
    assert_eq!((all.leases, all.checks, all.running, all.part), (8, 4, 3, (4, 4)));
    setup.joined_by(Role::Worker, "b");
    setup.clock.advance(BEAT);
    setup.beat().await;
    assert_eq!(setup.part(), (2, 3));
    setup.clock.advance(SECOND);
    assert!(setup.membership.may_take_over());
    setup.clock.advance(STALE * 2);
    assert!(setup.works() && setup.membership.may_take_over(), "the queue says what it may lease");
}

#[tokio::test]
async fn a_member_that_hears_nothing_has_no_share_and_joins_anew() {
    let setup = Setup::new(8);
    setup.beat().await;
    setup.joined_by(Role::Worker, "b");
    setup.clock.advance(STALE);
    assert_eq!(setup.rate(), 8, "the last answer still counts");
    setup.clock.advance(SECOND);
    assert_eq!(setup.rate(), 0, "the others may have taken its share");
    assert!(!setup.works(), "without a call no round gets anywhere");
    setup.beat().await;
    assert_eq!(setup.rate(), 0, "they have to know it again");
    setup.settle().await;
    assert_eq!(setup.rate(), 4);
}

#[tokio::test]
async fn only_workers_that_have_the_backend_and_may_change_it_share_it() {
    let setup = Setup::new(8);
    setup.joined_by(Role::Api, "b");
    setup.joined_by(Role::All, "other");
    setup.joined_by(Role::Worker, "b");
    setup.joined_by_one(Role::All, "b", true);
    setup.beat().await;
    setup.settle().await;
    assert_eq!((setup.rate(), setup.part()), (4, (4, 4)));
    assert!(setup.membership.is_configured_elsewhere(&BackendName::from("other")));
    assert!(!setup.membership.is_configured_elsewhere(&BackendName::from("none")));
}

#[tokio::test]
async fn a_member_that_only_observes_works_where_no_other_may_change() {
    let setup = Setup::new(8);
    setup.observe_only.store(true, Ordering::Release);
    setup.joined_by_one(Role::All, "b", true);
    setup.beat().await;
    setup.settle().await;
    assert_eq!((setup.works(), setup.rate(), setup.part()), (true, 4, (4, 4)));
    setup.joined_by(Role::Worker, "b");
    setup.beat().await;
    assert_eq!((setup.works(), setup.rate(), setup.part()), (false, 0, (8, 8)));
    // A person allows changes: the other one has to know that first.
    setup.observe_only.store(false, Ordering::Release);
    setup.beat().await;
    assert_eq!((setup.works(), setup.rate()), (false, 0));
    setup.settle().await;
    assert_eq!((setup.works(), setup.rate(), setup.part()), (true, 4, (4, 4)));
}

#[tokio::test]
async fn a_backend_that_is_added_has_no_share_of_its_rate_before_the_others_know_that() {
    let setup = Setup::new(8);
    setup.joined_by(Role::All, "b");
    setup.beat().await;
    setup.settle().await;
    let mut settings =
        BackendSettings::new("new", "stub", Arc::new(StubDriver { kinds: Vec::new() }));
    settings.rate_per_second = std::num::NonZeroU32::new(8);
    let mut both = vec![settings];
    both.push(setup.backend().settings.clone());
    setup.backends.replace(both);
    let new = setup.backends.get(&BackendName::from("new")).unwrap();
    setup.membership.limit_rates();
    assert_eq!(setup.membership.rate(&new), Some(0));
    setup.joined_by(Role::All, "new");
    setup.beat().await;
    assert_eq!(setup.membership.rate(&new), Some(0));
    assert_eq!(setup.rate(), 4, "that of the others stays");
    setup.settle().await;
    assert_eq!(setup.membership.rate(&new), Some(4));
}

#[tokio::test]
async fn a_single_call_a_second_is_one_members_who_alone_runs_rounds() {
    let setup = Setup::new(1);
    setup.joined_by(Role::All, "b");
    setup.beat().await;
    setup.settle().await;
    assert_eq!(setup.works(), setup.rate() == 1);
    let before = Setup::new(1);
    before.beat().await;
    assert!(before.works(), "alone it has the call");
}

#[tokio::test]
async fn a_duty_is_kept_by_renewal_and_survives_a_store_that_is_down_until_it_ends() {
    let setup = Setup::new(0);
    let duty = Duty::ForgetClaims;
    assert!(setup.membership.holds(&duty).await);
    assert!(setup.membership.holds(&duty).await);
    assert_eq!(*setup.cluster.holds.lock().unwrap(), 1, "known from memory");
    setup.cluster.down.store(true, Ordering::Relaxed);
    setup.clock.advance(SECOND * 9);
    assert!(setup.membership.holds(&duty).await, "nobody else can have it yet");
    setup.clock.advance(SECOND);
    assert!(!setup.membership.holds(&duty).await, "another may have it");
    setup.cluster.down.store(false, Ordering::Relaxed);
    setup.cluster.taken.lock().unwrap().push(duty.clone());
    assert!(!setup.membership.holds(&duty).await);
    setup.cluster.taken.lock().unwrap().clear();
    assert!(setup.membership.holds(&duty).await);
}

#[tokio::test]
async fn a_duty_that_was_given_up_is_left_to_the_others_for_a_while() {
    let setup = Setup::new(0);
    let duty = Duty::Project("entities".to_owned());
    setup.membership.give_up(&duty);
    assert!(setup.membership.holds(&duty).await, "what it did not have is not given up");
    setup.membership.give_up(&duty);
    assert!(!setup.membership.holds(&duty).await);
    setup.clock.advance(SECOND * 29);
    setup.membership.give_up(&duty);
    assert!(!setup.membership.holds(&duty).await);
    setup.clock.advance(SECOND * 2);
    assert!(setup.membership.holds(&duty).await, "no other wanted it");
}

#[tokio::test]
async fn standing_duties_are_renewed_by_heartbeats_and_projections_by_their_own_work() {
    let setup = Setup::new(0);
    let (sweep, projects) =
        (Duty::Sweep(BackendName::from("b")), Duty::Project("entities".to_owned()));
    assert!(setup.membership.holds(&sweep).await && setup.membership.holds(&projects).await);
    setup.clock.advance(SECOND * 4);
    setup.membership.renew_standing().await;
    assert_eq!(*setup.cluster.holds.lock().unwrap(), 3);
}

/// The absence of this process is the sixth of all.
#[tokio::test]
async fn absences_that_other_members_counted_park_the_backend_and_without_an_answer_nothing_is_known()
 {
    let setup = Setup::new(0);
    let (backend, name) = (setup.backend(), BackendName::from("b"));
    for (others, expected) in [
        (vec![2, 2], MassAbsence::Tolerated),
        (vec![3, 2], MassAbsence::Parks(ParkCause::MassAbsence { absent: 6, observed: 6 })),
    ] {
        setup.cluster.others.lock().unwrap().clear();
        for absent in others {
            setup.joined_by(Role::All, "b");
            let counts = Observations { confirmed: Version(0), observed: absent, absent };
            let report = BackendReport { observations: counts, ..BackendReport::default() };
            let mut all = setup.cluster.others.lock().unwrap();
            all.last_mut().unwrap().report.backends.insert(name.clone(), report);
        }
        let at = setup.membership.clock.moment().steady;
        backend.mass_absence.record(at, true, Version(0));
        let found = setup.membership.mass_absence(&backend, Version(0)).await;
        assert_eq!(found.unwrap(), expected);
        backend.mass_absence.retract(at);
    }
    setup.cluster.down.store(true, Ordering::Relaxed);
    assert!(setup.membership.mass_absence(&backend, Version(0)).await.is_err());
}

#[tokio::test]
async fn failures_that_other_members_report_open_the_breaker_at_the_first_failure_here() {
    let setup = Setup::new(0);
    let backend = setup.backend();
    backend.availability.record_identified();
    setup.joined_by(Role::All, "b");
    let failures = backend.settings.breaker.failures - 1;
    let report = |calls| BackendReport { calls, ..BackendReport::default() };
    let reports = |answered| {
        let calls = report(Calls { failures, answered });
        let backends = &mut setup.cluster.others.lock().unwrap()[0].report.backends;
        backends.insert(BackendName::from("b"), calls);
    };
    let now = setup.membership.clock.moment();
    let failure = Failure::harmless(ErrorClass::Transient, "test", "test");
    backend.availability.record_failure(&failure, &[], now);
    reports(true);
    setup.beat().await;
    assert_eq!(backend.availability.unavailable(now), None, "another gets answers");
    reports(false);
    setup.beat().await;
    assert_eq!(backend.availability.unavailable(now), Some(Unavailable::BreakerOpen));
}

#[tokio::test]
async fn a_backend_is_usable_elsewhere_where_a_worker_says_so_that_may_change_it() {
    let setup = Setup::new(0);
    let name = BackendName::from("b");
    for (role, backend, observe_only, usable, expected) in [
        (Role::All, "b", false, true, true),
        (Role::Worker, "b", false, false, false),
        (Role::Api, "b", false, true, false),
        (Role::All, "other", false, true, false),
        // It leaves the backend to this member, which may change it.
        (Role::All, "b", true, true, false),
    ] {
        setup.cluster.others.lock().unwrap().clear();
        setup.joined_by_one(role, backend, observe_only);
        let report = BackendReport { usable, ..BackendReport::default() };
        setup.cluster.others.lock().unwrap()[0].report.backends.insert(name.clone(), report);
        setup.beat().await;
        assert_eq!(setup.membership.is_usable_elsewhere(&name), expected, "{role:?} {backend}");
    }
}

#[test]
fn who_joins_waits_until_no_member_can_have_a_share_that_does_not_know_of_it() {
    assert!(JOINING > STALE && STALE > BEAT && SETTLING > BEAT);
}
