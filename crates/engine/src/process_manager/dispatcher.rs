//! The dispatcher of one backend: leases due entities and runs a round for each, within the backend's concurrency, which
//! the queue grants to all nodes together.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use stateward_domain::id::KindName;
use stateward_domain::ports::cluster::Duty;
use stateward_domain::ports::sync_queue::{
    Concurrency, Lease, LeaseReason, LeaseRequest, QueueError, Release, SeenHints,
};
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;

use crate::backends::Backend;
use crate::process_manager::lease::HeldLease;
use crate::process_manager::observation_baseline::ObservationBaseline;
use crate::process_manager::round::{Round, RoundOutcome};
use crate::process_manager::{Shared, unavailable_backend};

/// Wake-ups are only hints and may be lost at a restart; due work is found after this time at the latest.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Bounds of the time between scans for entities without a drift timer; within them it is the backend's drift interval.
const SEED_INTERVAL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));
/// Pause when work is due that the queue did not grant, and this process has less than its part: the others leave it what
/// ends next.
const SHORT_RETRY: Duration = Duration::from_millis(100);
/// The same when this process has its part: one that stops or dies leaves more.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// Pause after an error of the queue.
const QUEUE_RETRY: Duration = Duration::from_millis(500);

struct Dispatcher {
    shared: Arc<Shared>,
    backend: Arc<Backend>,
    /// Hints of the queue that came before the last attempt to lease.
    seen: SeenHints,
    /// Running rounds; each ends with the release of its lease.
    rounds: JoinSet<Release>,
    /// Its reference count, less one, is the number of running drift checks; a check that panics drops its reference
    /// too.
    checks: Arc<()>,
    /// Next time at which drift timers are seeded, by the steady clock.
    seeds_at: Duration,
}

/// Runs until the shared token is cancelled or the backend is retired, and all rounds have ended.
pub(super) async fn run(shared: Arc<Shared>, backend: Arc<Backend>) {
    let seeds_at = shared.clock.elapsed();
    forget_late_drift_timers(&shared, &backend).await;
    let mut dispatcher = Dispatcher {
        shared,
        backend,
        seen: SeenHints::default(),
        rounds: JoinSet::new(),
        checks: Arc::default(),
        seeds_at,
    };
    while !dispatcher.shared.is_stopping(&dispatcher.backend) {
        let leased = dispatcher.lease_due().await;
        let fault = leased.as_ref().err().map(ToString::to_string);
        if let Some(error) = &fault {
            let backend = dispatcher.backend.name();
            tracing::warn!(%backend, error, "the queue did not answer");
        }
        dispatcher.backend.set_queue_fault(fault);
        let pause = leased.unwrap_or(QUEUE_RETRY);
        let until_seed = dispatcher.seed_drift_timers().await;
        dispatcher.wait(pause.min(until_seed)).await;
    }
    while let Some(ended) = dispatcher.rounds.join_next().await {
        dispatcher.release(ended).await;
    }
}

/// Moves drift timers that lie more than one interval ahead: a clock that was ahead set them. One pass when the
/// dispatcher starts finds them all.
async fn forget_late_drift_timers(shared: &Shared, backend: &Backend) {
    let (interval, name) = (backend.settings.drift_interval, backend.name());
    match shared.queue.forget_late_drift_timers(name, interval).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(backend = %name, count, "late drift timers are spread anew"),
        Err(error) => {
            tracing::warn!(backend = %name, %error, "late drift timers stay as they are");
        }
    }
}

impl Dispatcher {
    /// Starts missing drift timers, spread over the interval: they were lost, or the entity had no round yet. Returns
    /// the time until the next scan.
    async fn seed_drift_timers(&mut self) -> Duration {
        let now = self.shared.clock.elapsed();
        if now >= self.seeds_at {
            let (interval, name) = (self.backend.settings.drift_interval, self.backend.name());
            if self.shared.membership.holds(&Duty::SeedTimers(name.clone())).await
                && let Err(error) = self.shared.queue.seed_drift_timers(name, interval).await
            {
                tracing::warn!(backend = %name, %error, "no drift timers were seeded");
            }
            self.seeds_at = now + interval.clamp(SEED_INTERVAL.0, SEED_INTERVAL.1);
        }
        self.seeds_at.saturating_sub(now)
    }

    /// Leases as many entities as may run; returns how long to wait before the next attempt.
    async fn lease_due(&mut self) -> Result<Duration, QueueError> {
        let running = self.rounds.len();
        let concurrency = self.shared.membership.concurrency(&self.backend, running);
        let free = concurrency.leases.saturating_sub(running);
        if free == 0 || !self.shared.membership.works_on(&self.backend) {
            return Ok(POLL_INTERVAL);
        }
        if let Some(unavailable) = self.backend.availability.unavailable(self.shared.clock.moment())
        {
            return unavailable_backend::block_or_wait(&self.shared, &self.backend, &unavailable)
                .await;
        }
        // Half of this process's part, so that no node gets all checks.
        let most = (concurrency.part.1 / 2).max(1);
        let checks = free.min(most.saturating_sub(Arc::strong_count(&self.checks) - 1));
        let leases = self.lease_up_to(free, checks, concurrency).await?;
        if leases.len() == free {
            return Ok(POLL_INTERVAL);
        }
        // New work wakes the dispatcher.
        let left = checks - leases.iter().filter(|reason| **reason == LeaseReason::Drift).count();
        let (queue, name) = (&self.shared.queue, self.backend.name());
        match queue.next_due(name, left > 0).await?.within {
            None => Ok(POLL_INTERVAL),
            Some(Duration::ZERO) => {
                let is_work = queue.next_due(name, false).await?.within == Some(Duration::ZERO);
                let is_short = running + leases.len() < concurrency.part.0;
                Ok(if is_work && is_short { SHORT_RETRY } else { FULL_RETRY })
            }
            Some(within) => Ok(within.clamp(Duration::from_millis(1), POLL_INTERVAL)),
        }
    }

    /// Leases up to `limit` entities within `concurrency`, at most `checks` of them for a drift check, and starts their
    /// rounds; the reason of each lease.
    async fn lease_up_to(
        &mut self,
        limit: usize,
        checks: usize,
        concurrency: Concurrency,
    ) -> Result<Vec<LeaseReason>, QueueError> {
        let requested_at = self.shared.clock.elapsed();
        let worker = self.shared.clock.id().to_string();
        let request = LeaseRequest {
            worker: worker.clone(),
            backend: self.backend.name().clone(),
            limit,
            duration: self.shared.lease_times.duration,
            checks,
            within: Some(concurrency),
            takeover: self.shared.membership.may_take_over(),
        };
        let leases = self.shared.queue.lease(&request).await?;
        let reasons = leases.iter().map(|lease| lease.reason).collect();
        for lease in leases {
            let check = (lease.reason == LeaseReason::Drift).then(|| Arc::clone(&self.checks));
            let (shared, backend) = (Arc::clone(&self.shared), Arc::clone(&self.backend));
            let round = run_leased(shared, backend, lease, worker.clone(), requested_at);
            self.rounds.spawn(async move {
                let release = round.await;
                drop(check);
                release
            });
        }
        Ok(reasons)
    }

    /// Waits for a hint of the queue, a wake-up, the end of a round, or `pause`.
    async fn wait(&mut self, pause: Duration) {
        let ended = tokio::select! {
            biased;
            Some(ended) = self.rounds.join_next() => Some(ended),
            () = self.backend.wakeup.notified() => None,
            seen = self.shared.queue.due_elsewhere(self.backend.name(), self.seen) => {
                self.seen = seen;
                None
            }
            () = self.shared.stopping(&self.backend) => None,
            () = tokio::time::sleep(pause) => None,
        };
        if let Some(ended) = ended {
            self.release(ended).await;
        }
    }

    /// Releases the leases of all rounds that have ended, in one write.
    async fn release(&mut self, first: Result<Release, JoinError>) {
        let mut ended = vec![first];
        while let Some(more) = self.rounds.try_join_next() {
            ended.push(more);
        }
        let mut releases = Vec::with_capacity(ended.len());
        for ended in ended {
            match ended {
                Ok(release) => releases.push(release),
                // Its lease expires.
                Err(error) => tracing::error!(%error, "a round panicked"),
            }
        }
        if let Err(error) = self.shared.queue.release(&releases).await {
            tracing::warn!(backend = %self.backend.name(), %error, "leases run out by themselves");
        }
    }
}

async fn run_leased(
    shared: Arc<Shared>,
    backend: Arc<Backend>,
    lease: Lease,
    worker: String,
    requested_at: Duration,
) -> Release {
    let span = tracing::info_span!(
        "round",
        entity.id = %lease.entity,
        backend = %backend.name(),
        reason = ?lease.reason
    );
    let times = shared.lease_times;
    let held =
        HeldLease::new(&lease, &worker, times, &shared.clock, requested_at, &shared.shutdown);
    let held = shared.lease_keeper.hold(held);
    let began = shared.clock.elapsed();
    let outcome = run_round(&shared, &backend, held).instrument(span).await;
    let took = shared.clock.elapsed().saturating_sub(began);
    metrics::histogram!("stateward_round_seconds", "backend" => backend.name().to_string())
        .record(took.as_secs_f64());
    Release {
        entity: lease.entity,
        worker,
        snooze: outcome.snooze,
        seen: outcome.seen,
        drift_in: outcome.drift_in,
        observed_under: outcome.observed_under,
    }
}

async fn run_round(shared: &Shared, backend: &Arc<Backend>, lease: Arc<HeldLease>) -> RoundOutcome {
    let later = |pause| RoundOutcome { snooze: Some(pause), ..RoundOutcome::at_once(lease.seen) };
    let kind = match kind_of(shared, &lease).await {
        Ok(kind) => kind,
        Err(error) => {
            tracing::error!(%error, "the entity cannot be folded");
            return later(Duration::from_secs(30));
        }
    };
    let Some(kind) = backend.settings.driver.kinds().iter().find(|spec| spec.name == kind) else {
        tracing::error!(%kind, "the backend's driver does not know the kind");
        return later(Duration::from_secs(30));
    };
    let seen = Mutex::new(lease.seen);
    let baseline = ObservationBaseline::new(lease.observed_under);
    let round = Round { shared, backend, lease: Arc::clone(&lease), kind, seen, baseline };
    round.run().await
}

async fn kind_of(
    shared: &Shared,
    lease: &HeldLease,
) -> Result<KindName, crate::error::CommandError> {
    Ok(shared.entities.recent(lease.entity).await?.manifest.kind.clone())
}
