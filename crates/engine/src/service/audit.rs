//! Audits of the log, and allowing changes after a store was restored.

use std::sync::Arc;

use stateward_domain::audit::{Checkpoint, Report};
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::ports::audit::ProgressFn;
use stateward_domain::system::{System, SystemEvent};
use tokio::sync::OwnedSemaphorePermit;

use super::Engine;
use crate::error::{CommandError, QueryError};
use crate::service::export::{Export, Selection};

/// Permission to verify. There is only one, because each verification reads the whole log.
pub struct VerificationPermit {
    _permit: OwnedSemaphorePermit,
}

impl Engine {
    /// Takes the permission to verify until it is dropped.
    ///
    /// # Errors
    /// [`QueryError::Store`] while another one runs.
    pub fn verification_permit(&self) -> Result<VerificationPermit, QueryError> {
        let permit = Arc::clone(&self.inner.verification_permits).try_acquire_owned();
        let busy = |_| QueryError::Unavailable("another verification is under way".to_owned());
        Ok(VerificationPermit { _permit: permit.map_err(busy)? })
    }

    /// Verifies the whole log, its claims and the read models; `against` is a checkpoint that the log has to continue.
    ///
    /// # Errors
    /// [`QueryError::Store`]. Faults of the log are in the report.
    pub async fn verify(
        &self,
        _permit: &VerificationPermit,
        against: Option<&Checkpoint>,
        progress: ProgressFn<'_>,
    ) -> Result<Report, QueryError> {
        Ok(self.inner.auditor.verify(against, progress).await?)
    }

    /// The log's present checkpoint, to be kept elsewhere.
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn checkpoint(&self) -> Result<Checkpoint, QueryError> {
        Ok(self.inner.auditor.checkpoint().await?)
    }

    /// Exports the events that `selection` matches. The export is recorded in the log before its first line is read.
    ///
    /// # Errors
    /// [`QueryError::PositionGone`], [`QueryError::Store`].
    pub async fn export(
        &self,
        envelope: &Envelope,
        selection: Selection,
    ) -> Result<Export, CommandError> {
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

    async fn record(&self, envelope: &Envelope, event: SystemEvent) -> Result<(), CommandError> {
        // The idempotency key is taken by the record of the completed request.
        let envelope = &Envelope { idempotency: None, ..envelope.clone() };
        let change = |_: &System| Ok(vec![event.clone()]);
        self.inner.shared.control.change(&StreamId::system(), envelope, change).await.map(drop)
    }
}
