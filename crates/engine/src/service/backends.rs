//! Status of backends, and requests of operators: unpark, pause, test.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::backend::{Backend as Record, BackendEvent, Pause};
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::id::{BackendName, Version};
use stateward_domain::time::Timestamp;

use super::Engine;
use crate::backends::Backend;
use crate::backends::availability::Unavailable;
use crate::error::{AdmissionError, CommandError, QueryError};

/// Status of one backend.
pub struct BackendStatus {
    /// The backend.
    pub backend: Arc<Backend>,
    /// Why no round may start; `None` = rounds may start.
    pub unavailable: Option<Unavailable>,
    /// The pause by which a person stopped changes; `None` = none is in force.
    pub pause: Option<Pause>,
}

impl Engine {
    /// For how long the oldest due work of each backend has been due.
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn oldest_due(&self) -> Result<Vec<(BackendName, Duration)>, QueryError> {
        Ok(self.inner.shared.queue.oldest_due().await?)
    }

    /// Status of all backends.
    #[must_use]
    pub fn backend_statuses(&self) -> Vec<BackendStatus> {
        let now = self.clock().moment();
        let status = |backend: &Arc<Backend>| BackendStatus {
            backend: Arc::clone(backend),
            unavailable: backend.availability.unavailable(now),
            pause: backend.availability.pause(now),
        };
        self.inner.backends.all().values().map(status).collect()
    }

    /// Confirms the identity and contents of a backend, and ends parking and pausing.
    ///
    /// # Errors
    /// [`AdmissionError::UnknownBackend`], [`QueryError::Store`] also when the backend does not answer.
    pub async fn unpark(
        &self,
        name: &BackendName,
        envelope: &Envelope,
    ) -> Result<Record, CommandError> {
        self.inner.shared.unpark(&*self.backend(name)?, envelope).await
    }

    /// The backend's record at `version`.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn backend_at(
        &self,
        name: &BackendName,
        version: Version,
    ) -> Result<Record, QueryError> {
        self.inner.shared.control.load_up_to(&StreamId::backend(name), version).await
    }

    /// Pauses changes on a backend, for the envelope's reason; `until` `None` = until they are resumed. Returns the
    /// backend's record right after it.
    ///
    /// # Errors
    /// [`AdmissionError::UnknownBackend`], [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn pause_backend(
        &self,
        name: &BackendName,
        until: Option<Timestamp>,
        envelope: &Envelope,
    ) -> Result<Record, CommandError> {
        let backend = self.backend(name)?;
        let at = self.clock().now();
        let changed = self.inner.shared.append_backend_events(name, envelope, |record| {
            let pause = Pause { until, reason: envelope.reason.clone() };
            if record.paused.as_ref() == Some(&pause) {
                return Vec::new();
            }
            vec![BackendEvent::Paused { at, until, reason: pause.reason }]
        });
        let changed = changed.await?;
        backend.availability.apply_record(&changed.state, self.clock().moment());
        Ok(self.inner.shared.control.state_after(&StreamId::backend(name), changed).await?)
    }

    /// Checks the backend's health and identity at once, and each service that its kinds use. Returns the backend's
    /// record right after it.
    ///
    /// # Errors
    /// [`AdmissionError::UnknownBackend`]; [`QueryError::Store`] with the backend's answer.
    pub async fn test_backend(
        &self,
        name: &BackendName,
        envelope: &Envelope,
    ) -> Result<Record, CommandError> {
        let backend = self.backend(name)?;
        let shared = &self.inner.shared;
        let context = shared.backend_call_context(&backend);
        let health = backend.settings.driver.health(&context).await;
        health.map_err(|failure| QueryError::Unavailable(failure.to_string()))?;
        let unavailable = backend.availability.unavailable(self.clock().moment());
        let blocked = unavailable
            .is_some_and(|unavailable| unavailable.blocks() && unavailable.ends_by_health_check());
        backend.availability.record_recovery(self.clock().moment());
        shared.identify(&backend).await?;
        if blocked {
            shared.reopen(&backend).await;
        } else {
            shared.resume_work(&backend).await;
        }
        let verified = backend.settings.driver.verify(&shared.backend_call_context(&backend)).await;
        verified.map_err(|failure| QueryError::Unavailable(failure.to_string()))?;
        let changed = shared.append_backend_events(name, envelope, |_| Vec::new()).await?;
        Ok(shared.control.state_after(&StreamId::backend(name), changed).await?)
    }

    pub(crate) fn backend(&self, name: &BackendName) -> Result<Arc<Backend>, AdmissionError> {
        self.inner.backends.get(name).ok_or_else(|| AdmissionError::UnknownBackend(name.clone()))
    }
}
