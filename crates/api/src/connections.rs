//! Open connections. There is always room for one more: when there are as many as may be, the one that has been without a
//! request for the longest time is closed. So idle connections keep nobody out, probes among them.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;

/// All open connections.
pub(crate) struct Connections {
    max: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Counts everything that happens: a later one has a higher number.
    clock: u64,
    open: HashMap<u64, Open>,
    /// Since when each connection without a request has none, and its id.
    idle: BTreeSet<(u64, u64)>,
}

struct Open {
    ended: Arc<Ended>,
    /// Requests that are worked on.
    requests: usize,
    idle_since: u64,
}

/// Whether a connection was closed to make room, and who has to be told.
#[derive(Default)]
struct Ended {
    flag: AtomicBool,
    waker: AtomicWaker,
}

/// One open connection; forgotten when dropped.
pub(crate) struct Connection {
    id: u64,
    ended: Arc<Ended>,
    all: Arc<Connections>,
}

/// A request that is worked on; its connection is not idle before this is dropped.
pub(crate) struct Busy(Arc<Connection>);

impl Inner {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl Connections {
    /// At most `max` connections, but for those that are just being closed.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, inner: Mutex::default() }
    }

    /// One more connection; `None` when all others are busy.
    pub(crate) fn open(self: &Arc<Self>) -> Option<Arc<Connection>> {
        let mut inner = self.inner();
        let leaving = if inner.open.len() < self.max {
            None
        } else {
            let (_, longest) = inner.idle.pop_first()?;
            inner.open.get(&longest).map(|open| Arc::clone(&open.ended))
        };
        let (id, ended) = (inner.tick(), Arc::new(Ended::default()));
        inner.open.insert(id, Open { ended: Arc::clone(&ended), requests: 0, idle_since: id });
        inner.idle.insert((id, id));
        drop(inner);
        if let Some(leaving) = leaving {
            leaving.flag.store(true, Ordering::Release);
            leaving.waker.wake();
        }
        Some(Arc::new(Connection { id, ended, all: Arc::clone(self) }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// A request began.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        let mut inner = self.all.inner();
        if let Some(open) = inner.open.get_mut(&self.id) {
            open.requests += 1;
            let idle = (open.idle_since, self.id);
            inner.idle.remove(&idle);
        }
        Busy(Arc::clone(self))
    }

    /// Whether it was closed to make room. If not, the task of `context` is woken when it is.
    pub(crate) fn has_ended(&self, context: &std::task::Context<'_>) -> bool {
        // Registered before the look: what happens in between wakes.
        self.ended.waker.register(context.waker());
        self.ended.flag.load(Ordering::Acquire)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let id = self.0.id;
        let mut inner = self.0.all.inner();
        let now = inner.tick();
        let Some(open) = inner.open.get_mut(&id) else { return };
        open.requests -= 1;
        // One that was closed in the meantime is not closed again.
        if open.requests == 0 && !open.ended.flag.load(Ordering::Acquire) {
            open.idle_since = now;
            inner.idle.insert((now, id));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut inner = self.all.inner();
        if let Some(open) = inner.open.remove(&self.id) {
            inner.idle.remove(&(open.idle_since, self.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use super::*;

    fn ended(connection: &Connection) -> bool {
        connection.has_ended(&Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn the_longest_idle_connection_makes_room_and_busy_ones_stay() {
        let all = Arc::new(Connections::new(3));
        let [first, second, third] = std::array::from_fn(|_| all.open().expect("there is room"));
        let busy = first.busy();
        // It was the second, and is the last that had a request.
        drop(second.busy());
        let fourth = all.open().expect("an idle one goes");
        let open = [&first, &second, &third, &fourth];
        assert_eq!(open.map(|one| ended(one)), [false, false, true, false]);
        drop(third);
        let fifth = all.open().expect("an idle one goes");
        let open = [&first, &second, &fourth, &fifth];
        assert_eq!(open.map(|one| ended(one)), [false, true, false, false]);
        let (at_fourth, at_fifth) = (fourth.busy(), fifth.busy());
        drop(second);
        assert!(all.open().is_none(), "all are busy");
        drop(at_fourth);
        assert!(all.open().is_some() && ended(&fourth));
        drop((busy, at_fifth));
        drop((first, fourth, fifth));
        assert!(all.inner().open.is_empty() && all.inner().idle.is_empty());
    }
}
