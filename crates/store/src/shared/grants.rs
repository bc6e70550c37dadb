//! Which entities were leased within the concurrency of their backend, in a store of one process.
//!
//! Invariant: every lease within a concurrency that is held is in here. What is in here may have ended: only the leases
//! say that, so renewals, releases and ends change nothing here.

use std::collections::{BTreeMap, HashMap};

use stateward_domain::id::{BackendName, EntityId};
use stateward_domain::ports::sync_queue::{Lease, LeaseReason, LeaseRequest};

/// What was leased of each backend, and for what.
#[derive(Default)]
pub(crate) struct Grants(HashMap<BackendName, BTreeMap<EntityId, LeaseReason>>);

impl Grants {
    /// Entities of the backend that may still be leased.
    pub(crate) fn of(&self, backend: &BackendName) -> Vec<EntityId> {
        self.0.get(backend).into_iter().flat_map(|granted| granted.keys().copied()).collect()
    }

    /// The request as far as its concurrency allows it; `leased` says which entities of [`of`](Self::of) still are.
    pub(crate) fn allowed(
        &mut self,
        request: &LeaseRequest,
        leased: impl Fn(&EntityId) -> bool,
    ) -> LeaseRequest {
        let Some(within) = request.within else { return request.clone() };
        let granted = self.0.entry(request.backend.clone()).or_default();
        granted.retain(|entity, _| leased(entity));
        let checks = granted.values().filter(|reason| **reason == LeaseReason::Drift).count();
        LeaseRequest {
            limit: request.limit.min(within.leases.saturating_sub(granted.len())),
            checks: request.checks.min(within.checks.saturating_sub(checks)),
            ..request.clone()
        }
    }

    /// Adds what was leased by the request.
    pub(crate) fn add(&mut self, request: &LeaseRequest, leases: &[Lease]) {
        if request.within.is_some() {
            let granted = self.0.entry(request.backend.clone()).or_default();
            granted.extend(leases.iter().map(|lease| (lease.entity, lease.reason)));
        }
    }
}
