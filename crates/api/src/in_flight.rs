//! The in-flight slot of a request. A request that waits exchanges it for a waiting slot, so that waiting requests do
//! not block others.

use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use tokio::sync::OwnedSemaphorePermit;

use crate::fair_semaphore::{CallerId, FairPermit, FairSemaphore};
use crate::problem::Problem;

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Inner>);

#[derive(Default)]
struct Inner {
    place: Mutex<Option<OwnedSemaphorePermit>>,
    who: OnceLock<CallerId>,
}

impl InFlight {
    /// For a request that holds the slot `place`.
    pub(crate) fn new(place: OwnedSemaphorePermit) -> Self {
        let place = Mutex::new(Some(place));
        Self(Arc::new(Inner { place, who: OnceLock::new() }))
    }

    /// The slot of `request`.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// Sets the authenticated caller.
    pub(crate) fn set_caller(&self, who: CallerId) {
        // A second authentication of the same request has the same result.
        let _ = self.0.who.set(who);
    }

    /// The authenticated caller; `None` before authentication.
    pub(crate) fn caller(&self) -> Option<CallerId> {
        self.0.who.get().copied()
    }

    /// Exchanges the slot for one of `waiting`; `None`, without any effect, if too many requests wait, in total or of this
    /// caller.
    pub(crate) fn move_to_waiting(&self, waiting: &FairSemaphore) -> Option<FairPermit> {
        let share = waiting.take(self.caller()?, 1)?;
        self.release();
        Some(share)
    }

    /// Releases the slot.
    pub(crate) fn release(&self) {
        *self.0.place.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl FromRequest for InFlight {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}
