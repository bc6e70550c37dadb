//! This process as a member of the cluster: its heartbeats, its duties, and its share of what all of them divide.
//!
//! Invariants: a duty never makes a result right, it only saves work; the compare-and-swap of checkpoints and leases do
//! that. The shares of all members never add up to more than the whole: a member that joined waits until the others
//! know it, and one that does not hear from the cluster has none.

pub mod currency;
mod duties;
mod shares;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stateward_domain::id::{BackendName, Position};
use stateward_domain::ports::cluster::{Cluster, Member, NodeId, Role};
use stateward_domain::ports::store_error::StoreError;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::backends::{Backend, Backends};
use crate::clock::ClockAndIds;
use duties::HeldDuties;
use shares::share;

/// Newest catalogue of event types that this version reads; it rises with each new type.
pub const CATALOGUE: u32 = 1;
/// Time between two heartbeats.
pub const BEAT: Duration = Duration::from_secs(3);
/// A member that heard nothing for as long has no share: the others may count it as gone soon after.
const STALE: Duration = Duration::from_secs(6);
/// A member that joined others waits as long before it takes its share: by then each of them has heard of it, or has no
/// share itself.
const JOINING: Duration = Duration::from_secs(7);

/// What this process is called, and what it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeDescription {
    /// Name for people.
    pub name: String,
    /// What it runs.
    pub role: Role,
    /// Version of its binary.
    pub version: String,
}

/// What the cluster answered last.
#[derive(Clone, Debug, Default)]
struct Known {
    members: Vec<Member>,
    /// When the heartbeat was sent that brought the answer; `None` = none did.
    asked_at: Option<Duration>,
    /// From when on this process has a share; `None` = it did not join.
    shares_from: Option<Duration>,
}

/// The membership of this process.
pub struct Membership {
    cluster: Arc<dyn Cluster>,
    id: NodeId,
    description: NodeDescription,
    clock: ClockAndIds,
    known: watch::Sender<Known>,
    /// The last event that is in force here.
    seen: watch::Sender<Position>,
    /// Ends the pause before the next heartbeat.
    beat_now: Notify,
    /// When the access stream was asked for whose end is in force here; `None` = it was not read yet.
    confirmed_at: watch::Sender<Option<Duration>>,
    left: AtomicBool,
    duties: HeldDuties,
}

impl Membership {
    pub(crate) fn new(
        cluster: Arc<dyn Cluster>,
        description: NodeDescription,
        clock: ClockAndIds,
    ) -> Self {
        Self {
            cluster,
            id: NodeId(clock.id()),
            description,
            clock,
            known: watch::Sender::default(),
            seen: watch::Sender::default(),
            beat_now: Notify::new(),
            confirmed_at: watch::Sender::default(),
            left: AtomicBool::new(false),
            duties: HeldDuties::default(),
        }
    }

    /// What this process runs.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.description.role
    }

    /// The life of this process.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Whether other processes may work on the same store.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.cluster.is_shared()
    }

    /// All members as of the last heartbeat, this one among them, in the order in which they joined.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.known.borrow().members.clone()
    }

    /// Everything up to `position` is in force in this process. `urgent` = a member waits for it: reported at once.
    pub(crate) fn saw(&self, position: Position, urgent: bool) {
        self.seen.send_replace(position);
        if urgent {
            self.beat_now.notify_one();
        }
    }

    /// Registers or renews this process; returns all members.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn beat(&self, backends: &Backends) -> Result<Vec<Member>, StoreError> {
        let asked_at = self.clock.elapsed();
        let members = self.cluster.beat(&self.described(backends)).await?;
        if self.left.load(Ordering::Acquire) {
            // The heartbeat may have come after the farewell.
            self.cluster.leave(self.id).await?;
            return Ok(members);
        }
        let alone = members.iter().all(|member| member.id == self.id);
        self.known.send_modify(|known| {
            let joining = if alone { Duration::ZERO } else { JOINING };
            let lapsed = known.asked_at.is_none_or(|last| asked_at.saturating_sub(last) > STALE);
            if lapsed || known.shares_from.is_none() {
                known.shares_from = Some(asked_at + joining);
            }
            known.members.clone_from(&members);
            known.asked_at = Some(asked_at);
        });
        for backend in backends.all().values() {
            backend.limit_rate(self.rate(backend));
        }
        Ok(members)
    }

    /// Beats until `shutdown`.
    pub(crate) async fn run(&self, backends: Backends, shutdown: CancellationToken) {
        loop {
            if let Err(error) = self.beat(&backends).await {
                tracing::warn!(%error, "the cluster does not answer: this node takes no new work meanwhile");
            }
            self.renew_standing().await;
            let until_share = self.until_share();
            tokio::select! {
                () = tokio::time::sleep(until_share.map_or(BEAT, |wait| wait.min(BEAT))) => {}
                () = self.beat_now.notified() => {}
                () = shutdown.cancelled() => return,
            }
            if until_share.is_some_and(|wait| wait <= BEAT) {
                for backend in backends.all().values() {
                    backend.wakeup.notify_one();
                }
            }
        }
    }

    /// Gives all duties back and leaves. The last act of a process that ends in order.
    pub(crate) async fn leave(&self) {
        self.left.store(true, Ordering::Release);
        self.duties.forget_all();
        if let Err(error) = self.cluster.leave(self.id).await {
            tracing::warn!(%error, "this node counts as a member until its heartbeat is missed");
        }
    }

    /// Whether another member has the backend configured.
    pub(crate) fn is_configured_elsewhere(&self, name: &BackendName) -> bool {
        let known = self.known.borrow();
        known
            .members
            .iter()
            .any(|member| member.id != self.id && member.backends.contains_key(name))
    }

    /// Time until a member that joined has its share; `None` = it has it, or did not join yet.
    fn until_share(&self) -> Option<Duration> {
        let from = self.known.borrow().shares_from?;
        let wait = from.saturating_sub(self.clock.elapsed());
        (!wait.is_zero()).then_some(wait)
    }

    fn described(&self, backends: &Backends) -> Member {
        let digest = |backend: &Arc<Backend>| backend.settings.digest.clone();
        let all = backends.all();
        let digests: BTreeMap<BackendName, String> =
            all.iter().map(|(name, backend)| (name.clone(), digest(backend))).collect();
        Member {
            id: self.id,
            name: self.description.name.clone(),
            role: self.description.role,
            version: self.description.version.clone(),
            knows: CATALOGUE,
            seen: *self.seen.borrow(),
            backends: digests,
        }
    }

    /// Rounds that this process may run at the same time on `backend`.
    pub(crate) fn concurrency(&self, backend: &Backend) -> usize {
        // Without a call no round gets anywhere.
        if self.rate(backend) == Some(0) {
            return 0;
        }
        self.share_of(backend, backend.settings.concurrency)
    }

    /// Calls a second that this process may make to `backend`; `None` = unlimited.
    fn rate(&self, backend: &Backend) -> Option<u32> {
        let limit = backend.settings.rate_per_second?.get();
        let share = self.share_of(backend, usize::try_from(limit).unwrap_or(usize::MAX));
        Some(u32::try_from(share).unwrap_or(u32::MAX))
    }

    fn share_of(&self, backend: &Backend, limit: usize) -> usize {
        if !self.is_shared() {
            return limit;
        }
        let known = self.known.borrow();
        let now = self.clock.elapsed();
        let heard = known.asked_at.is_some_and(|asked| now.saturating_sub(asked) <= STALE);
        let joined = known.shares_from.is_some_and(|from| from <= now);
        if !heard || !joined {
            return 0;
        }
        let works = |member: &&Member| {
            member.role != Role::Api && member.backends.contains_key(backend.name())
        };
        let workers: Vec<NodeId> =
            known.members.iter().filter(works).map(|member| member.id).collect();
        let rank = workers.iter().position(|id| *id == self.id);
        rank.map_or(0, |rank| share(limit, &backend.name().0, rank, workers.len()))
    }
}

#[cfg(test)]
mod tests;
