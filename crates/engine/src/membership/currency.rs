//! Whether what is in force here is what the log says: a process that is cut off, or whose readers are held back, must not
//! let in what another one has shut out.

use std::time::Duration;

use stateward_domain::id::Position;
use stateward_domain::ports::event_store::EventStore;
use tokio::time::timeout;

use super::Membership;
use crate::backends::Backends;

/// A process that has not confirmed the log's head for as long refuses issued tokens.
pub const CURRENT_FOR: Duration = Duration::from_secs(5);
/// How long a change of access waits for the members: one that did not report by then is not current any more.
pub const IN_FORCE_MAX: Duration = Duration::from_secs(6);
/// Time between two confirmations.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(1);
/// Pause between two questions whether the members have seen a position.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

impl Membership {
    /// Whether every change of access that any process acknowledged more than [`CURRENT_FOR`] ago is in force here.
    #[must_use]
    pub fn is_current(&self) -> bool {
        if !self.is_shared() {
            return true;
        }
        let confirmed = *self.confirmed_at.borrow();
        confirmed.is_some_and(|at| self.clock.elapsed().saturating_sub(at) <= CURRENT_FOR)
    }

    /// Resolves once [`is_current`](Self::is_current) was true.
    pub async fn until_current(&self) {
        let mut confirmed = self.confirmed_at.subscribe();
        if self.is_shared() {
            // The sender lives as long as this does.
            let _ = confirmed.wait_for(Option::is_some).await;
        }
    }

    /// Confirms the head of the log again and again. Never returns.
    pub(crate) async fn confirm(&self, log: &dyn EventStore) {
        loop {
            let asked_at = self.clock.elapsed();
            if let Ok(Ok(head)) = timeout(CURRENT_FOR, log.head()).await {
                let mut seen = self.seen.subscribe();
                let reached = seen.wait_for(|seen| seen.includes(head));
                if timeout(CURRENT_FOR, reached).await.is_ok_and(|reached| reached.is_ok()) {
                    self.confirmed_at.send_replace(Some(asked_at));
                }
            }
            tokio::time::sleep(CONFIRM_INTERVAL).await;
        }
    }

    /// Waits until every live member has everything up to `position` in force; false when one did not report in
    /// [`IN_FORCE_MAX`]: it is not current any more, or it was killed.
    pub(crate) async fn seen_by_all(&self, position: Position, backends: &Backends) -> bool {
        let seen = async {
            loop {
                let members = self.beat(backends).await.unwrap_or_default();
                let others = members.iter().filter(|member| member.id != self.id);
                if !members.is_empty() && others.clone().all(|other| other.seen.includes(position))
                {
                    return;
                }
                tokio::time::sleep(ASK_INTERVAL).await;
            }
        };
        !self.is_shared() || timeout(IN_FORCE_MAX, seen).await.is_ok()
    }
}
