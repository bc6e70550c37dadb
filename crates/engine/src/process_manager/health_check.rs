//! Health checks: whether a backend is available again, and whether its identity is still the recorded one.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::backend::{BackendEvent, ParkCause};
use stateward_domain::id::Attempt;
use stateward_domain::ports::driver::CallContext;

use crate::backends::Backend;
use crate::backends::availability::Unavailable;
use crate::error::{CommandError, QueryError};
use crate::process_manager::Shared;
use crate::process_manager::backend_record::load_record;
use crate::process_manager::lease::BackendCallControl;

/// First pause after a backend did not answer with its identity.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// Identifies the backend, then checks its health while it is unavailable.
pub(super) async fn run(shared: Arc<Shared>, backend: Arc<Backend>) {
    let interval = backend.settings.breaker.probe_interval;
    let mut wait = FIRST_RETRY.min(interval);
    load_record(&shared, &backend).await;
    while !shared.is_stopping(&backend) {
        let unavailable = backend.availability.unavailable(shared.clock.moment());
        match &unavailable {
            Some(Unavailable::Unidentified { .. }) => {
                // The failure is in the log and in the availability.
                let _ = shared.identify(&backend).await;
            }
            Some(unavailable) if unavailable.ends_by_health_check() => {
                check(&shared, &backend).await;
            }
            _ => {}
        }
        let unidentified = matches!(
            backend.availability.unavailable(shared.clock.moment()),
            Some(Unavailable::Unidentified { .. })
        );
        if backend.availability.unavailable(shared.clock.moment()).is_none() {
            match unavailable {
                Some(unavailable) if unavailable.blocks() => shared.reopen(&backend).await,
                Some(_) => shared.resume_work(&backend).await,
                None => {}
            }
        }
        let pause = if unidentified { wait } else { interval };
        wait = if unidentified { (wait * 2).min(interval) } else { FIRST_RETRY.min(interval) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.stopping(&backend) => {}
        }
    }
}

async fn check(shared: &Shared, backend: &Backend) {
    let context = shared.backend_call_context(backend);
    match backend.settings.driver.health(&context).await {
        Ok(()) => {
            backend.availability.record_recovery(shared.clock.moment());
            // Another environment may answer at the same address now.
            let _ = shared.identify(backend).await;
        }
        Err(failure) => shared.record_failure(backend, &failure).await,
    }
}

impl Shared {
    /// Asks the backend for its identity. The first answer is recorded; an answer that differs from the recorded one
    /// parks the backend.
    ///
    /// # Errors
    /// [`QueryError::Store`] when it does not answer, or its answer cannot be recorded; it stays unavailable then.
    pub(crate) async fn identify(&self, backend: &Backend) -> Result<(), CommandError> {
        let context = self.backend_call_context(backend);
        let found = match backend.settings.driver.identity(&context).await {
            Ok(found) => found,
            Err(failure) => {
                tracing::warn!(backend = %backend.name(), %failure, "it does not say who it is");
                backend.availability.record_unidentified(failure.clone());
                self.record_failure(backend, &failure).await;
                return Err(QueryError::Unavailable(failure.to_string()).into());
            }
        };
        let now = self.clock.now();
        let changed = self.update_record(backend, |record| match &record.identity {
            None => vec![BackendEvent::IdentityRecorded { at: now, identity: found.clone() }],
            Some(known) if *known == found || record.parked.is_some() => Vec::new(),
            Some(known) => vec![BackendEvent::Parked {
                at: now,
                cause: ParkCause::IdentityChanged { expected: known.clone(), found: found.clone() },
            }],
        });
        let changed = changed.await;
        match &changed {
            Ok(()) => {
                let usable = backend.availability.is_usable();
                backend.availability.record_identified();
                if !usable {
                    self.membership.report_now();
                }
            }
            Err(error) => {
                tracing::error!(backend = %backend.name(), %error, "its identity is not recorded");
            }
        }
        changed
    }

    pub(crate) fn backend_call_context(&self, backend: &Backend) -> CallContext {
        let control = BackendCallControl {
            clock: self.clock.clone(),
            deadline: self.clock.elapsed() + backend.settings.call_timeout,
            shutdown: self.shutdown.clone(),
        };
        CallContext { attempt: Attempt(0), control: Arc::new(control) }
    }
}
