//! Several members of one cluster, and their duties.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::id::{BackendName, Position};
use stateward_domain::ports::cluster::{Cluster, Duty, Member, NodeId, Role};
use stateward_domain::ports::member_report::{BackendReport, MemberReport, Observations};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::LogClock;
use stateward_store::postgres::{LeaseClock, Members};
use uuid::Uuid;

use super::{TestDatabase, test_database};
use crate::support::ManualClock;

const HOLD: Duration = Duration::from_secs(10);

/// The cluster as `count` processes see it, and the clock of their database.
async fn processes(database: &TestDatabase, count: usize) -> (Vec<Members>, Arc<ManualClock>) {
    let clock = ManualClock::new();
    let mut members = Vec::new();
    for _ in 0..count {
        let leases = LeaseClock::Given(LogClock::from(clock.clone()));
        members.push(Members::new(database.connect().await, leases));
    }
    (members, clock)
}

fn member(id: u128) -> Member {
    Member {
        id: NodeId(Uuid::from_u128(id)),
        name: format!("n{id}"),
        role: Role::Worker,
        version: "1".to_owned(),
        knows: 3,
        seen: Position { epoch: 1, major: 0, minor: 7 },
        backends: [(BackendName::from("b"), "digest".to_owned())].into(),
        observe_only: id == 1,
        revision: 0,
        report: MemberReport::default(),
    }
}

#[tokio::test]
async fn every_member_sees_all_that_live_in_the_order_in_which_they_came() {
    let Some(database) = test_database() else { return };
    let (cluster, clock) = processes(&database.await, 2).await;
    let (first, second) = (member(9), member(1));
    assert_eq!(cluster[0].beat(&first).await, Ok(vec![first.clone()]));
    assert_eq!(cluster[1].beat(&second).await, Ok(vec![first.clone(), second.clone()]));
    let described = Member { seen: Position { epoch: 1, major: 0, minor: 8 }, ..first.clone() };
    assert_eq!(cluster[0].beat(&described).await, Ok(vec![described.clone(), second.clone()]));
    clock.advance(Duration::from_secs(14));
    assert_eq!(cluster[1].beat(&second).await, Ok(vec![described, second.clone()]));
    clock.advance(Duration::from_secs(1));
    assert_eq!(cluster[1].beat(&second).await, Ok(vec![second.clone()]), "15 s without a beat");
    let again = vec![second.clone(), first.clone()];
    assert_eq!(cluster[0].beat(&first).await, Ok(again), "it comes anew");
    cluster[1].leave(second.id).await.unwrap();
    assert_eq!(cluster[0].beat(&first).await, Ok(vec![first]));
}

/// Of reports that cross each other, the last to be answered sees all: so what is too much together is seen as such.
#[tokio::test(flavor = "multi_thread")]
async fn of_members_that_beat_at_once_the_last_sees_the_reports_of_all() {
    const MEMBERS: usize = 4;
    let Some(database) = test_database() else { return };
    let (cluster, _clock) = processes(&database.await, MEMBERS).await;
    let cluster = Arc::new(cluster);
    let backend = BackendName::from("b");
    for absent in 1..=20 {
        let beats = (0..MEMBERS).map(|number| {
            let (cluster, backend) = (Arc::clone(&cluster), backend.clone());
            tokio::spawn(async move {
                let observations = Observations { absent, ..Observations::default() };
                let report = BackendReport { observations, ..BackendReport::default() };
                let backends = [(backend.clone(), report)].into();
                let report = MemberReport { backends, ..MemberReport::default() };
                let me = Member { revision: absent, report, ..member(number as u128) };
                let all = cluster[number].beat(&me).await.unwrap();
                all.iter().map(|one| one.report.backends[&backend].observations.absent).sum::<u64>()
            })
        });
        let mut most = 0;
        for beat in beats.collect::<Vec<_>>() {
            most = most.max(beat.await.unwrap());
        }
        assert_eq!(most, absent * MEMBERS as u64, "of {MEMBERS} members that each report {absent}");
    }
}

#[tokio::test]
async fn a_duty_is_of_one_member_until_it_ends_or_is_given_back() {
    let Some(database) = test_database() else { return };
    let (cluster, clock) = processes(&database.await, 2).await;
    let (one, two) = (member(1).id, member(2).id);
    let duty = Duty::Project("entities".to_owned());
    assert_eq!(cluster[0].hold(one, &duty, HOLD).await, Ok(true));
    assert_eq!(cluster[1].hold(two, &duty, HOLD).await, Ok(false));
    let other = Duty::Rebuild("entities".to_owned());
    assert_eq!(cluster[1].hold(two, &other, HOLD).await, Ok(true), "another duty");
    cluster[0].give_back(one, &other).await.unwrap();
    assert_eq!(cluster[0].hold(one, &other, HOLD).await, Ok(false), "it is not its own");
    for _ in 0..2 {
        cluster[1].give_back(two, &other).await.unwrap();
    }
    assert_eq!(cluster[0].hold(one, &other, HOLD).await, Ok(true), "at once");
    clock.advance(Duration::from_secs(9));
    assert_eq!(cluster[0].hold(one, &duty, HOLD).await, Ok(true), "it keeps it");
    clock.advance(Duration::from_secs(9));
    assert_eq!(cluster[1].hold(two, &duty, HOLD).await, Ok(false));
    // The first one is frozen.
    clock.advance(Duration::from_secs(1));
    assert_eq!(cluster[1].hold(two, &duty, HOLD).await, Ok(true), "it ended");
    assert_eq!(cluster[0].hold(one, &duty, HOLD).await, Ok(false), "what a frozen holder learns");
    cluster[0].leave(one).await.unwrap();
    assert_eq!(cluster[0].hold(one, &duty, HOLD).await, Ok(false), "it gave no other's duty back");
    cluster[1].leave(two).await.unwrap();
    assert_eq!(cluster[0].hold(one, &duty, HOLD).await, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_want_a_duty_at_once_one_gets_it() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=8 {
        let members = Members::new(database.connect().await, LeaseClock::Database);
        tasks.spawn(async move {
            let me = member(number);
            members.beat(&me).await.unwrap();
            members.hold(me.id, &Duty::ForgetClaims, Duration::from_hours(1)).await.unwrap()
        });
    }
    let held = tasks.join_all().await;
    assert_eq!(held.iter().filter(|held| **held).count(), 1);
}

#[tokio::test]
async fn the_catalogue_is_raised_once_every_member_reads_it_and_bars_those_that_do_not() {
    let Some(database) = test_database() else { return };
    let (cluster, clock) = processes(&database.await, 2).await;
    let newer = Member { knows: 4, ..member(1) };
    let older = member(2);
    cluster[0].beat(&newer).await.unwrap();
    cluster[1].beat(&older).await.unwrap();
    for _ in 0..2 {
        assert_eq!(cluster[0].raise_catalogue(4).await, Ok(false), "a member reads 3");
    }
    assert_eq!(cluster[0].raise_catalogue(3).await, Ok(true), "all read that");
    cluster[1].beat(&older).await.unwrap();
    clock.advance(Duration::from_secs(14));
    cluster[0].beat(&newer).await.unwrap();
    assert_eq!(cluster[0].raise_catalogue(4).await, Ok(false), "it may live");
    clock.advance(Duration::from_secs(1));
    for _ in 0..2 {
        assert_eq!(cluster[0].raise_catalogue(4).await, Ok(true), "it has not beaten for 15 s");
    }
    let Err(StoreError::Fatal { source }) = cluster[1].beat(&older).await else {
        panic!("it is a member");
    };
    let said = source.to_string();
    assert!(said.contains("catalogue 4") && said.contains("reads 3"), "{said}");
    assert_eq!(cluster[0].raise_catalogue(2).await, Ok(true));
    assert!(cluster[1].beat(&older).await.is_err(), "it never sinks");
    cluster[0].beat(&newer).await.unwrap();
}
