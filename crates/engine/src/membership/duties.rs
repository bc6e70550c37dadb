//! The duties that this process has.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stateward_domain::ports::cluster::Duty;
use stateward_domain::ports::store_error::StoreError;

use super::Membership;

/// How long a duty is taken for. One that its holder does not renew passes to another member.
const LASTS: Duration = Duration::from_secs(10);
/// Age at which a duty is renewed.
const RENEWED_AFTER: Duration = Duration::from_secs(3);
/// How long a member leaves a duty to the others that it gave up.
const GIVEN_UP_FOR: Duration = Duration::from_secs(30);

/// What is known about one duty, by the steady clock.
#[derive(Clone, Copy)]
enum Known {
    /// Taken at this time.
    Held(Duration),
    /// Not taken again before this time.
    GivenUp(Duration),
}

/// The duties that this process took or gave up.
#[derive(Default)]
pub(super) struct HeldDuties(Mutex<BTreeMap<Duty, Known>>);

impl HeldDuties {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Duty, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget_all(&self) {
        self.all().clear();
    }
}

impl Membership {
    /// Whether this process has the duty; takes it when no member has it. Asks the cluster once in [`RENEWED_AFTER`] for
    /// a duty that is held, else at each call. A store that does not answer leaves a duty with its holder until it ends.
    pub(crate) async fn holds(&self, duty: &Duty) -> bool {
        if !self.is_shared() {
            return true;
        }
        let now = self.clock.elapsed();
        let known = self.duties.all().get(duty).copied();
        match known {
            Some(Known::Held(since)) if now.saturating_sub(since) < RENEWED_AFTER => return true,
            Some(Known::GivenUp(until)) if now < until => return false,
            _ => {}
        }
        let held = self.cluster.hold(self.id, duty, LASTS).await;
        match held {
            Ok(true) => {
                self.duties.all().insert(duty.clone(), Known::Held(now));
                true
            }
            Ok(false) => {
                self.duties.all().remove(duty);
                false
            }
            Err(error) => {
                tracing::debug!(%error, ?duty, "the duty was not renewed");
                matches!(known, Some(Known::Held(since)) if now.saturating_sub(since) < LASTS)
            }
        }
    }

    /// Takes or renews the duty; false when another member has it. Unlike [`holds`](Self::holds) it asks at each call, so a
    /// store that does not answer is an error.
    ///
    /// # Errors
    /// [`StoreError`]: the duty may have been taken.
    pub(crate) async fn take(&self, duty: &Duty) -> Result<bool, StoreError> {
        if self.is_shared() { self.cluster.hold(self.id, duty, LASTS).await } else { Ok(true) }
    }

    /// Gives a duty back that was [taken](Self::take), so that another member has it at once. One that cannot be given back
    /// ends by itself. Idempotent.
    pub(crate) async fn give_back(&self, duty: &Duty) {
        self.duties.all().remove(duty);
        if self.is_shared()
            && let Err(error) = self.cluster.give_back(self.id, duty).await
        {
            tracing::debug!(%error, ?duty, "the duty ends by itself");
        }
    }

    /// Renews the duties that no task renews by its work.
    pub(super) async fn renew_standing(&self) {
        let standing: Vec<Duty> = {
            let all = self.duties.all();
            let held = all.iter().filter(|(_, known)| matches!(known, Known::Held(_)));
            held.map(|(duty, _)| duty.clone())
                .filter(|duty| !matches!(duty, Duty::Project(_) | Duty::Rebuild(_)))
                .collect()
        };
        for duty in standing {
            self.holds(&duty).await;
        }
    }

    /// Leaves the duty to the other members for a while: it passes to one of them once it ends. A duty that this process
    /// does not have stays as it is.
    pub(crate) fn give_up(&self, duty: &Duty) {
        if !self.is_shared() {
            return;
        }
        let until = self.clock.elapsed() + GIVEN_UP_FOR;
        if let Some(known @ Known::Held(_)) = self.duties.all().get_mut(duty) {
            *known = Known::GivenUp(until);
        }
    }
}
