//! A semaphore with a limit for all callers together and one for each: slots for waiting requests, bytes of memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use stateward_domain::id::TokenId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A caller: its token; `None` = the first administrator's.
pub(crate) type CallerId = Option<TokenId>;

/// Callers that are kept before those without permits are dropped.
const CALLERS_KEPT: usize = 1_024;
/// Bytes per unit.
const UNIT: usize = 1_024;

/// Units for all callers, and the number that one caller may hold.
pub(crate) struct FairSemaphore {
    all: Arc<Semaphore>,
    each: usize,
    callers: Mutex<HashMap<CallerId, Weak<Semaphore>>>,
}

/// The units that a caller holds; released when dropped.
pub(crate) struct FairPermit {
    of_all: OwnedSemaphorePermit,
    of_caller: OwnedSemaphorePermit,
}

impl FairPermit {
    /// Releases all but `units`.
    pub(crate) fn keep(&mut self, units: u32) {
        for permit in [&mut self.of_all, &mut self.of_caller] {
            let held = permit.num_permits();
            drop(permit.split(held.saturating_sub(usize::try_from(units).unwrap_or(held))));
        }
    }
}

/// `bytes` in units, rounded up.
pub(crate) fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl FairSemaphore {
    /// `all` units, of which one caller may hold `each`.
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, callers: Mutex::default() }
    }

    /// The same with numbers of bytes, converted to units.
    pub(crate) fn of_bytes(all: usize, each: usize) -> Self {
        Self::new(all / UNIT, each / UNIT)
    }

    /// Takes units for `who`; `None` if not as many are free for this caller, or for all.
    pub(crate) fn take(&self, who: CallerId, units: u32) -> Option<FairPermit> {
        let of_caller = self.of(who).try_acquire_many_owned(units).ok()?;
        let of_all = Arc::clone(&self.all).try_acquire_many_owned(units).ok()?;
        Some(FairPermit { of_all, of_caller })
    }

    /// As [`take`](Self::take), but waits in a fair queue. `None` if one caller may not hold as many.
    pub(crate) async fn wait(&self, who: CallerId, units: u32) -> Option<FairPermit> {
        if usize::try_from(units).is_ok_and(|units| units > self.each) {
            return None;
        }
        let of_caller = self.of(who).acquire_many_owned(units).await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_many_owned(units).await.ok()?;
        Some(FairPermit { of_all, of_caller })
    }

    /// Adds units to a permit; false, without any effect, if not as many are free.
    pub(crate) fn grow(&self, share: &mut FairPermit, units: u32) -> bool {
        let caller = Arc::clone(share.of_caller.semaphore());
        let Ok(of_caller) = caller.try_acquire_many_owned(units) else { return false };
        let Ok(of_all) = Arc::clone(&self.all).try_acquire_many_owned(units) else { return false };
        share.of_caller.merge(of_caller);
        share.of_all.merge(of_all);
        true
    }

    fn of(&self, who: CallerId) -> Arc<Semaphore> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= CALLERS_KEPT {
            callers.retain(|_, known| known.strong_count() > 0);
        }
        // A caller's semaphore lives as long as one of its permits.
        if let Some(known) = callers.get(&who).and_then(Weak::upgrade) {
            return known;
        }
        let fresh = Arc::new(Semaphore::new(self.each));
        callers.insert(who, Arc::downgrade(&fresh));
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(digit: &str) -> TokenId {
        digit.repeat(32).parse().expect("an id")
    }

    #[test]
    fn one_caller_leaves_room_for_others_and_all_together_are_bounded() {
        let shares = FairSemaphore::new(10, 6);
        let (a, b) = (Some(token("1")), Some(token("2")));
        let mut held = shares.take(a, 4).expect("there is room");
        assert!(shares.take(a, 3).is_none(), "more than one caller may hold");
        assert!(shares.grow(&mut held, 2));
        assert!(!shares.grow(&mut held, 1));
        let other = shares.take(b, 4).expect("the rest");
        assert!(shares.take(b, 1).is_none() && shares.take(None, 1).is_none());
        drop(held);
        let mut more = shares.take(a, 6).expect("all that one may hold");
        more.keep(1);
        assert!(shares.take(a, 5).is_some());
        drop(more);
        drop(other);
        assert_eq!(shares.all.available_permits(), 10, "what was refused holds nothing");
    }

    #[tokio::test]
    async fn who_waits_gets_it_and_who_asks_for_too_much_never_does() {
        let shares = FairSemaphore::new(2, 1);
        let held = shares.take(None, 1).expect("there is room");
        assert!(shares.wait(None, 2).await.is_none());
        let (waited, ()) = tokio::join!(shares.wait(None, 1), async { drop(held) });
        assert!(waited.is_some());
    }
}
