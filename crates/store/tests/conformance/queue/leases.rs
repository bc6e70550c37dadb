//! Leases and drift timers: the rows of workers.

use super::*;

#[tokio::test]
async fn a_leased_entity_is_not_leased_again() {
    for subject in Subject::all().await {
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 1))]).await;
        assert_eq!(subject.lease("one", 10, false).await.len(), 1);
        assert_eq!(subject.lease("two", 10, false).await, []);
        subject.clock.advance(LEASE + Duration::from_millis(1));
        assert_eq!(subject.lease("two", 10, false).await.len(), 1, "it ran out");
        let renewed = subject.queue.renew(&[held(1, "one")], LEASE).await;
        assert_eq!(renewed, Ok(vec![]), "a frozen worker learns that it lost it");
    }
}

#[tokio::test]
async fn a_renewed_lease_lasts_and_one_that_ended_cannot_be_renewed() {
    for subject in Subject::all().await {
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 1))]).await;
        subject.lease("one", 1, false).await;
        subject.clock.advance(LEASE / 3);
        assert_eq!(subject.queue.renew(&[held(1, "one")], LEASE).await, Ok(vec![entity(1)]));
        subject.clock.advance(LEASE.checked_sub(Duration::from_secs(1)).unwrap());
        assert_eq!(subject.lease("two", 1, false).await, []);
        subject.clock.advance(Duration::from_secs(2));
        assert_eq!(subject.queue.renew(&[held(1, "one")], LEASE).await, Ok(vec![]));
    }
}

#[tokio::test]
async fn all_leases_of_a_process_are_renewed_at_once() {
    for subject in Subject::all().await {
        let rows = [1, 2, 3].map(|number| subject.due(number, Priority::User, 1));
        subject.advance(&rows.map(QueueChange::Put)).await;
        subject.lease("one", 2, false).await;
        subject.lease("two", 1, false).await;
        subject.clock.advance(LEASE / 3);
        let mine = [held(1, "one"), held(2, "one"), held(3, "one"), held(4, "one")];
        let mut renewed = subject.queue.renew(&mine, LEASE).await.unwrap();
        renewed.sort();
        assert_eq!(renewed, [entity(1), entity(2)], "neither another worker's nor an unknown one");
        assert_eq!(subject.queue.renew(&[], LEASE).await, Ok(vec![]));
        subject.clock.advance(LEASE.checked_sub(Duration::from_secs(1)).unwrap());
        let left = subject.lease("three", 9, false).await;
        assert_eq!(left.iter().map(|lease| lease.entity).collect::<Vec<_>>(), [entity(3)]);
    }
}

#[tokio::test]
async fn users_changes_go_before_retries_and_those_before_checks() {
    for subject in Subject::all().await {
        let rows = [
            subject.due(1, Priority::Retry, 1),
            idle(subject.due(2, Priority::Drift, 1)),
            subject.due(3, Priority::User, 1),
        ];
        subject.advance(&rows.map(QueueChange::Put)).await;
        subject.queue.seed_drift_timers(&BackendName::from("b"), Duration::ZERO).await.unwrap();
        let leases = subject.lease("one", 10, true).await;
        let order: Vec<_> = leases.iter().map(|lease| (lease.entity, lease.reason)).collect();
        let work = LeaseReason::Work;
        assert_eq!(order, [(entity(3), work), (entity(1), work), (entity(2), LeaseReason::Drift)]);
    }
}

#[tokio::test]
async fn a_snooze_holds_until_it_ends_or_the_row_moves_on() {
    for subject in Subject::all().await {
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 1))]).await;
        let lease = subject.lease("one", 1, false).await.remove(0);
        subject.release("one", &lease, Some(Duration::from_mins(1))).await;
        assert_eq!(subject.lease("one", 1, false).await, []);
        let within = subject.queue.next_due(&BackendName::from("b"), false).await.unwrap().within;
        assert_eq!(within, Some(Duration::from_mins(1)));
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 2))]).await;
        let lease = subject.lease("one", 1, false).await.remove(0);
        assert_eq!(lease.seen, position(2), "a newer row voids it");
        subject.release("one", &lease, Some(Duration::from_mins(1))).await;
        subject.clock.advance(Duration::from_secs(61));
        assert_eq!(subject.lease("one", 1, false).await.len(), 1, "it ended");
    }
}

#[tokio::test]
async fn a_row_that_moved_on_under_a_lease_is_due_again_after_it() {
    for subject in Subject::all().await {
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 1))]).await;
        let lease = subject.lease("one", 1, false).await.remove(0);
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 2))]).await;
        subject.release("one", &lease, Some(Duration::from_hours(1))).await;
        assert_eq!(subject.lease("one", 1, false).await.len(), 1, "no race forgets work");
    }
}

#[tokio::test]
async fn a_late_release_leaves_the_new_holder_alone() {
    for subject in Subject::all().await {
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 1))]).await;
        let lease = subject.lease("one", 1, false).await.remove(0);
        subject.clock.advance(LEASE + Duration::from_secs(1));
        assert_eq!(subject.lease("two", 1, false).await.len(), 1);
        subject.release("one", &lease, None).await;
        assert_eq!(subject.lease("three", 1, false).await, []);
    }
}

#[tokio::test]
async fn leases_that_end_together_end_each_in_its_own_way() {
    for subject in Subject::all().await {
        let rows = [1, 2, 3].map(|number| QueueChange::Put(subject.due(number, Priority::User, 1)));
        subject.advance(&rows).await;
        let leases = subject.lease("one", 3, false).await;
        let pause = Some(Duration::from_secs(9));
        let release = |number: usize, worker: &str, snooze| Release {
            entity: leases[number].entity,
            worker: worker.to_owned(),
            snooze,
            seen: leases[number].seen,
            drift_in: None,
            observed_under: None,
        };
        let ended = [release(0, "one", None), release(1, "one", pause), release(2, "other", None)];
        subject.queue.release(&ended).await.unwrap();
        subject.queue.release(&[]).await.unwrap();
        let again = subject.lease("two", 3, false).await;
        assert_eq!(again.iter().map(|lease| lease.entity).collect::<Vec<_>>(), [leases[0].entity]);
        subject.clock.advance(Duration::from_secs(9));
        let again = subject.lease("two", 3, false).await;
        assert_eq!(again.iter().map(|lease| lease.entity).collect::<Vec<_>>(), [leases[1].entity]);
    }
}

#[tokio::test]
async fn work_is_not_leased_before_it_is_due() {
    for subject in Subject::all().await {
        let later = subject.now().after(Duration::from_secs(5));
        let row = QueueRow { due: Some(later), ..subject.due(1, Priority::Retry, 1) };
        subject.advance(&[QueueChange::Put(row)]).await;
        assert_eq!(subject.lease("one", 1, false).await, []);
        let within = subject.queue.next_due(&BackendName::from("b"), false).await.unwrap().within;
        assert_eq!(within, Some(Duration::from_secs(5)));
        subject.clock.advance(Duration::from_secs(5));
        assert_eq!(subject.lease("one", 1, false).await.len(), 1);
    }
}

#[tokio::test]
async fn checks_come_when_their_timer_ends_and_never_beside_work() {
    for subject in Subject::all().await {
        let backend = BackendName::from("b");
        subject.advance(&[QueueChange::Put(idle(subject.due(1, Priority::Drift, 1)))]).await;
        assert_eq!(subject.lease("one", 1, true).await, [], "it has no timer");
        let seeded = subject.queue.seed_drift_timers(&backend, Duration::from_secs(10)).await;
        assert_eq!(seeded, Ok(1));
        assert_eq!(subject.queue.seed_drift_timers(&backend, Duration::ZERO).await, Ok(0));
        subject.clock.advance(Duration::from_secs(10));
        let lease = subject.lease("one", 1, true).await.remove(0);
        assert_eq!(lease.reason, LeaseReason::Drift);
        subject.release("one", &lease, None).await;
        assert_eq!(subject.lease("one", 1, true).await, [], "the next one is ten seconds away");
        let within = subject.queue.next_due(&backend, true).await.unwrap().within;
        assert_eq!(within, Some(Duration::from_secs(10)));
        subject.clock.advance(Duration::from_secs(11));
        assert_eq!(subject.lease("one", 1, false).await, [], "not asked for");
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 2))]).await;
        assert_eq!(subject.lease("one", 1, true).await[0].reason, LeaseReason::Work);
    }
}

#[tokio::test]
async fn work_comes_before_checks_and_no_more_checks_come_than_were_asked_for() {
    for subject in Subject::all().await {
        let rows = [1, 2, 3].map(|id| QueueChange::Put(idle(subject.due(id, Priority::Drift, 1))));
        subject.advance(&rows).await;
        let backend = BackendName::from("b");
        assert_eq!(subject.queue.seed_drift_timers(&backend, Duration::from_secs(1)).await, Ok(3));
        subject.clock.advance(Duration::from_secs(1));
        subject.advance(&[QueueChange::Put(subject.due(4, Priority::Drift, 2))]).await;
        let reasons =
            |leases: &[Lease]| leases.iter().map(|lease| lease.reason).collect::<Vec<_>>();
        let leases = subject.lease_with("one", 1, 1).await;
        assert_eq!(reasons(&leases), [LeaseReason::Work], "work leaves no place");
        let release = |lease: &Lease| Release {
            entity: lease.entity,
            worker: "one".to_owned(),
            snooze: None,
            seen: lease.seen,
            drift_in: None,
            observed_under: None,
        };
        subject.queue.release(&[release(&leases[0])]).await.unwrap();
        let mut found = reasons(&subject.lease_with("two", 9, 2).await);
        found.sort_by_key(|reason| *reason == LeaseReason::Drift);
        assert_eq!(found, [LeaseReason::Work, LeaseReason::Drift, LeaseReason::Drift]);
        assert_eq!(reasons(&subject.lease_with("two", 9, 0).await), []);
        assert_eq!(reasons(&subject.lease_with("two", 9, 9).await), [LeaseReason::Drift]);
    }
}

#[tokio::test]
async fn what_is_due_next_is_found_behind_many_that_are_held() {
    for subject in Subject::all().await {
        let backend = BackendName::from("b");
        let next = async || subject.queue.next_due(&backend, true).await.unwrap().within;
        assert_eq!(next().await, None);
        let held: Vec<_> = (1..=20).map(|id| subject.due(id, Priority::User, 1)).collect();
        subject.advance(&held.into_iter().map(QueueChange::Put).collect::<Vec<_>>()).await;
        assert_eq!(next().await, Some(Duration::ZERO));
        assert_eq!(subject.lease("one", 20, false).await.len(), 20);
        assert_eq!(next().await, Some(LEASE), "all are held");
        let later = |id, priority, seconds| {
            let row = subject.due(id, priority, 2);
            let due = row.due.map(|due| due.after(Duration::from_secs(seconds)));
            QueueChange::Put(QueueRow { due, ..row })
        };
        subject.advance(&[later(21, Priority::Retry, 5), later(22, Priority::User, 3)]).await;
        assert_eq!(
            next().await,
            Some(Duration::from_secs(3)),
            "the sooner one, of its priority the last"
        );
    }
}

#[tokio::test]
async fn after_which_confirmation_an_entity_was_observed_is_kept() {
    for subject in Subject::all().await {
        let backend = BackendName::from("b");
        let since = async |current| subject.queue.observed_since(&backend, Version(current)).await;
        assert_eq!(since(4).await, Ok(Version(4)), "before, nothing was kept");
        assert_eq!(since(9).await, Ok(Version(4)));
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 1))]).await;
        for (observed, known) in [(None, 0), (Some(5), 0), (None, 5), (Some(7), 5), (Some(6), 7)] {
            let lease = subject.lease("one", 1, false).await.remove(0);
            assert_eq!(lease.observed_under, Version(known));
            let release = Release {
                entity: lease.entity,
                worker: "one".to_owned(),
                snooze: None,
                seen: lease.seen,
                drift_in: None,
                observed_under: observed.map(Version),
            };
            subject.queue.release(&[release]).await.unwrap();
        }
        subject.store.leases.end().await;
        subject.queue.reset().await.unwrap();
        *subject.at.lock().unwrap() = Position::START;
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 1))]).await;
        assert_eq!(subject.lease("one", 1, false).await[0].observed_under, Version(7), "also then");
        // Deleted with the entity.
        subject.store.leases.end().await;
        subject.advance(&[QueueChange::Remove(entity(1))]).await;
        subject.queue.seed_drift_timers(&backend, Duration::from_secs(1)).await.unwrap();
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 1))]).await;
        assert_eq!(subject.lease("one", 1, false).await[0].observed_under, Version(0));
    }
}
