//! Whether this process knows who may come in: one that is cut off must not let in what another one has shut out.

use std::time::Duration;

use stateward_domain::id::Position;
use tokio::time::timeout;

use super::Membership;
use crate::access::AccessControl;

/// A process that has not read the access stream to its end for as long refuses issued tokens.
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

    /// Brings what `access` says up to date again and again, whatever holds the log's readers back. Never returns.
    pub(crate) async fn confirm(&self, access: &AccessControl) {
        loop {
            let asked_at = self.clock.elapsed();
            match timeout(CURRENT_FOR, access.catch_up()).await {
                Ok(Ok(())) => {
                    self.confirmed_at.send_replace(Some(asked_at));
                }
                Ok(Err(error)) => tracing::warn!(%error, "what other nodes let in is not known"),
                Err(_) => tracing::warn!("what other nodes let in is not known: no answer"),
            }
            tokio::time::sleep(CONFIRM_INTERVAL).await;
        }
    }

    /// Waits until every live member has everything up to `position` in force; false when one did not report in
    /// [`IN_FORCE_MAX`]: it is not current any more, or it was killed.
    pub(crate) async fn seen_by_all(&self, position: Position) -> bool {
        let seen = async {
            loop {
                let members = self.beat().await.unwrap_or_default();
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
