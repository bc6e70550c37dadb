//! A request's place among those that are worked on. A request that waits gives it up for one among those that wait, so
//! that waiting holds up nobody who could be served.

use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use tokio::sync::OwnedSemaphorePermit;

use crate::app_state::AppState;
use crate::fair_semaphore::{CallerId, FairPermit};
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
    /// Of a request that holds `place`.
    pub(crate) fn new(place: OwnedSemaphorePermit) -> Self {
        let place = Mutex::new(Some(place));
        Self(Arc::new(Inner { place, who: OnceLock::new() }))
    }

    /// The turn of `request`.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// Says who makes the request.
    pub(crate) fn set_caller(&self, who: CallerId) {
        // Who is authenticated twice is the same.
        let _ = self.0.who.set(who);
    }

    /// Who makes the request; `None` = that is not known yet.
    pub(crate) fn caller(&self) -> Option<CallerId> {
        self.0.who.get().copied()
    }

    /// Gives the place up for one among those that wait; `None` when too many wait, or too many of this caller: then
    /// nothing changes.
    pub(crate) fn move_to_waiting(&self, app: &AppState) -> Option<FairPermit> {
        let share = app.limits.waiting.take(self.caller()?, 1)?;
        self.release();
        Some(share)
    }

    /// Gives the place up.
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
