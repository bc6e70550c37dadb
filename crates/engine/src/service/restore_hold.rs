//! The restore hold: a log that was put back acts on no backend before a person allows it.
//!
//! Invariant: the mark of the store moves into the log before anything acts, so every process that follows the log knows
//! the hold, and a copy of the log keeps it.

use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::id::Namespace;
use stateward_domain::ports::audit::LogLife;
use stateward_domain::system::{System, SystemEvent};

use super::Engine;
use crate::commands::control_streams::StreamChange;
use crate::error::{CommandError, QueryError};

/// Actor of the hold in the log.
const ACTOR: &str = "restore";

impl Engine {
    /// Joins the processes of the store, and brings namespaces, tokens and the restore hold into memory. `life`: what the store knows of its log; a hold that is
    /// marked there is recorded in the log, once for each epoch. Called before requests are answered and before
    /// [`run`](Self::run). Idempotent.
    ///
    /// # Errors
    /// [`QueryError::Store`]; then nothing may act. A fatal one when the log may have events that this version cannot
    /// read.
    pub async fn begin(&self, life: LogLife) -> Result<(), CommandError> {
        let shared = &self.inner.shared;
        shared.membership.beat().await?;
        self.access().load().await?;
        let held = if life.held { self.hold(life.held_epoch).await? } else { None };
        let system = match held {
            Some(system) => Some(system),
            None => shared.control.system().await?,
        };
        if system.is_none_or(|system| system.frozen) {
            shared.forbid_changes();
        }
        let frozen_at = system.and_then(|system| system.frozen_at);
        // The log's time is not behind any event that it has; another machine's clock may be ahead of it.
        let now = self.clock().now();
        if let Some(at) = life.lost_at.max(frozen_at) {
            shared.note_log_cut(at.min(now));
        }
        Ok(())
    }

    /// Records the hold that the store has a mark of; the state of the system after it. A mark of an epoch in which a
    /// person lifted the hold is left over: the process died before it removed the mark. `None` = this version cannot read
    /// the system's stream.
    async fn hold(&self, epoch: Option<u32>) -> Result<Option<System>, CommandError> {
        let at = self.clock().now();
        let envelope = Envelope::system(ACTOR, Namespace::default());
        let freeze = |system: &System| {
            let recorded = epoch.map_or(system.frozen, |_| system.frozen_epoch == epoch);
            Ok(Vec::from_iter((!recorded).then_some(SystemEvent::Frozen { at, epoch })))
        };
        let control = &self.inner.shared.control;
        match control.change(&StreamId::system(), &envelope, freeze).await {
            // The mark stays until a person lifts the hold: an older version knows nothing else.
            Ok(StreamChange { state, .. }) if state.frozen => Ok(Some(state)),
            Ok(StreamChange { state, .. }) => {
                self.inner.restore_hold.clear().await?;
                Ok(Some(state))
            }
            // Nothing is recorded behind events that this version does not know.
            Err(CommandError::Query(QueryError::Unreadable(_))) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Allows changes of backends in every process, after a person checked the restored store. Records nothing when
    /// they are allowed already.
    ///
    /// # Errors
    /// [`QueryError::Store`]: repeat the request. Changes may be allowed until the next start, but not longer.
    pub async fn unfreeze(&self, envelope: &Envelope) -> Result<(), CommandError> {
        let (shared, at) = (&self.inner.shared, self.clock().now());
        let observe_only = self.is_observe_only();
        let unfreeze = |system: &System| {
            let held = system.frozen || observe_only;
            Ok::<_, CommandError>(Vec::from_iter(held.then_some(SystemEvent::Unfrozen { at })))
        };
        // Recorded first: otherwise allowed changes could not be distinguished from forbidden ones. The idempotency key
        // is taken by the record of the completed request.
        let unkeyed = Envelope { idempotency: None, ..envelope.clone() };
        shared.control.change(&StreamId::system(), &unkeyed, unfreeze).await?;
        self.inner.restore_hold.clear().await?;
        shared.allow_changes(&self.inner.backends).await;
        // Last: if the request is interrupted, its key is still free, and its repetition completes it.
        self.record_request(envelope).await
    }
}
