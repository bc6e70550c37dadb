//! The one reader of a process: it follows the log, and feeds all others from memory.
//!
//! Invariants: it stops before every position that is not decided, so a reader that saw an event never later learns of
//! one before it. What it keeps are positions of events, never the horizon: a number that a rollback drew is drawn again
//! after a crash. So a horizon and the pages below it are of one session, which a crash ends. It rests after each horizon
//! as long as that took, because `pg_locks` costs more the more locks others hold.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use stateward_domain::envelope::Recorded;
use stateward_domain::ports::event_store::may_have_more;
use stateward_domain::ports::store_error::StoreError;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::event_row::{EventRow, page};
use crate::postgres::connect::Database;
use crate::postgres::error::store_error;
use crate::postgres::seen_events::SeenEvent;
use crate::postgres::session::Session;
use crate::shared::newest_events::NewestEvents;
use crate::sql_value::unsigned;

/// Events of one page.
const PAGE: usize = 1_000;
/// Shortest and longest pause between two polls without notifications.
const POLL: Duration = Duration::from_millis(50);
const POLL_MAX: Duration = Duration::from_secs(1);
/// Shortest pause while an event is known that an append in flight holds back.
const HELD_BACK: Duration = Duration::from_millis(2);
/// Longest rest after a horizon.
const REST_MAX: Duration = Duration::from_secs(1);

static PAGE_BELOW: LazyLock<String> =
    LazyLock::new(|| page("position > $1 AND position < $2", "position", "$3"));

/// What was read of the log in order. Cheap to clone.
#[derive(Clone)]
pub(super) struct LogReader(Arc<Shared>);

struct Shared {
    database: Database,
    epoch: u32,
    newest: RwLock<NewestEvents>,
    /// Position of the last event that was read in order.
    end: watch::Sender<u64>,
    /// Greatest position that an event is known to have; it may be beyond `end`.
    known: AtomicU64,
    /// Number of reads that were asked for, and of the last one that is done, with its result.
    asked: watch::Sender<u64>,
    done: watch::Sender<(u64, Result<(), StoreError>)>,
    changed: Notify,
    /// Whether notifications of other processes arrive.
    listening: AtomicBool,
}

impl LogReader {
    /// A reader that begins behind the last decided event.
    pub(super) async fn begin(database: Database, epoch: u32) -> Result<Self, StoreError> {
        let mut session = database.session().await?;
        let horizon = horizon(&mut session).await.map_err(store_error)?;
        let last = "SELECT coalesce(max(position), 0) FROM events WHERE position < $1";
        let (end,): (i64,) =
            session.fetch_one(sqlx::query_as(last).bind(horizon)).await.map_err(store_error)?;
        let end = unsigned(("events", "position"), "", end).map_err(store_error)?;
        Ok(Self(Arc::new(Shared {
            database,
            epoch,
            newest: RwLock::new(NewestEvents::behind(end)),
            end: watch::Sender::new(end),
            known: AtomicU64::new(end),
            asked: watch::Sender::new(0),
            done: watch::Sender::new((0, Ok(()))),
            changed: Notify::new(),
            listening: AtomicBool::new(false),
        })))
    }

    /// How far the log was read in order: the position of an event.
    pub(super) fn end(&self) -> u64 {
        *self.0.end.borrow()
    }

    /// Greatest position that an event is known to have.
    pub(super) fn known(&self) -> u64 {
        self.0.known.load(Ordering::Acquire)
    }

    /// There is an event at `position`.
    pub(super) fn learn(&self, position: u64) {
        self.0.known.fetch_max(position, Ordering::AcqRel);
    }

    /// The log may have grown.
    pub(super) fn hint(&self) {
        self.0.changed.notify_one();
    }

    pub(super) fn set_listening(&self, listening: bool) {
        self.0.listening.store(listening, Ordering::Relaxed);
    }

    /// A page behind `after` from memory; `None` when its first event may be forgotten.
    pub(super) fn cached(&self, after: u64, limit: usize) -> Option<Vec<Recorded>> {
        self.newest().after(after, limit)
    }

    /// Resolves when events behind `position` were read.
    pub(super) async fn moved_past(&self, position: u64) {
        let mut end = self.0.end.subscribe();
        // The sender lives as long as this reader does; an error cannot happen.
        let _ = end.wait_for(|end| *end > position).await;
    }

    /// Reads up to the end of the log as it is now. Callers at the same time share one read.
    ///
    /// # Errors
    /// Why that failed.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        let mut done = self.0.done.subscribe();
        let mut number = 0;
        self.0.asked.send_modify(|asked| {
            *asked += 1;
            number = *asked;
        });
        let closed = || StoreError::unavailable("the log is closed");
        let found = done.wait_for(|(done, _)| *done >= number).await.map_err(|_| closed())?;
        found.1.clone()
    }

    /// Answers all callers of [`refresh`](Self::refresh), now and later, that the log is closed.
    pub(super) fn close(&self) {
        let closed = StoreError::unavailable("the log is closed");
        self.0.done.send_modify(|done| *done = (u64::MAX, Err(closed)));
    }

    /// Follows the log until the future is dropped.
    pub(super) async fn follow(self) {
        let mut asked = self.0.asked.subscribe();
        let mut pause = POLL;
        loop {
            let number = *asked.borrow_and_update();
            let (before, began) = (self.end(), Instant::now());
            let result = self.advance().await;
            let rest = began.elapsed().min(REST_MAX);
            if let Err(error) = &result {
                tracing::debug!(%error, "the log was not read");
            }
            let failed = result.is_err();
            self.0.done.send_modify(|done| *done = (number, result));
            tokio::time::sleep(rest).await;
            pause = next_pause(pause, self.end() > before, !failed && self.known() > self.end());
            let poll = if self.0.listening.load(Ordering::Relaxed) && pause >= POLL {
                POLL_MAX
            } else {
                pause
            };
            tokio::select! {
                () = self.0.changed.notified() => {}
                _ = asked.changed() => {}
                () = tokio::time::sleep(poll) => {}
            }
        }
    }

    /// Reads from the end up to a new horizon.
    async fn advance(&self) -> Result<(), StoreError> {
        let mut session = self.0.database.session().await?;
        let drawn = "SELECT horizon_v1(), last_value, (SELECT epoch FROM log) FROM blocks";
        let drawn = session.fetch_one(sqlx::query_as(drawn)).await.map_err(store_error)?;
        let (horizon, drawn, epoch): (i64, i64, i64) = drawn;
        if epoch != i64::from(self.0.epoch) {
            // Another process missed events after this one had met the database again: the search for the primary finds
            // that out, and says what it means.
            session.give_up("the log began another epoch");
            return Err(StoreError::unavailable("the log began another epoch"));
        }
        self.0.database.note_horizon(horizon, drawn);
        loop {
            let query = sqlx::query_as(AssertSqlSafe(PAGE_BELOW.as_str()))
                .bind(self.end().cast_signed())
                .bind(horizon)
                .bind(PAGE.cast_signed() as i64);
            let rows: Vec<EventRow> = session.fetch_all(query).await.map_err(store_error)?;
            let read: Vec<_> = rows.into_iter().map(|row| row.in_epoch(self.0.epoch)).collect();
            let more = may_have_more(&read, PAGE);
            if !read.is_empty() {
                self.publish(read);
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// The events before their end: a reader that is woken finds them.
    fn publish(&self, read: Vec<Recorded>) {
        self.0.database.remember(read.iter().map(SeenEvent::of));
        let mut newest = self.0.newest.write().unwrap_or_else(PoisonError::into_inner);
        newest.extend(read, drop);
        let end = newest.end();
        drop(newest);
        self.learn(end);
        self.0.end.send_replace(end);
    }

    fn newest(&self) -> RwLockReadGuard<'_, NewestEvents> {
        self.0.newest.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pause before the next poll: it grows while the log does not.
fn next_pause(pause: Duration, moved: bool, held_back: bool) -> Duration {
    match (moved, held_back) {
        (true, true) => HELD_BACK,
        (true, false) => POLL,
        (false, true) if pause >= POLL => HELD_BACK,
        (false, true) => (pause * 2).min(POLL.saturating_sub(Duration::from_millis(1))),
        (false, false) => (pause.max(POLL / 2) * 2).min(POLL_MAX),
    }
}

/// Every position below it is decided. Not to be kept.
async fn horizon(session: &mut Session) -> Result<i64, sqlx::Error> {
    let (horizon,): (i64,) = session.fetch_one(sqlx::query_as("SELECT horizon_v1()")).await?;
    Ok(horizon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_frequent_while_something_is_held_back_and_rare_when_nothing_happens() {
        let ms = Duration::from_millis;
        for (pause, moved, held_back, next) in [
            (ms(50), false, false, ms(100)),
            (ms(800), false, false, ms(1_000)),
            (ms(1_000), true, false, ms(50)),
            (ms(1_000), false, true, ms(2)),
            (ms(2), false, true, ms(4)),
            (ms(32), false, true, ms(49)),
            (ms(49), false, true, ms(49)),
            (ms(49), false, false, ms(98)),
            (ms(4), true, true, ms(2)),
        ] {
            assert_eq!(next_pause(pause, moved, held_back), next, "{pause:?} {moved} {held_back}");
        }
    }
}
