//! Members and duties, as a process that has the store for itself sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use stateward_domain::id::{BackendName, Position, Version};
use stateward_domain::ports::cluster::{Duty, Member, NodeId, Role};
use stateward_domain::ports::member_report::{
    BackendReport, Calls, MemberReport, Observations, ObserveOnlyCause, ReloadOutcome,
};
use uuid::Uuid;

use crate::support::{Subject, subjects};

fn member(id: u128) -> Member {
    Member {
        id: NodeId(Uuid::from_u128(id)),
        name: "n".to_owned(),
        role: Role::All,
        version: "1".to_owned(),
        knows: 1,
        seen: Position::START,
        backends: BTreeMap::new(),
        observe_only: false,
        revision: 0,
        report: MemberReport::default(),
    }
}

fn duties() -> [Duty; 6] {
    let backend = || BackendName::from("b");
    [
        Duty::Project("entities".to_owned()),
        Duty::Rebuild("entities".to_owned()),
        Duty::Sweep(backend()),
        Duty::SeedTimers(backend()),
        Duty::ForgetClaims,
        Duty::Unconfigured,
    ]
}

#[tokio::test]
async fn a_member_sees_itself_as_it_last_described_itself() {
    for Subject { name, cluster, .. } in subjects().await {
        let mut me = member(1);
        assert_eq!(cluster.beat(&me).await, Ok(vec![me.clone()]), "{name}");
        me.seen = Position { epoch: 1, major: 0, minor: 7 };
        me.observe_only = true;
        for _ in 0..2 {
            assert_eq!(cluster.beat(&me).await, Ok(vec![me.clone()]), "{name}");
        }
    }
}

/// What two calls of one process meet that overtake each other.
#[tokio::test]
async fn a_report_comes_back_and_an_earlier_one_that_arrives_later_changes_nothing() {
    for Subject { name, cluster, .. } in subjects().await {
        let report = |absent| {
            let observations = Observations { confirmed: Version(3), observed: 9, absent };
            let calls = Calls { failures: 2, answered: true };
            let backend = BackendReport { observations, calls, usable: true };
            MemberReport {
                backends: [(BackendName::from("b"), backend)].into(),
                reload: Some(ReloadOutcome { version: Version(7), error: Some("é".to_owned()) }),
                observe_only: Some(ObserveOnlyCause::RestoreHold),
            }
        };
        let first = Member { revision: 1, report: report(1), ..member(1) };
        let second = Member { revision: 2, report: report(2), ..member(1) };
        for described in [&first, &second] {
            assert_eq!(cluster.beat(described).await, Ok(vec![described.clone()]), "{name}");
        }
        assert_eq!(cluster.beat(&first).await, Ok(vec![second]), "{name}");
        let next = member(2);
        cluster.leave(first.id).await.unwrap();
        assert_eq!(cluster.beat(&next).await, Ok(vec![next.clone()]), "{name}: another life");
    }
}

#[tokio::test]
async fn the_only_member_takes_and_keeps_every_duty() {
    for Subject { name, cluster, .. } in subjects().await {
        let me = member(1);
        cluster.beat(&me).await.unwrap();
        for duty in duties() {
            for _ in 0..2 {
                let held = cluster.hold(me.id, &duty, Duration::from_secs(1)).await;
                assert_eq!(held, Ok(true), "{name}: {duty:?}");
            }
            for _ in 0..2 {
                assert_eq!(cluster.give_back(me.id, &duty).await, Ok(()), "{name}: {duty:?}");
            }
            let held = cluster.hold(me.id, &duty, Duration::from_secs(1)).await;
            assert_eq!(held, Ok(true), "{name}: {duty:?}");
        }
    }
}

#[tokio::test]
async fn the_only_member_raises_the_catalogue_to_what_it_reads() {
    for Subject { name, cluster, .. } in subjects().await {
        cluster.beat(&Member { knows: 2, ..member(1) }).await.unwrap();
        for _ in 0..2 {
            assert_eq!(cluster.raise_catalogue(2).await, Ok(true), "{name}");
        }
        cluster.beat(&Member { knows: 2, ..member(1) }).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_member_gives_back_the_next_one_gets() {
    for Subject { name, cluster, .. } in subjects().await {
        let (me, next) = (member(1), member(2));
        let duty = Duty::ForgetClaims;
        cluster.beat(&me).await.unwrap();
        assert_eq!(cluster.hold(me.id, &duty, Duration::from_hours(1)).await, Ok(true), "{name}");
        for _ in 0..2 {
            cluster.leave(me.id).await.unwrap();
        }
        assert_eq!(cluster.beat(&next).await, Ok(vec![next.clone()]), "{name}");
        assert_eq!(cluster.hold(next.id, &duty, Duration::from_secs(1)).await, Ok(true), "{name}");
        let late = cluster.hold(me.id, &duty, Duration::from_secs(1)).await;
        assert_eq!(late, Ok(false), "{name}: a process that was declared dead");
    }
}
