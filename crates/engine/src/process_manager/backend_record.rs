//! The backend's record: the fold of its stream, and the events that are appended to it.

use std::time::Duration;

use stateward_domain::backend::{Backend as Record, BackendEvent, ParkCause};
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{BackendName, Namespace, Version};

use crate::backends::Backend;
use crate::backends::availability::scope_of;
use crate::commands::control_streams::StreamChange;
use crate::error::{CommandError, QueryError};
use crate::process_manager::Shared;
use crate::process_manager::kind_names;

/// A shorter pause is not recorded: it is over before a restart is.
const DURABLE_PAUSE: Duration = Duration::from_secs(1);
/// Between two attempts to read the backend's stream.
const STREAM_RETRY: Duration = Duration::from_secs(1);

/// Applies the record from the log, and records the configuration if it differs from the last one.
pub(super) async fn load_record(shared: &Shared, backend: &Backend) {
    let settings = &backend.settings;
    while !shared.is_stopping(backend) {
        let at = shared.clock.now();
        let recorded = shared.update_record(backend, |record| {
            if record.configured.as_ref() == Some(&settings.digest) {
                return Vec::new();
            }
            let (driver, digest) = (settings.driver_name.clone(), settings.digest.clone());
            vec![BackendEvent::Configured { at, driver, digest }]
        });
        let recorded = async {
            recorded.await?;
            Ok::<_, CommandError>(shared.load_observed_since(backend).await?)
        };
        match recorded.await {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(backend = %backend.name(), %error, "its stream cannot be read");
                tokio::select! {
                    () = tokio::time::sleep(STREAM_RETRY) => {}
                    () = shared.stopping(backend) => {}
                }
            }
        }
    }
}

impl Shared {
    /// Parks the backend: nothing acts on it before a person confirms. Does nothing if a person confirmed it after
    /// `known`, the newest confirmation when the cause was observed: then it was covered by that, in another process.
    pub(crate) async fn park(
        &self,
        backend: &Backend,
        cause: ParkCause,
        known: Version,
    ) -> Result<(), CommandError> {
        let now = self.clock.now();
        self.update_record(backend, |record| match record.parked {
            None if record.confirmed <= known => {
                vec![BackendEvent::Parked { at: now, cause: cause.clone() }]
            }
            _ => Vec::new(),
        })
        .await?;
        let confirmed = backend.availability.confirmed();
        if confirmed > known {
            backend.mass_absence.confirm(confirmed);
            tracing::info!(backend = %backend.name(), ?cause, "a person has confirmed this meanwhile");
        } else {
            tracing::error!(backend = %backend.name(), ?cause, "parked until a person confirms");
        }
        Ok(())
    }

    /// A person confirmed the backend as it answers now; returns its record right after that.
    ///
    /// # Errors
    /// [`QueryError::Store`], also when the backend does not answer.
    pub(crate) async fn unpark(
        &self,
        backend: &Backend,
        envelope: &Envelope,
    ) -> Result<Record, CommandError> {
        self.load_observed_since(backend).await?;
        let context = self.backend_call_context(backend);
        let identity = backend.settings.driver.identity(&context).await;
        let found = identity.map_err(|failure| QueryError::Unavailable(failure.to_string()))?;
        let now = self.clock.now();
        let changed = self
            .append_backend_events(backend.name(), envelope, |record| {
                let mut events = Vec::new();
                if record.identity.as_ref() != Some(&found) {
                    let identity = found.clone();
                    events.push(BackendEvent::IdentityRecorded { at: now, identity });
                }
                if record.parked.is_some() {
                    events.push(BackendEvent::Unparked { at: now });
                }
                if record.paused.is_some() {
                    events.push(BackendEvent::Resumed { at: now });
                }
                events
            })
            .await?;
        backend.availability.apply_record(&changed.state, self.clock.moment());
        // A repeated request confirmed what the backend answered then, which says nothing about its answers now.
        if changed.repeats.is_none() {
            backend.mass_absence.confirm(backend.availability.confirmed());
            backend.availability.record_success(self.clock.moment());
            backend.availability.record_identified();
            self.resume_work(backend).await;
        }
        Ok(self.control.state_after(&StreamId::backend(backend.name()), changed).await?)
    }

    /// Loads from which version on the queue has stored which entities were observed after a confirmation; earlier rows
    /// may have been lost.
    async fn load_observed_since(&self, backend: &Backend) -> Result<(), QueryError> {
        let record: Record = self.control.load(&StreamId::backend(backend.name())).await?;
        let since = self.queue.observed_since(backend.name(), record.version).await?;
        backend.availability.set_observed_since(since);
        Ok(())
    }

    /// Records that the backend is available again: entities blocked on it, or on a secret, are due at once.
    pub(crate) async fn reopen(&self, backend: &Backend) {
        let at = self.clock.now();
        let recorded = self.update_record(backend, |_| vec![BackendEvent::Reopened { at }]);
        if let Err(error) = recorded.await {
            tracing::warn!(backend = %backend.name(), %error, "what is blocked goes on a little later");
        }
        self.resume_work(backend).await;
    }

    /// Makes snoozed work on the backend due at once, and wakes its dispatcher.
    pub(crate) async fn resume_work(&self, backend: &Backend) {
        if let Err(error) = self.queue.void_snoozes(backend.name()).await {
            tracing::warn!(backend = %backend.name(), %error, "work goes on a little later");
        }
        backend.wakeup.notify_one();
    }

    /// Records a failed call in the backend's availability, and a long rate-limit pause in the log.
    pub(crate) async fn record_failure(&self, backend: &Backend, failure: &Failure) {
        let kinds = kind_names(&*backend.settings.driver);
        let now = self.clock.moment();
        let usable = backend.availability.is_usable();
        backend.availability.record_failure(failure, &kinds, now);
        if usable != backend.availability.is_usable() {
            // The others leave no work to this process.
            self.membership.report_now();
        }
        let now = now.log;
        if failure.class == ErrorClass::Unauthorized {
            // The configuration may have new credentials already.
            self.reload_wanted.notify_one();
        }
        let ErrorClass::RateLimited { scope, .. } = &failure.class else { return };
        let pause = failure.retry_after().unwrap_or_default();
        if pause < DURABLE_PAUSE {
            return;
        }
        let (scope, until) = (scope_of(scope, &kinds), now.after(pause));
        let recorded = self.update_record(backend, |record| {
            let known = record.throttled.get(&scope).copied().unwrap_or_default();
            if known.after(DURABLE_PAUSE) >= until {
                return Vec::new();
            }
            vec![BackendEvent::Throttled { at: now, scope: scope.clone(), until }]
        });
        if let Err(error) = recorded.await {
            tracing::warn!(backend = %backend.name(), %error, "a pause is not recorded");
        }
    }

    pub(super) async fn update_record(
        &self,
        backend: &Backend,
        decide: impl Fn(&Record) -> Vec<BackendEvent> + Send,
    ) -> Result<(), CommandError> {
        let envelope = Envelope::system("process-manager", Namespace::default());
        let changed = self.append_backend_events(backend.name(), &envelope, decide).await?;
        backend.availability.apply_record(&changed.state, self.clock.moment());
        Ok(())
    }

    /// Appends to the backend's stream the events that `decide` returns for its record.
    pub(crate) async fn append_backend_events(
        &self,
        name: &BackendName,
        envelope: &Envelope,
        decide: impl Fn(&Record) -> Vec<BackendEvent> + Send,
    ) -> Result<StreamChange<Record>, CommandError> {
        let stream = StreamId::backend(name);
        self.control.change(&stream, envelope, move |record| Ok(decide(record))).await
    }
}
