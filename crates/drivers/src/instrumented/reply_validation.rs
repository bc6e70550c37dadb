//! Validation of replies: one that cannot be true becomes a failure, because a dead letter is better than a false
//! event.

use stateward_domain::failure::Failure;
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::{Listing, Object, ObjectRef, Observation, Outcome, Search};

use super::call_limits::Call;

/// Polling faster than this has no use.
const POLL_MS_MIN: u64 = 10;
/// A longer pause is taken for an error of the driver.
const POLL_MS_MAX: u64 = 3_600_000;

pub(super) fn identity(call: &Call, identity: String) -> Result<String, Failure> {
    refuse(call, identity.is_empty(), "the identity is empty")?;
    Ok(identity)
}

pub(super) fn observation(
    call: &Call,
    target: &ObjectRef,
    seen: Observation,
) -> Result<Observation, Failure> {
    if let Observation::Present(object) = &seen {
        refuse(call, object.external_id != target.external_id, "it shows another object")?;
    }
    Ok(seen)
}

pub(super) fn found(
    call: &Call,
    search: &Search,
    objects: Vec<Object>,
) -> Result<Vec<Object>, Failure> {
    for object in &objects {
        let foreign = object.owner_key.as_ref().is_some_and(|key| *key != search.owner_key);
        refuse(call, foreign, "it found an object with another owner key")?;
        refuse(call, object.external_id.as_str().is_empty(), "it found an object without id")?;
    }
    Ok(objects)
}

pub(super) fn page(call: &Call, asked: Option<&str>, page: Listing) -> Result<Listing, Failure> {
    let stuck = page.cursor.is_some() && page.cursor.as_deref() == asked;
    refuse(call, stuck, "the next page is the same page")?;
    Ok(page)
}

pub(super) fn created(call: &Call, outcome: Outcome) -> Result<Outcome, Failure> {
    if let Outcome::Done { external_id, .. } = &outcome {
        let named = external_id.as_ref().is_some_and(|id| !id.as_str().is_empty());
        refuse(call, !named, "it made something without naming it")?;
    }
    valid_outcome(call, outcome)
}

pub(super) fn changed(
    call: &Call,
    target: &ObjectRef,
    outcome: Outcome,
) -> Result<Outcome, Failure> {
    if let Outcome::Done { external_id: Some(id), .. } = &outcome {
        let other: &ExternalId = &target.external_id;
        refuse(call, id != other, "it changed another object")?;
    }
    valid_outcome(call, outcome)
}

pub(super) fn valid_outcome(call: &Call, outcome: Outcome) -> Result<Outcome, Failure> {
    match outcome {
        Outcome::Pending { handle, poll_after_ms } => {
            refuse(call, handle.is_null(), "work goes on, but there is no handle")?;
            let poll_after_ms = poll_after_ms.clamp(POLL_MS_MIN, POLL_MS_MAX);
            Ok(Outcome::Pending { handle, poll_after_ms })
        }
        done @ Outcome::Done { .. } => Ok(done),
    }
}

fn refuse(call: &Call, nonsense: bool, message: &str) -> Result<(), Failure> {
    if nonsense { Err(call.bug("nonsense_reply", message)) } else { Ok(()) }
}
