//! Hints between the tasks of a process: how far a projection is, and which backends a delivery gave work.

use std::collections::HashMap;

use stateward_domain::id::{BackendName, Position};
use stateward_domain::ports::sync_queue::{QueueChange, SeenHints};
use tokio::sync::watch;

/// How far a projection is, as this process knows it; `None` = not known yet.
#[derive(Default)]
pub(crate) struct KnownCheckpoint(watch::Sender<Option<Position>>);

impl KnownCheckpoint {
    /// The checkpoint is at `position`, and those who wait for it go on.
    pub(crate) fn set(&self, position: Position) {
        self.0.send_replace(Some(position));
    }

    pub(crate) fn get(&self) -> Option<Position> {
        *self.0.borrow()
    }

    /// As [`set`](Self::set), unless it was set since it was `before`. True when that is another checkpoint.
    pub(crate) fn replace(&self, before: Option<Position>, position: Position) -> bool {
        self.0.send_if_modified(|known| {
            let other = *known == before && before != Some(position);
            if other {
                *known = Some(position);
            }
            other
        })
    }

    /// Resolves once the checkpoint includes `position`. `stored` reads it; it is called once, where this process has not
    /// seen the checkpoint there.
    pub(crate) async fn reached(
        &self,
        position: Position,
        stored: impl Future<Output = Option<Position>>,
    ) {
        let mut known = self.0.subscribe();
        let here = known.wait_for(|known| known.is_some_and(|known| known.includes(position)));
        let stored = async {
            if !stored.await.is_some_and(|stored| stored.includes(position)) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            _ = here => {}
            () = stored => {}
        }
    }
}

/// Which backends got work, as a count of deliveries.
#[derive(Default)]
pub(crate) struct WorkHints(watch::Sender<Counts>);

#[derive(Default)]
struct Counts {
    deliveries: u64,
    /// The last delivery that may have given work to any backend.
    all: u64,
    /// The last delivery since then with rows of a backend.
    of: HashMap<BackendName, u64>,
}

impl Counts {
    fn seen(&self, backend: &BackendName) -> SeenHints {
        SeenHints(self.of.get(backend).copied().unwrap_or(self.all))
    }
}

impl WorkHints {
    /// `changes` were committed, and `woken` says whether rows that waited are due now: those may be of any backend.
    pub(crate) fn delivered(&self, changes: &[QueueChange], woken: bool) {
        let rows = changes.iter().filter_map(|change| match change {
            QueueChange::Put(row) => Some(&row.backend),
            _ => None,
        });
        if woken {
            return self.anywhere();
        }
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        self.0.send_modify(|counts| {
            counts.deliveries += 1;
            for backend in rows {
                match counts.of.get_mut(backend) {
                    Some(last) => *last = counts.deliveries,
                    None => drop(counts.of.insert(backend.clone(), counts.deliveries)),
                }
            }
        });
    }

    /// Every backend may have work.
    pub(crate) fn anywhere(&self) {
        self.0.send_modify(|counts| {
            counts.deliveries += 1;
            counts.all = counts.deliveries;
            counts.of.clear();
        });
    }

    /// Resolves when `backend` may have work beyond the hints of `seen`.
    pub(crate) async fn beyond(&self, backend: &BackendName, seen: SeenHints) -> SeenHints {
        let mut counts = self.0.subscribe();
        let beyond = counts.wait_for(|counts| counts.seen(backend) != seen).await;
        // The sender lives as long as the queue.
        beyond.map_or(seen, |counts| counts.seen(backend))
    }
}
