//! Open connections. A new one is always accepted while another is idle: at the limit, the connection that has been
//! idle for the longest time is closed. So idle connections cannot lock out others, such as health probes.

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
    /// A logical clock: later events have higher numbers.
    clock: u64,
    open: HashMap<u64, Open>,
    /// For each idle connection: since when it is idle, and its id.
    idle: BTreeSet<(u64, u64)>,
}

struct Open {
    ended: Arc<Ended>,
    /// Requests in progress.
    requests: usize,
    idle_since: u64,
}

/// Whether a connection was closed to make room, and the task to wake.
#[derive(Default)]
struct Ended {
    flag: AtomicBool,
    waker: AtomicWaker,
}

/// One open connection; removed from the list when dropped.
pub(crate) struct Connection {
    id: u64,
    ended: Arc<Ended>,
    all: Arc<Connections>,
}

/// A request in progress; its connection is not idle until this is dropped.
pub(crate) struct Busy(Arc<Connection>);

impl Inner {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl Connections {
    /// At most `max` connections, not counting those that are being closed.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, inner: Mutex::default() }
    }

    /// Adds a connection; `None` if all others are busy.
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
    /// Marks a request as in progress.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        let mut inner = self.all.inner();
        if let Some(open) = inner.open.get_mut(&self.id) {
            open.requests += 1;
            let idle = (open.idle_since, self.id);
            inner.idle.remove(&idle);
        }
        Busy(Arc::clone(self))
    }

    /// Whether the connection was closed to make room. If not, the task of `context` is woken when it is.
    pub(crate) fn has_ended(&self, context: &std::task::Context<'_>) -> bool {
        // Registered before the flag is read, so that no wake-up is lost in between.
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
        // A connection that was closed meanwhile does not become idle again.
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
        // The second connection becomes the one with the most recent request.
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
