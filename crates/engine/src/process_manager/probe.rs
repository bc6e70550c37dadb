//! Which world a backend is, and whether it is well again.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::backend::{Backend as Record, BackendEvent, ParkCause};
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{Attempt, BackendName, Namespace};
use stateward_domain::ports::driver::CallContext;

use crate::backends::Backend;
use crate::backends::gate::{Closed, scope_of};
use crate::control::Changed;
use crate::error::Error;
use crate::process_manager::Shared;
use crate::process_manager::lease::ProbeControl;
use crate::process_manager::round::kind_names;

/// A pause at least this long goes into the log: a shorter one is over before a restart is.
const DURABLE_PAUSE: Duration = Duration::from_secs(1);
/// First pause after a backend did not say who it is.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// Between two tries to read the stream of a backend.
const STREAM_RETRY: Duration = Duration::from_secs(1);

/// Identifies the backend, then looks after it whenever its gate is closed.
pub(super) async fn run(shared: Arc<Shared>, backend: Arc<Backend>) {
    let interval = backend.settings.breaker.probe_interval;
    let mut wait = FIRST_RETRY.min(interval);
    load_record(&shared, &backend).await;
    while !shared.ends(&backend) {
        let closed = backend.gate.closed(shared.sources.moment());
        match &closed {
            Some(Closed::Unidentified { .. }) => {
                // Told in the log and in the gate.
                let _ = shared.identify(&backend).await;
            }
            Some(closed) if closed.is_probed() => probe(&shared, &backend).await,
            _ => {}
        }
        let unidentified = matches!(
            backend.gate.closed(shared.sources.moment()),
            Some(Closed::Unidentified { .. })
        );
        if backend.gate.closed(shared.sources.moment()).is_none() {
            match closed {
                Some(Closed::Unusable(_)) => shared.wake(&backend).await,
                Some(_) => shared.reopened(&backend).await,
                None => {}
            }
        }
        let pause = if unidentified { wait } else { interval };
        wait = if unidentified { (wait * 2).min(interval) } else { FIRST_RETRY.min(interval) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.ended(&backend) => {}
        }
    }
}

/// Takes over what the log says of the backend, and records its configuration if that is another than the last one.
async fn load_record(shared: &Shared, backend: &Backend) {
    let settings = &backend.settings;
    while !shared.ends(backend) {
        let at = shared.sources.now();
        let recorded = shared.change_record(backend, |record| {
            if record.configured.as_ref() == Some(&settings.digest) {
                return Vec::new();
            }
            let (driver, digest) = (settings.driver_name.clone(), settings.digest.clone());
            vec![BackendEvent::Configured { at, driver, digest }]
        });
        let recorded = async {
            recorded.await?;
            shared.know_observed(backend).await
        };
        match recorded.await {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(backend = %backend.name(), %error, "its stream cannot be read");
                tokio::select! {
                    () = tokio::time::sleep(STREAM_RETRY) => {}
                    () = shared.ended(backend) => {}
                }
            }
        }
    }
}

async fn probe(shared: &Shared, backend: &Backend) {
    let context = shared.probe_context(backend);
    match backend.settings.driver.health(&context).await {
        Ok(()) => {
            backend.gate.recovered();
            // It may have come back as another one.
            let _ = shared.identify(backend).await;
        }
        Err(failure) => shared.note_failure(backend, &failure).await,
    }
}

impl Shared {
    /// Asks the backend who it is. A first answer is recorded; another one than the recorded parks it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not say, or what it said cannot be recorded; the gate stays closed then.
    pub(crate) async fn identify(&self, backend: &Backend) -> Result<(), Error> {
        let context = self.probe_context(backend);
        let found = match backend.settings.driver.identity(&context).await {
            Ok(found) => found,
            Err(failure) => {
                tracing::warn!(backend = %backend.name(), %failure, "it does not say who it is");
                backend.gate.unidentified(failure.clone());
                self.note_failure(backend, &failure).await;
                return Err(Error::Unavailable(failure.to_string()));
            }
        };
        let now = self.sources.now();
        let changed = self.change_record(backend, |record| match &record.identity {
            None => vec![BackendEvent::IdentityRecorded { at: now, identity: found.clone() }],
            Some(known) if *known == found || record.parked.is_some() => Vec::new(),
            Some(known) => vec![BackendEvent::Parked {
                at: now,
                cause: ParkCause::IdentityChanged { expected: known.clone(), found: found.clone() },
            }],
        });
        let changed = changed.await;
        match &changed {
            Ok(()) => backend.gate.identified(),
            Err(error) => {
                tracing::error!(backend = %backend.name(), %error, "its identity is not recorded");
            }
        }
        changed
    }

    /// Nothing acts on the backend before a person confirms.
    pub(crate) async fn park(&self, backend: &Backend, cause: ParkCause) -> Result<(), Error> {
        tracing::error!(backend = %backend.name(), ?cause, "parked until a person confirms");
        let now = self.sources.now();
        self.change_record(backend, |record| match record.parked {
            Some(_) => Vec::new(),
            None => vec![BackendEvent::Parked { at: now, cause: cause.clone() }],
        })
        .await
    }

    /// A person confirmed: what answers now is right. The backend's record right after it.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also when the backend does not answer.
    pub(crate) async fn unpark(
        &self,
        backend: &Backend,
        envelope: &Envelope,
    ) -> Result<Record, Error> {
        self.know_observed(backend).await?;
        let context = self.probe_context(backend);
        let identity = backend.settings.driver.identity(&context).await;
        let found = identity.map_err(|failure| Error::Unavailable(failure.to_string()))?;
        let now = self.sources.now();
        let changed = self
            .change_backend(backend.name(), envelope, |record| {
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
        backend.gate.record(&changed.state, self.sources.moment());
        // Of a repetition it was confirmed what answered then, which says nothing of what answers now.
        if changed.repeats.is_none() {
            backend.absences.clear();
            backend.gate.succeeded();
            backend.gate.identified();
            self.reopened(backend).await;
        }
        self.control.after(&StreamId::backend(backend.name()), changed).await
    }

    /// From here on it is known which entities are observed after a confirmation: before, rows may have been lost that
    /// say so.
    async fn know_observed(&self, backend: &Backend) -> Result<(), Error> {
        let record: Record = self.control.load(&StreamId::backend(backend.name())).await?;
        let since = self.queue.observed_since(backend.name(), record.version).await;
        let since = since.map_err(|error| Error::Unavailable(error.to_string()))?;
        backend.gate.observed_since(since);
        Ok(())
    }

    /// What is blocked on the backend, or on a secret, goes on at once.
    pub(crate) async fn wake(&self, backend: &Backend) {
        let at = self.sources.now();
        let recorded = self.change_record(backend, |_| vec![BackendEvent::Reopened { at }]);
        if let Err(error) = recorded.await {
            tracing::warn!(backend = %backend.name(), %error, "what is blocked goes on a little later");
        }
        self.reopened(backend).await;
    }

    /// Work on the backend goes on at once, also what was put aside because it could not.
    pub(crate) async fn reopened(&self, backend: &Backend) {
        if let Err(error) = self.queue.void_snoozes(backend.name()).await {
            tracing::warn!(backend = %backend.name(), %error, "work goes on a little later");
        }
        backend.bell.notify_one();
    }

    /// Lets the gate know of a failed call; a long pause that the backend asked for goes into the log.
    pub(crate) async fn note_failure(&self, backend: &Backend, failure: &Failure) {
        let kinds = kind_names(&*backend.settings.driver);
        let now = self.sources.moment();
        backend.gate.failed(failure, &kinds, now);
        let now = now.log;
        if failure.class == ErrorClass::Unauthorized {
            // Perhaps there are new credentials already.
            self.reload_wanted.notify_one();
        }
        let ErrorClass::RateLimited { scope, .. } = &failure.class else { return };
        let pause = failure.retry_after().unwrap_or_default();
        if pause < DURABLE_PAUSE {
            return;
        }
        let (scope, until) = (scope_of(scope, &kinds), now.after(pause));
        let recorded = self.change_record(backend, |record| {
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

    async fn change_record(
        &self,
        backend: &Backend,
        decide: impl Fn(&Record) -> Vec<BackendEvent> + Send,
    ) -> Result<(), Error> {
        let envelope = Envelope::system("process-manager", Namespace::default());
        let changed = self.change_backend(backend.name(), &envelope, decide).await?;
        backend.gate.record(&changed.state, self.sources.moment());
        Ok(())
    }

    /// Appends to a backend's stream what `decide` makes of its record.
    pub(crate) async fn change_backend(
        &self,
        name: &BackendName,
        envelope: &Envelope,
        decide: impl Fn(&Record) -> Vec<BackendEvent> + Send,
    ) -> Result<Changed<Record>, Error> {
        let stream = StreamId::backend(name);
        self.control.change(&stream, envelope, move |record| Ok(decide(record))).await
    }

    pub(crate) fn probe_context(&self, backend: &Backend) -> CallContext {
        let control = ProbeControl {
            sources: self.sources.clone(),
            deadline: self.sources.elapsed() + backend.settings.call_timeout,
            shutdown: self.shutdown.clone(),
        };
        CallContext { attempt: Attempt(0), control: Arc::new(control) }
    }
}
