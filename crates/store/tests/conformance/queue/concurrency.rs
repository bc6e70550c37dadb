//! The concurrency of a backend: no more of its leases are held at once than it allows, whichever workers of whichever
//! process hold them, and all of it can be used.

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::*;
use crate::support::shared_subjects;

const LIMIT: usize = 4;
/// Entities that are due.
const DUE: u128 = 40;

/// Two processes on one store.
struct Pair {
    name: &'static str,
    subject: Subject,
    queues: [Arc<dyn SyncQueue>; 2],
}

impl Pair {
    /// Pairs on each adapter, with work.
    #[track_caller]
    fn all() -> impl Future<Output = Vec<Self>> {
        let stores = shared_subjects();
        async {
            let mut all = Vec::new();
            for (store, second) in stores.await {
                let (name, queues) = (store.name, [store.queue.clone(), second.queue]);
                let subject = Subject::of(store).await;
                let rows = (1..=DUE).map(|number| subject.due(number, Priority::User, 1));
                subject.advance(&rows.map(QueueChange::Put).collect::<Vec<_>>()).await;
                all.push(Self { name, subject, queues });
            }
            all
        }
    }

    /// What a process is granted of `limit`, within `within`.
    async fn lease(&self, process: usize, limit: usize, within: Concurrency) -> Vec<Lease> {
        let request = LeaseRequest {
            worker: format!("w{process}"),
            backend: BackendName::from("b"),
            limit,
            duration: LEASE,
            checks: limit,
            within: Some(within),
            takeover: true,
        };
        self.queues[process].lease(&request).await.unwrap()
    }

    async fn count(&self, process: usize, limit: usize) -> usize {
        self.lease(process, limit, Concurrency::alone(LIMIT, LIMIT)).await.len()
    }

    async fn release(&self, process: usize, lease: &Lease) {
        let release = Release {
            entity: lease.entity,
            worker: format!("w{process}"),
            snooze: None,
            seen: lease.seen,
            drift_in: None,
            observed_under: None,
        };
        self.queues[process].release(&[release]).await.unwrap();
    }
}

#[tokio::test]
async fn two_workers_together_hold_no_more_than_the_limit_and_all_of_it() {
    for pair in Pair::all().await {
        let name = pair.name;
        let first = pair.lease(0, 3, Concurrency::alone(LIMIT, LIMIT)).await;
        assert_eq!(first.len(), 3, "{name}");
        assert_eq!(pair.count(1, 9).await, 1, "{name}: what is left");
        assert_eq!(pair.count(0, 9).await, 0, "{name}");
        pair.release(0, &first[0]).await;
        assert_eq!(pair.count(1, 9).await, 1, "{name}: what was released");
        // Each has a limit of its own, as after a new configuration of one of them.
        assert_eq!(pair.lease(0, 9, Concurrency::alone(LIMIT + 1, 1)).await.len(), 1, "{name}");
        assert_eq!(pair.count(1, 9).await, 0, "{name}");
    }
}

#[tokio::test]
async fn what_a_dead_worker_held_is_used_again_from_the_end_of_its_leases_on() {
    for pair in Pair::all().await {
        let name = pair.name;
        let dead = pair.lease(0, 2, Concurrency::alone(LIMIT, LIMIT)).await;
        pair.subject.clock.advance(LEASE / 2);
        let living = pair.lease(1, 9, Concurrency::alone(LIMIT, LIMIT)).await;
        assert_eq!(living.len(), 2, "{name}");
        let held: Vec<_> = living.iter().map(|l| (l.entity, "w1".to_owned())).collect();
        assert_eq!(pair.queues[1].renew(&held, LEASE).await.unwrap().len(), 2, "{name}");
        pair.subject.clock.advance(LEASE.checked_sub(Duration::from_secs(16)).unwrap());
        assert_eq!(pair.count(1, 9).await, 0, "{name}: not ended");
        pair.subject.clock.advance(Duration::from_secs(2));
        assert_eq!(pair.count(1, 9).await, 2, "{name}: ended");
        // It wakes up: what it does late frees nothing.
        for lease in &dead {
            pair.release(0, lease).await;
        }
        assert_eq!(pair.count(0, 9).await, 0, "{name}");
    }
}

#[tokio::test]
async fn checks_of_all_workers_leave_room_for_a_users_change() {
    for pair in Pair::all().await {
        let (name, subject) = (pair.name, &pair.subject);
        let rows = (1..=DUE).map(|number| idle(subject.due(number, Priority::Drift, 2)));
        subject.advance(&rows.map(QueueChange::Put).collect::<Vec<_>>()).await;
        pair.queues[0].seed_drift_timers(&BackendName::from("b"), Duration::ZERO).await.unwrap();
        let within = Concurrency::alone(LIMIT, 2);
        assert_eq!(pair.lease(0, 1, within).await.len(), 1, "{name}");
        let check = pair.lease(1, 9, within).await;
        assert_eq!(check.len(), 1, "{name}: half of them");
        subject.advance(&[QueueChange::Put(subject.due(99, Priority::User, 3))]).await;
        let work = pair.lease(0, 9, within).await;
        let reasons: Vec<_> = work.iter().map(|lease| lease.reason).collect();
        assert_eq!(reasons, [LeaseReason::Work], "{name}");
        pair.release(1, &check[0]).await;
        subject.clock.advance(Duration::from_secs(1));
        assert_eq!(pair.lease(0, 9, within).await.len(), 1, "{name}: one check ended");
    }
}

#[tokio::test]
async fn leases_that_are_no_rounds_do_not_count() {
    for pair in Pair::all().await {
        let request = LeaseRequest {
            worker: "blocks".to_owned(),
            backend: BackendName::from("b"),
            limit: 9,
            duration: LEASE,
            checks: 0,
            within: None,
            takeover: true,
        };
        assert_eq!(pair.queues[0].lease(&request).await.unwrap().len(), 9, "{}", pair.name);
        assert_eq!(pair.count(1, 9).await, LIMIT, "{}", pair.name);
        assert_eq!(pair.queues[0].lease(&request).await.unwrap().len(), 9, "{}", pair.name);
        let other = LeaseRequest {
            backend: BackendName::from("c"),
            within: Some(Concurrency::alone(1, 1)),
            ..request
        };
        let row =
            QueueRow { backend: other.backend.clone(), ..pair.subject.due(90, Priority::User, 2) };
        pair.subject.advance(&[QueueChange::Put(row)]).await;
        assert_eq!(pair.queues[0].lease(&other).await.unwrap().len(), 1, "another backend");
    }
}

/// A lease that the test believes to be held.
struct Believed {
    process: usize,
    lease: Lease,
    until: Duration,
}

/// Random leases, renewals, releases, deaths and pauses of two processes.
#[tokio::test]
async fn no_interleaving_of_two_workers_exceeds_the_limit_or_leaves_a_part_of_it_unused() {
    let mut runner = TestRunner::deterministic();
    let steps = vec((0..10_u8, 0..2_usize, 1..15_u8), 120);
    for round in 0..6 {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        for pair in Pair::all().await {
            let (mut held, mut now): (Vec<Believed>, _) = (Vec::new(), Duration::ZERO);
            for (number, (kind, process, amount)) in steps.iter().copied().enumerate() {
                let at = format!("{}, round {round}, step {number}", pair.name);
                match kind {
                    0..5 => {
                        let wanted = usize::from(amount) % (LIMIT + 1) + 1;
                        let within = Concurrency::alone(LIMIT, LIMIT);
                        let leases = pair.lease(process, wanted, within).await;
                        assert_eq!(leases.len(), wanted.min(LIMIT - held.len()), "{at}");
                        let until = now + LEASE;
                        let believed = |lease| Believed { process, lease, until };
                        held.extend(leases.into_iter().map(believed));
                    }
                    5..8 if !held.is_empty() => {
                        let ended = held.swap_remove(usize::from(amount) % held.len());
                        pair.release(ended.process, &ended.lease).await;
                    }
                    8 => {
                        let mine = |held: &&mut Believed| held.process == process;
                        let mine: Vec<_> = held.iter_mut().filter(mine).collect();
                        let key = |held: &&mut Believed| (held.lease.entity, format!("w{process}"));
                        let keys: Vec<_> = mine.iter().map(key).collect();
                        let renewed = pair.queues[process].renew(&keys, LEASE).await.unwrap();
                        assert_eq!(renewed.len(), keys.len(), "{at}");
                        for held in mine {
                            held.until = now + LEASE;
                        }
                    }
                    _ => {
                        let pause = Duration::from_secs(u64::from(amount));
                        pair.subject.clock.advance(pause);
                        now += pause;
                        // The worker died that did not renew.
                        held.retain(|held| held.until > now);
                    }
                }
            }
        }
    }
}
