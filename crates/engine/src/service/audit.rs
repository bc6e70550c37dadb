//! Audits of the log, and letting work begin after a store was put back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use stateward_domain::audit::{Checkpoint, Report};
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::ports::audit::ProgressFn;
use stateward_domain::system::{System, SystemEvent};
use tokio::sync::OwnedSemaphorePermit;

use super::Engine;
use crate::error::Error;
use crate::service::export::{Export, Selection};

/// The right to verify: one at a time has it, because each reads the whole log.
pub struct VerificationPermit {
    _permit: OwnedSemaphorePermit,
}

impl Engine {
    /// Begins a verification; dropping the turn ends it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while another one runs.
    pub fn verification_permit(&self) -> Result<VerificationPermit, Error> {
        let permit = Arc::clone(&self.inner.verification_permits).try_acquire_owned();
        let busy = |_| Error::Unavailable("another verification is under way".to_owned());
        Ok(VerificationPermit { _permit: permit.map_err(busy)? })
    }

    /// Reads the whole log and says what is wrong with it, with its claims and with the read model; `against` is what
    /// it has to continue.
    ///
    /// # Errors
    /// [`Error::Unavailable`]. Faults of the log are in the report.
    pub async fn verify(
        &self,
        _permit: &VerificationPermit,
        against: Option<&Checkpoint>,
        progress: ProgressFn<'_>,
    ) -> Result<Report, Error> {
        Ok(self.inner.auditor.verify(against, progress).await?)
    }

    /// What the log is now, to be kept elsewhere.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn checkpoint(&self) -> Result<Checkpoint, Error> {
        Ok(self.inner.auditor.checkpoint().await?)
    }

    /// A copy of the events that `selection` asks for. That somebody took it is in the log before its first line is
    /// read.
    ///
    /// # Errors
    /// [`Error::PositionGone`], [`Error::Unavailable`].
    pub async fn export(&self, envelope: &Envelope, selection: Selection) -> Result<Export, Error> {
        let head = self.log().head().await?;
        let export = Export::new(Arc::clone(&self.inner.auditor), selection, head);
        let count = export.count().await?;
        let at = self.clock().now();
        let (selection, until) = (export.selection(), export.until());
        let event = SystemEvent::AuditExported {
            at,
            after: selection.after,
            until,
            namespaces: selection.namespaces.clone(),
            types: selection.types.clone(),
            count,
        };
        self.record(envelope, event).await?;
        Ok(export)
    }

    /// A person looked: changes of backends begin at once. Nothing happens when they do already.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; then nothing has begun, or it may be asked for again.
    pub async fn unfreeze(&self, envelope: &Envelope) -> Result<(), Error> {
        if self.is_observe_only() {
            self.allow_changes(envelope).await?;
        }
        // Last: the key of a request that broke off in the middle is free, and its repetition does the rest.
        self.record_request(envelope).await
    }

    async fn allow_changes(&self, envelope: &Envelope) -> Result<(), Error> {
        let at = self.clock().now();
        // The record comes first: what is done without it could not be told from what nobody allowed.
        self.record(envelope, SystemEvent::Unfrozen { at }).await?;
        self.inner.restore_hold.clear().await?;
        let shared = &self.inner.shared;
        shared.observe_only.store(false, Ordering::Release);
        for backend in self.inner.backends.all().values() {
            shared.resume_work(backend).await;
        }
        Ok(())
    }

    async fn record(&self, envelope: &Envelope, event: SystemEvent) -> Result<(), Error> {
        // A key, if there is one, is taken by what is recorded when the request was carried out.
        let envelope = &Envelope { idempotency: None, ..envelope.clone() };
        let change = |_: &System| Ok(vec![event.clone()]);
        self.inner.shared.control.change(&StreamId::system(), envelope, change).await?;
        Ok(())
    }
}
