//! The follower of the log: one task per process that brings into this process's memory what any process recorded.
//!
//! - tokens and namespaces (`access/main`), availability of backends (`backend/*`), observe-only and reloads
//!   (`system/main`)
//! - wakes requests that wait for an entity, and folds cached entities on
//! - wakes the dispatcher of a backend that recovered, or was confirmed or reconfigured
//!
//! Invariant: a process acts on tokens, pauses, parks and the restore hold as the log has them, at most
//! [`POLL_INTERVAL`] and one read later. A process's own changes also apply at once; the follower then finds nothing new.

mod page_effects;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stateward_domain::backend::Backend as Record;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{BackendName, Position, Version};
use stateward_domain::ports::event_store::ReadError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access::AccessControl;
use crate::backends::Backends;
use crate::error::QueryError;
use crate::follower::page_effects::Changes;
use crate::process_manager::Shared;
use crate::projections::runner::BATCH;
use crate::waiters::Waiters;

/// The hint that the log has grown may be lost; new events are found after this time at the latest.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Bounds of the pause after the log could not be read; it doubles from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What the follower keeps up to date.
#[derive(Clone)]
pub(crate) struct Followed {
    pub(crate) shared: Arc<Shared>,
    pub(crate) backends: Backends,
    pub(crate) access: Arc<AccessControl>,
    pub(crate) waiters: Waiters,
    /// The version of the system stream with the last reload that any process recorded.
    pub(crate) reloaded: watch::Sender<Version>,
    /// The version of the last such reload that this process is done with, successfully or not.
    pub(crate) reload_done: watch::Sender<Version>,
}

/// The task that follows the log.
pub(crate) struct Follower {
    followed: Followed,
    /// The last event that was applied.
    position: Position,
    /// Records of configured backends, as far as this task has read them.
    records: BTreeMap<BackendName, Record>,
    /// A recorded reload that this process is not done with, and the position before its page; `None` = there is none.
    reloading: Option<(Version, Position)>,
}

impl Follower {
    /// Brings the state of all control streams into memory. Resolves when that is done, or the engine stops.
    pub(crate) async fn begin(parts: Followed) -> Self {
        let (position, records) = (Position::START, BTreeMap::new());
        let mut follower = Self { followed: parts.clone(), position, records, reloading: None };
        tokio::select! {
            () = follower.until_read(Self::start) => {}
            () = parts.shared.shutdown.cancelled() => {}
        }
        follower
    }

    /// Follows the log from where [`begin`](Self::begin) has read it, until `ended`.
    pub(crate) async fn run(mut self, ended: CancellationToken) {
        tokio::select! {
            () = self.follow() => {}
            () = ended.cancelled() => {}
        }
    }

    async fn follow(&mut self) {
        let mut reload_done = self.followed.reload_done.subscribe();
        loop {
            if self.until_read(Self::step).await {
                continue;
            }
            tokio::select! {
                () = self.followed.shared.log.changed_after(self.position) => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                _ = reload_done.changed() => self.report(false),
            }
        }
    }

    /// Reports what is in force here: everything before a reload that is not done.
    fn report(&mut self, urgent: bool) {
        let done = *self.followed.reload_done.borrow();
        let ended = self.reloading.take_if(|(version, _)| *version <= done).is_some();
        let position = self.reloading.map_or(self.position, |(_, before)| before);
        self.followed.shared.membership.saw(position, urgent || ended);
    }

    /// Repeats `read` until the log can be read.
    async fn until_read<T>(&mut self, read: impl AsyncFn(&mut Self) -> Result<T, QueryError>) -> T {
        let mut pause = RETRY.0;
        loop {
            match read(self).await {
                Ok(done) => return done,
                Err(error) => {
                    tracing::warn!(%error, "the log cannot be followed for now");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        }
    }

    /// The head first, then the state of all control streams: an event between them is read twice and never missed.
    async fn start(&mut self) -> Result<(), QueryError> {
        let head = self.followed.shared.log.head().await?;
        self.followed.access.catch_up().await.or_else(skip_unreadable)?;
        let system = self.followed.shared.control.system().await?;
        if system.is_none_or(|system| system.frozen) {
            self.followed.shared.forbid_changes();
        }
        let names: Vec<_> = self.followed.backends.all().keys().cloned().collect();
        for name in &names {
            self.update_backend(name).await?;
        }
        self.position = head;
        self.followed.shared.membership.saw(head, true);
        Ok(())
    }

    /// Applies one page of the log; false when there was none.
    async fn step(&mut self) -> Result<bool, QueryError> {
        let page = match self.followed.shared.log.read_log(self.position, BATCH).await {
            Ok(page) => page,
            // The log is another one, or ends earlier than it did: what was read from it may be void.
            Err(ReadError::PositionGone { .. }) => {
                self.records.clear();
                self.start().await?;
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        if page.through == self.position {
            return Ok(false);
        }
        let urgent = self.apply(&page.events).await?;
        self.position = page.through;
        self.report(urgent);
        Ok(true)
    }

    /// Whether other members may wait until the events are in force here. Idempotent: when a read fails in between, the
    /// whole page is applied again.
    async fn apply(&mut self, events: &[Recorded]) -> Result<bool, QueryError> {
        let changes = Changes::of(events);
        if changes.access > self.followed.access.version() {
            self.followed.access.catch_up().await.or_else(skip_unreadable)?;
        }
        for (name, change) in &changes.backends {
            self.update_backend(name).await?;
            let Some(backend) = self.followed.backends.get(name) else { continue };
            if change.confirmed {
                backend.mass_absence.confirm(backend.availability.confirmed());
            }
            if change.wakes {
                // A round of this process may have put work off since another one ended the cause.
                self.followed.shared.resume_work(&backend).await;
            }
        }
        self.records.retain(|name, _| self.followed.backends.get(name).is_some());
        match changes.allowed {
            Some(true) => self.followed.shared.allow_changes(&self.followed.backends).await,
            Some(false) => {
                self.followed.shared.forbid_changes();
                self.followed.shared.note_log_cut(self.followed.shared.clock.now());
            }
            None => {}
        }
        if let Some(version) = changes.reloaded {
            let before = self.reloading.map_or(self.position, |(_, before)| before);
            self.reloading = Some((version, before));
            self.followed.reloaded.send_replace(version);
        }
        for (id, events) in &changes.entities {
            // A stream that cannot be read is reported by the projections and by its readers.
            let _ = self.followed.shared.entities.follow(*id, events);
            if let Some(last) = events.last() {
                self.followed.waiters.changed(*id, last.version);
            }
        }
        Ok(changes.access != Version::default())
    }

    async fn update_backend(&mut self, name: &BackendName) -> Result<(), QueryError> {
        let Some(backend) = self.followed.backends.get(name) else { return Ok(()) };
        let shared = &self.followed.shared;
        let known = self.records.get(name).cloned().unwrap_or_default();
        match shared.control.catch_up(&StreamId::backend(name), known).await {
            Ok(record) => {
                backend.availability.apply_record(&record, shared.clock.moment());
                self.records.insert(name.clone(), record);
                Ok(())
            }
            Err(error) => skip_unreadable(error),
        }
    }
}

/// A control stream with an event that this version cannot read keeps its last readable state: the events of all other
/// streams still have to take effect.
fn skip_unreadable(error: QueryError) -> Result<(), QueryError> {
    match error {
        QueryError::Unreadable(_) => {
            tracing::error!(%error, "a control stream cannot be read; its last state stays in force");
            Ok(())
        }
        other => Err(other),
    }
}
