//! Context of a round's steps: driver calls, clocks, and whether changes are allowed now.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use stateward_domain::entity::Entity;
use stateward_domain::entity::state::ManagementPolicy;
use stateward_domain::failure::Failure;
use stateward_domain::id::{Attempt, KindName};
use stateward_domain::ports::driver::{CallContext, Driver};
use stateward_domain::time::{Moment, Timestamp};

use crate::backends::availability::Unavailable;
use crate::process_manager::lease::AttemptControl;
use crate::process_manager::report::envelope;
use crate::process_manager::round::Round;

impl Round<'_> {
    /// Whether the object may be changed now: by policy, by pauses of entity and backend, and in this mode of the
    /// process.
    pub(crate) fn may_change(&self, entity: &Entity) -> bool {
        entity.manifest.settings.management_policy == ManagementPolicy::Full
            && entity.paused.is_none()
            && !self.backend.availability.paused(self.moment())
            && !self.shared.observe_only.load(Ordering::Acquire)
    }

    /// Makes a call within the backend's rate limit, and records its outcome in the backend's availability.
    pub(crate) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.backend.wait_for_rate_limit().await;
        let outcome = call.await;
        match &outcome {
            Ok(_) => self.backend.availability.record_success(),
            Err(failure) => self.shared.record_failure(self.backend, failure).await,
        }
        outcome
    }

    pub(crate) fn call_context(&self, attempt: Attempt, entity: &Entity) -> CallContext {
        let steady = self.shared.clock.elapsed();
        let control = AttemptControl {
            lease: Arc::clone(&self.lease),
            commands: self.shared.commands.clone(),
            envelope: envelope(entity),
            attempt,
            incarnation: entity.incarnation,
            deadline: steady + self.backend.settings.call_timeout,
            secrets: Arc::clone(&self.shared.secrets),
        };
        CallContext { attempt, control: Arc::new(control) }
    }

    pub(crate) fn driver(&self) -> &dyn Driver {
        &*self.backend.settings.driver
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(crate) fn moment(&self) -> Moment {
        self.shared.clock.moment()
    }

    /// Why the backend became unavailable during the round; `None` = it did not.
    pub(crate) fn unavailable(&self) -> Option<Unavailable> {
        self.backend.availability.unavailable(self.moment())
    }
}

/// Names of the kinds of a driver.
pub(crate) fn kind_names(driver: &dyn Driver) -> Vec<KindName> {
    driver.kinds().iter().map(|kind| kind.name.clone()).collect()
}
