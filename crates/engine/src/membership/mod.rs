//! This process as a member of the cluster: its heartbeats, its duties, and its part of what all of them use.
//!
//! Invariants: a duty never makes a result right, it only saves work; the compare-and-swap of checkpoints and leases do
//! that. The concurrency of a backend is granted where leases are taken; its rate is divided here. The shares of a rate
//! never add up to more than the whole: a member that begins to use a backend waits until the others know that, and one
//! that does not hear from the cluster has none.

pub mod currency;
mod duties;
mod reports;
mod shares;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stateward_domain::id::{BackendName, Position};
use stateward_domain::ports::cluster::{Cluster, Member, NodeId, Role};
use stateward_domain::ports::member_report::{
    BackendReport, MemberReport, ObserveOnlyCause, ReloadOutcome,
};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::ports::sync_queue::Concurrency;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::backends::{Backend, Backends};
use crate::clock::ClockAndIds;
use crate::commands::appender;
use duties::HeldDuties;
use shares::share;

/// Time between two heartbeats.
pub const BEAT: Duration = Duration::from_secs(3);
/// A member that heard nothing for as long has no share of a rate: the others may count it as gone soon after.
const STALE: Duration = Duration::from_secs(6);
/// A member that begins to use a backend beside others waits as long before it takes its share of the rate: by then each of
/// them has heard of it, or has no share itself.
const JOINING: Duration = Duration::from_secs(7);
/// A member that began takes no lease over for as long: all that live have beaten by then, and found a step of the store's
/// clock if there was one.
const SETTLING: Duration = Duration::from_secs(4);

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
    /// When the first heartbeat was sent that was answered.
    joined_at: Option<Duration>,
    /// From when on this process has a share of the rate of each backend.
    shares_from: BTreeMap<BackendName, Duration>,
    /// Whether it reported that it changes nothing.
    observe_only: bool,
}

/// The membership of this process.
pub struct Membership {
    cluster: Arc<dyn Cluster>,
    id: NodeId,
    description: NodeDescription,
    /// Whether this process changes nothing on any backend.
    observe_only: Arc<AtomicBool>,
    /// Whether it does so because of the restore hold.
    restore_hold: AtomicBool,
    clock: ClockAndIds,
    backends: Backends,
    /// Descriptions of this process so far.
    revisions: AtomicU64,
    known: watch::Sender<Known>,
    /// The last event that is in force here.
    seen: watch::Sender<Position>,
    /// Ends the pause before the next heartbeat.
    beat_now: Notify,
    /// When the access stream was asked for whose end is in force here; `None` = it was not read yet.
    confirmed_at: watch::Sender<Option<Duration>>,
    left: AtomicBool,
    /// The last recorded reload that is done here.
    reload: Mutex<Option<ReloadOutcome>>,
    /// Why this process may not be a member any more.
    barred: watch::Sender<Option<String>>,
    duties: HeldDuties,
}

impl Membership {
    pub(crate) fn new(
        cluster: Arc<dyn Cluster>,
        description: NodeDescription,
        observe_only: Arc<AtomicBool>,
        clock: ClockAndIds,
        backends: Backends,
    ) -> Self {
        Self {
            cluster,
            id: NodeId(clock.id()),
            description,
            observe_only,
            restore_hold: AtomicBool::new(false),
            clock,
            backends,
            revisions: AtomicU64::new(0),
            known: watch::Sender::default(),
            seen: watch::Sender::default(),
            beat_now: Notify::new(),
            confirmed_at: watch::Sender::default(),
            left: AtomicBool::new(false),
            reload: Mutex::default(),
            barred: watch::Sender::default(),
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
    pub(crate) async fn beat(&self) -> Result<Vec<Member>, StoreError> {
        let asked_at = self.clock.elapsed();
        let described = self.described();
        let members = self.cluster.beat(&described).await?;
        if self.left.load(Ordering::Acquire) {
            // The heartbeat may have come after the farewell.
            self.cluster.leave(self.id).await?;
            return Ok(members);
        }
        let alone = members.iter().all(|member| member.id == self.id);
        self.known.send_modify(|known| {
            let joining = if alone { Duration::ZERO } else { JOINING };
            let lapsed = known.asked_at.is_none_or(|last| asked_at.saturating_sub(last) > STALE);
            if lapsed || (known.observe_only && !described.observe_only) {
                known.shares_from.clear();
            }
            known.shares_from.retain(|name, _| described.backends.contains_key(name));
            for name in described.backends.keys() {
                known.shares_from.entry(name.clone()).or_insert(asked_at + joining);
            }
            known.observe_only = described.observe_only;
            known.members.clone_from(&members);
            known.asked_at = Some(asked_at);
            known.joined_at.get_or_insert(asked_at);
        });
        self.limit_rates();
        self.compare_calls(&members);
        Ok(members)
    }

    /// Puts this process's shares of the rates in force, and wakes the dispatchers of backends that may be called now.
    pub(crate) fn limit_rates(&self) {
        for backend in self.backends.all().values() {
            if backend.limit_rate(self.rate(backend)) {
                backend.wakeup.notify_one();
            }
        }
    }

    /// Reports what changed to the cluster at once.
    pub(crate) fn report_now(&self) {
        self.beat_now.notify_one();
    }

    /// Beats until `shutdown`.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        loop {
            if let Err(error) = self.beat().await {
                if matches!(error, StoreError::Fatal { .. }) {
                    self.barred.send_replace(Some(error.to_string()));
                    return;
                }
                tracing::warn!(%error, "the cluster does not answer: this node takes no new work meanwhile");
            }
            self.renew_standing().await;
            let until_share = self.until_share();
            tokio::select! {
                () = tokio::time::sleep(until_share.map_or(BEAT, |wait| wait.min(BEAT))) => {}
                () = self.beat_now.notified() => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Resolves with the reason when this process may not be a member any more, and has to end.
    pub async fn barred(&self) -> String {
        let mut barred = self.barred.subscribe();
        let reason = barred.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match reason {
            Ok(Some(reason)) => reason,
            // The sender lives as long as this does.
            _ => std::future::pending().await,
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

    /// Time until this process has its next share of a rate; `None` = it has all of them, or did not join yet.
    fn until_share(&self) -> Option<Duration> {
        let (known, now) = (self.known.borrow(), self.clock.elapsed());
        let waits = known.shares_from.values().map(|from| from.saturating_sub(now));
        waits.filter(|wait| !wait.is_zero()).min()
    }

    fn described(&self) -> Member {
        let digest = |backend: &Arc<Backend>| backend.settings.digest.clone();
        // Drawn first: a description with a higher number has all that was counted before a lower one was drawn.
        let revision = self.revisions.fetch_add(1, Ordering::SeqCst) + 1;
        let (all, now) = (self.backends.all(), self.clock.moment());
        let digests: BTreeMap<BackendName, String> =
            all.iter().map(|(name, backend)| (name.clone(), digest(backend))).collect();
        let reports = all.iter().map(|(name, backend)| (name.clone(), backend.report(now)));
        let reports = reports.filter(|(_, report)| *report != BackendReport::default());
        let observe_only = self.observe_only.load(Ordering::Acquire);
        let cause = if self.restore_hold.load(Ordering::Acquire) {
            ObserveOnlyCause::RestoreHold
        } else {
            ObserveOnlyCause::Argument
        };
        let report = MemberReport {
            backends: reports.collect(),
            reload: self.reload(),
            observe_only: observe_only.then_some(cause),
        };
        Member {
            id: self.id,
            name: self.description.name.clone(),
            role: self.description.role,
            version: self.description.version.clone(),
            knows: appender::readable(),
            seen: *self.seen.borrow(),
            backends: digests,
            observe_only,
            revision,
            report,
        }
    }

    /// Whether this process runs rounds on `backend`: not where it has no share of the rate, because without a call no round
    /// gets anywhere, and not where it may only observe and another member may change.
    pub(crate) fn works_on(&self, backend: &Backend) -> bool {
        let observe_only = self.observe_only.load(Ordering::Acquire);
        let left = observe_only && self.known.borrow().others_change(self.id, backend.name());
        !left && self.rate(backend) != Some(0)
    }

    /// The concurrency of `backend`, of which this process uses `running`.
    pub(crate) fn concurrency(&self, backend: &Backend, running: usize) -> Concurrency {
        let leases = backend.settings.concurrency;
        let workers = self.known.borrow().workers(backend.name()).len().max(1);
        let part = (leases / workers, leases.div_ceil(workers));
        // Half of it, so that a user's change finds a free slot.
        Concurrency { leases, checks: (leases / 2).max(1), running, part }
    }

    /// Whether leases that ended without a release may be taken over: any step of the store's clock was found by then.
    pub(crate) fn may_take_over(&self) -> bool {
        let joined_at = self.known.borrow().joined_at;
        let settled = |at: Duration| self.clock.elapsed().saturating_sub(at) >= SETTLING;
        !self.is_shared() || joined_at.is_some_and(settled)
    }

    /// Calls a second that this process may make to `backend`; `None` = unlimited.
    pub(crate) fn rate(&self, backend: &Backend) -> Option<u32> {
        let limit = backend.settings.rate_per_second?.get();
        let share = self.share_of(backend, usize::try_from(limit).unwrap_or(usize::MAX));
        Some(u32::try_from(share).unwrap_or(u32::MAX))
    }

    fn share_of(&self, backend: &Backend, limit: usize) -> usize {
        if !self.is_shared() {
            return limit;
        }
        let (name, now) = (backend.name(), self.clock.elapsed());
        let observe_only = self.observe_only.load(Ordering::Acquire);
        let known = self.known.borrow();
        let heard = known.asked_at.is_some_and(|asked| now.saturating_sub(asked) <= STALE);
        let begun = known.shares_from.get(name).is_some_and(|from| *from <= now);
        if !heard || !begun || (observe_only && known.others_change(self.id, name)) {
            return 0;
        }
        let workers = known.workers(name);
        let rank = workers.iter().position(|id| *id == self.id);
        rank.map_or(0, |rank| share(limit, &name.0, rank, workers.len()))
    }
}

impl Known {
    /// The members that work on a backend: those that may change it or, if there are none, those that observe it.
    fn workers(&self, name: &BackendName) -> Vec<NodeId> {
        let all = self.members.iter().filter(|member| has(member, name));
        let any = all.clone().any(|member| !member.observe_only);
        all.filter(|member| !any || !member.observe_only).map(|member| member.id).collect()
    }

    /// Whether a member other than `me` may change the backend.
    fn others_change(&self, me: NodeId, name: &BackendName) -> bool {
        let mut others = self.members.iter().filter(|member| member.id != me);
        others.any(|other| has(other, name) && !other.observe_only)
    }
}

/// Whether the member runs rounds, and has the backend.
fn has(member: &Member, name: &BackendName) -> bool {
    member.role != Role::Api && member.backends.contains_key(name)
}

#[cfg(test)]
mod tests;
