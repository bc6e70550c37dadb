//! Setting the wall clock while the store is open: no work is late, no lease ends early, and no wait is longer than
//! its nominal length.

use super::*;
use crate::support::append;

const MINUTE: Duration = Duration::from_mins(1);
pub(super) const DAY: Duration = Duration::from_hours(24);
pub(super) const YEAR: Duration = Duration::from_hours(24 * 365);
/// Length of each wait in these tests.
pub(super) const WAIT: Duration = Duration::from_secs(10);

/// A change of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) enum Set {
    Back(Duration),
    Forward(Duration),
    ForwardAndBack(Duration),
}

pub(super) const SETTINGS: [Set; 5] = [
    Set::Back(MINUTE),
    Set::Back(Duration::from_hours(3)),
    Set::Forward(DAY),
    Set::ForwardAndBack(DAY),
    Set::ForwardAndBack(YEAR),
];

impl Subject {
    /// Reads the clocks in between, as any use of the store would.
    pub(super) fn set(&self, set: Set) {
        match set {
            Set::Back(by) => self.clock.set_back(by),
            Set::Forward(by) => self.clock.set_forward(by),
            Set::ForwardAndBack(by) => {
                self.clock.set_forward(by);
                self.now();
                self.clock.set_back(by);
            }
        }
        self.now();
    }

    /// Puts rows with the checkpoint at the log's head, so that both files still fit when they are opened again.
    pub(super) async fn put(&self, rows: &[QueueRow]) {
        let to = self.store.log.head().await.unwrap();
        let from = *self.at.lock().unwrap();
        let rows: Vec<_> = rows.iter().cloned().map(QueueChange::Put).collect();
        self.queue.advance(from, to, &rows).await.unwrap();
        *self.at.lock().unwrap() = to;
    }

    /// Records an event now, and puts three rows that follow from it: work that does not wait, work that waits for
    /// [`WAIT`], and a drift timer that ends then.
    pub(super) async fn three(&self, first: u128) {
        let stream = first.to_string();
        self.store.log.append(append(&stream, 0, first, 1, vec![])).await.unwrap();
        let work = self.due(first, Priority::User, 1);
        let due = work.due.map(|due| due.after(WAIT));
        let waits = QueueRow { due, ..self.due(first + 1, Priority::Retry, 1) };
        let check = self.due(first + 2, Priority::User, 1);
        self.put(&[work, waits, check.clone()]).await;
        for lease in self.lease("once", 9, false).await {
            if lease.entity == check.entity {
                self.put(&[idle(check.clone())]).await;
                self.release("once", &lease, None).await;
            }
        }
        self.store.leases.end().await;
    }

    pub(super) async fn leased(&self) -> Vec<u128> {
        let mut all: Vec<_> = self
            .lease("all", 99, true)
            .await
            .iter()
            .map(|lease| lease.entity.0.as_u128())
            .collect();
        all.sort_unstable();
        all
    }

    async fn next(&self) -> Option<Duration> {
        self.queue.next_due(&BackendName::from("b"), true).await.unwrap().within
    }
}

#[tokio::test]
async fn set_while_it_is_open_it_delays_nothing_and_ends_nothing_early() {
    for set in SETTINGS {
        for subject in Subject::all().await {
            subject.three(1).await;
            subject.advance(&[QueueChange::Put(subject.due(7, Priority::User, 1))]).await;
            let held = subject.lease("holder", 1, false).await.remove(0);
            let snoozed = subject.lease("snoozes", 1, false).await.remove(0);
            subject.release("snoozes", &snoozed, Some(WAIT)).await;

            subject.set(set);
            assert_eq!(subject.leased().await, Vec::<u128>::new(), "{set:?}: nothing is due");
            assert_eq!(subject.next().await, Some(WAIT), "{set:?}");
            subject.three(11).await;
            assert_eq!(
                subject.leased().await,
                [1, 7, 11],
                "{set:?}: what was asked for now is due now"
            );
            assert_eq!((held.entity, snoozed.entity), (entity(1), entity(7)));
            subject.store.leases.end().await;
            subject.clock.advance(WAIT);
            assert_eq!(
                subject.leased().await,
                [1, 2, 3, 7, 11, 12, 13],
                "{set:?}: ten seconds later"
            );
        }
    }
}

#[tokio::test]
async fn a_lease_is_as_long_as_it_was_asked_for() {
    for set in SETTINGS {
        for subject in Subject::all().await {
            subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 1))]).await;
            subject.lease("one", 1, false).await;
            subject.clock.advance(LEASE * 9 / 10);
            subject.set(set);
            assert_eq!(subject.lease("two", 1, false).await, [], "{set:?}: it is held");
            assert_eq!(
                subject.queue.renew(&[held(1, "one")], LEASE).await,
                Ok(vec![entity(1)]),
                "{set:?}"
            );
            subject.clock.advance(LEASE);
            assert_eq!(subject.queue.renew(&[held(1, "one")], LEASE).await, Ok(vec![]), "{set:?}");
            assert_eq!(subject.lease("two", 1, false).await.len(), 1, "{set:?}: it is over");
        }
    }
}

#[tokio::test]
async fn a_woken_row_is_due_whatever_time_the_waker_was_recorded_at() {
    for set in SETTINGS {
        for subject in Subject::all().await {
            let later = Some(subject.now().after(Duration::from_hours(1)));
            let rows = [
                WaitsFor::Entity(entity(9)),
                WaitsFor::Name(ClaimKey(format!("{}n/k/a", ClaimKey::NAME))),
                WaitsFor::Backend,
            ];
            let rows = (1..).zip(rows).map(|(number, waits_for)| {
                let row = subject.due(number, Priority::Retry, 1);
                QueueChange::Put(QueueRow { due: later, waits_for: Some(waits_for), ..row })
            });
            subject.advance(&rows.collect::<Vec<_>>()).await;
            subject.set(set);
            let (at, position) = (subject.now().after(DAY), position(7));
            let name = ClaimKey(format!("{}n/k/a", ClaimKey::NAME));
            let changes = [
                QueueChange::Wake { waited_for: entity(9), at, position },
                QueueChange::WakeNamed { name, at, position },
                QueueChange::WakeBackend { backend: BackendName::from("b"), at, position },
            ];
            assert!(subject.advance(&changes).await);
            assert_eq!(subject.leased().await, [1, 2, 3], "{set:?}");
        }
    }
}
