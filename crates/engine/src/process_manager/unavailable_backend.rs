//! Blocks entities with work whose backend is parked, unusable or not configured any more, so that they show a reason
//! instead of merely being late.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::entity::command::{FailureReport, Intent};
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{BlockedOn, OperationKind};
use stateward_domain::envelope::Envelope;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{BackendName, EntityId};
use stateward_domain::ports::cluster::Duty;
use stateward_domain::ports::sync_queue::{LeaseRequest, QueueError, Release};

use crate::backends::answer_limits::{MESSAGE_CHARS_MAX, shortened};
use crate::backends::availability::Unavailable;
use crate::backends::{Backend, Backends};
use crate::error::CommandError;
use crate::membership::BEAT;
use crate::process_manager::Shared;
use crate::process_manager::plan::open_of;

/// Entities blocked at a time.
const BATCH: usize = 100;
/// Time between scans for backends that are not configured any more.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Blocks the entities of backends that are not configured any more.
pub(super) async fn run(shared: Arc<Shared>, backends: Backends) {
    while !shared.shutdown.is_cancelled() {
        if let Err(error) = block_unconfigured(&shared, &backends).await {
            tracing::warn!(%error, "entities of removed backends were not blocked");
        }
        tokio::select! {
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
            () = shared.shutdown.cancelled() => {}
        }
    }
}

async fn block_unconfigured(shared: &Shared, backends: &Backends) -> Result<(), QueueError> {
    for (name, _) in shared.queue.oldest_due().await? {
        if backends.get(&name).is_none()
            && !shared.membership.is_configured_elsewhere(&name)
            && shared.membership.holds(&Duty::Unconfigured).await
        {
            let message = format!("backend {name} is not configured");
            let failure =
                Failure::harmless(ErrorClass::Misconfigured, "backend_not_configured", message);
            while block_entities(shared, &name, &failure, CHECK_INTERVAL).await? == BATCH {}
        }
    }
    Ok(())
}

/// Blocks entities with work if the backend is unavailable for long, and not only for this process; returns how long to
/// wait.
pub(super) async fn block_or_wait(
    shared: &Shared,
    backend: &Backend,
    unavailable: &Unavailable,
) -> Result<Duration, QueueError> {
    let interval = backend.settings.breaker.probe_interval;
    // What a health check ends may be the fault of this process's credentials or network.
    if unavailable.blocks()
        && unavailable.ends_by_health_check()
        && shared.membership.is_usable_elsewhere(backend.name())
    {
        return Ok(interval.min(BEAT));
    }
    let failure = match unavailable {
        Unavailable::Throttled { .. } => {
            return Ok(backend
                .availability
                .throttled_for(shared.clock.moment())
                .unwrap_or_default());
        }
        Unavailable::Unidentified { error: None } | Unavailable::BreakerOpen => {
            return Ok(interval);
        }
        Unavailable::Unidentified { error: Some(failure) } => {
            let message = format!("the backend was not reached yet: {failure}");
            let message = shortened(message, MESSAGE_CHARS_MAX);
            Failure::harmless(ErrorClass::Misconfigured, "backend_unreachable", message)
        }
        Unavailable::Unusable(failure) => failure.clone(),
        Unavailable::Parked(_) => {
            let message = "the backend is parked until a person confirms what it holds";
            Failure::harmless(ErrorClass::Misconfigured, "backend_parked", message)
        }
    };
    let leased = block_entities(shared, backend.name(), &failure, interval).await?;
    Ok(if leased == BATCH { Duration::ZERO } else { interval })
}

/// Marks up to a batch of entities with due work as blocked on their backend; the number of entities that were leased.
async fn block_entities(
    shared: &Shared,
    backend: &BackendName,
    failure: &Failure,
    pause: Duration,
) -> Result<usize, QueueError> {
    let worker = shared.clock.id().to_string();
    let request = LeaseRequest {
        worker: worker.clone(),
        backend: backend.clone(),
        limit: BATCH,
        duration: shared.lease_times.duration,
        checks: 0,
        // No round: the backend gets no call.
        within: None,
        takeover: shared.membership.may_take_over(),
    };
    let leases = shared.queue.lease(&request).await?;
    let mut releases = Vec::with_capacity(leases.len());
    for lease in &leases {
        if let Err(error) = block_entity(shared, lease.entity, failure, pause).await {
            tracing::debug!(entity.id = %lease.entity, %error, "was not blocked");
        }
        releases.push(Release {
            entity: lease.entity,
            worker: worker.clone(),
            snooze: Some(pause),
            seen: lease.seen,
            drift_in: None,
            observed_under: None,
        });
    }
    shared.queue.release(&releases).await?;
    Ok(leases.len())
}

async fn block_entity(
    shared: &Shared,
    id: EntityId,
    failure: &Failure,
    pause: Duration,
) -> Result<(), CommandError> {
    let entity = shared.entities.fresh(id).await?;
    // A requested refresh or retry gets the failure each time.
    let asks = !open_of(&entity, &[OperationKind::Refresh, OperationKind::Retry]).is_empty();
    let blocked = entity.blocked.as_ref();
    let reported = !asks && blocked.is_some_and(|blocked| blocked.on == BlockedOn::Backend);
    // A running attempt may be resumed once the backend is available again.
    if reported || entity.running.is_some() || !entity.is_tracked() {
        return Ok(());
    }
    let failing = FailureReport {
        attempt: None,
        takes_over: None,
        error: failure.clone(),
        next: Next::Blocked { on: BlockedOn::Backend, check_at: shared.clock.now().after(pause) },
        remaining: Vec::new(),
        action: None,
    };
    let envelope = Envelope::system("process-manager", entity.manifest.namespace.clone());
    shared.commands.report(id, &envelope, &Intent::Fail(failing)).await?;
    Ok(())
}
