//! Maps the engine's errors to problems; no other code does.

use std::fmt::Display;

use actix_web::http::StatusCode;
use stateward_domain::entity::Refusal;
use stateward_domain::field_error::FieldError;
use stateward_domain::id::EntityId;
use stateward_domain::ports::store_error::StoreError;
use stateward_engine::{AdmissionError, CommandError, ControlError, QueryError};

use crate::problem::Problem;

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let detail = error.to_string();
        match error {
            QueryError::NotFound => Self::not_found(),
            QueryError::PositionGone { head } => {
                let detail = format!("{detail}; the log's head is {head}");
                Self::new(StatusCode::GONE, "position-gone", detail)
            }
            QueryError::BadPageToken => Self::malformed("bad-page-token", detail),
            QueryError::TooMany => Self::conflict("too-many", detail),
            QueryError::Unreadable(source) => {
                tracing::error!(%source, "an event cannot be read");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable-event", detail)
            }
            QueryError::Unavailable(_) => Self::unavailable(detail),
            // After `Fatal` too: this process ends, and the next one may answer.
            QueryError::Store(StoreError::Unavailable { .. } | StoreError::Fatal { .. }) => {
                Self::unavailable(detail)
            }
            QueryError::Store(error) => {
                // Not to the caller: the row may be of another namespace.
                tracing::error!(%error, "the store needs a person");
                let detail = "a stored value cannot be read; the log of the server names it";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store-damaged", detail)
            }
            other => unmapped(&other),
        }
    }
}

impl From<AdmissionError> for Problem {
    fn from(error: AdmissionError) -> Self {
        let detail = error.to_string();
        match error {
            AdmissionError::Invalid(faults) => with_faults("invalid", detail, &faults),
            AdmissionError::BadDocument(faults) => {
                let problem = Self::unprocessable("bad-document", detail);
                faults
                    .iter()
                    .fold(problem, |problem, fault| problem.at(&*fault.pointer, &fault.message))
            }
            AdmissionError::Immutable(faults) => with_faults("immutable", detail, &faults),
            AdmissionError::UnknownKind(_) => {
                Self::unprocessable("unknown-kind", detail).at("/kind", "is not known")
            }
            AdmissionError::UnknownBackend(_) => {
                Self::unprocessable("unknown-backend", detail).at("/backend", "is not known")
            }
            AdmissionError::AmbiguousBackend(names) => {
                let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                Self::unprocessable("ambiguous-backend", detail)
                    .at("/backend", format!("name one of: {}", names.join(", ")))
            }
            AdmissionError::UnknownAction { .. } => {
                Self::new(StatusCode::NOT_FOUND, "unknown-action", detail)
            }
            AdmissionError::Query(error) => error.into(),
            other => unmapped(&other),
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = error.to_string();
        match error {
            CommandError::Refused(refusal) => refused(&refusal),
            CommandError::NameTaken { holder } => {
                conflict_with_holder("name-taken", detail, holder)
            }
            // The holder may be in a namespace that the caller may not read: see `Caller::refusal`.
            CommandError::IdentityTaken { .. } => {
                conflict_with_holder("identity-taken", detail, None)
            }
            CommandError::KeyReused => Self::unprocessable("idempotency-key-reused", detail),
            CommandError::TooLarge(_) => Self::unprocessable("document-too-large", detail),
            CommandError::Contended => Self::unavailable(detail),
            CommandError::Admission(error) => error.into(),
            CommandError::Query(error) => error.into(),
            other => unmapped(&other),
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let detail = error.to_string();
        match error {
            ControlError::Exists => Self::conflict("exists", detail),
            ControlError::Configured => Self::conflict("configured", detail),
            ControlError::InUse { .. } | ControlError::BackendInUse { .. } => {
                Self::conflict("in-use", detail)
            }
            ControlError::BadConfiguration(_) => Self::conflict("bad-configuration", detail),
            ControlError::TooMany => Self::conflict("too-many", detail),
            ControlError::ShownOnce(_) => Self::conflict("shown-once", detail),
            ControlError::Command(error) => error.into(),
            other => unmapped(&other),
        }
    }
}

/// An error of a newer engine.
fn unmapped(error: &dyn Display) -> Problem {
    tracing::error!(%error, "no problem type for this error");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an internal error")
}

fn refused(refusal: &Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Nonexistent => Problem::not_found(),
        Refusal::RevisionMismatch { .. } => {
            Problem::new(StatusCode::PRECONDITION_FAILED, "revision-mismatch", detail)
        }
        Refusal::Deleted => Problem::conflict("deleted", detail),
        Refusal::DeletionPending => Problem::conflict("deletion-pending", detail),
        Refusal::Protected => Problem::conflict("protected", detail),
        Refusal::ObserveOnly => Problem::conflict("observe-only", detail),
        Refusal::NoSuchOperation => Problem::conflict("operation-ended", detail),
        Refusal::NothingToDecide => Problem::conflict("nothing-to-decide", detail),
        Refusal::NothingToRetry => Problem::conflict("nothing-to-retry", detail),
        Refusal::HasObject => Problem::conflict("has-object", detail),
        Refusal::TooManyOperations => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            Problem::new(status, "too-many-operations", detail).retry_after(5)
        }
        Refusal::Exists
        | Refusal::StaleAttempt
        | Refusal::StaleObservation
        | Refusal::Paused
        | Refusal::Erred
        | Refusal::TooManyAbandoned
        | Refusal::Irreplaceable(_)
        | Refusal::AdoptOnly
        | Refusal::Unfit(_) => Problem::conflict("refused", detail),
        other => {
            tracing::error!(refusal = %other, "no problem type for this refusal");
            Problem::conflict("refused", detail)
        }
    }
}

fn with_faults(name: &'static str, detail: String, faults: &[FieldError]) -> Problem {
    let problem = Problem::unprocessable(name, detail);
    faults.iter().fold(problem, |problem, fault| {
        problem.at(format!("/desired{}", fault.pointer), &fault.message)
    })
}

/// A conflict about something that only one entity can have. Pass `holder` only if the caller may see it.
pub(crate) fn conflict_with_holder(
    name: &'static str,
    detail: String,
    holder: Option<EntityId>,
) -> Problem {
    match holder {
        Some(holder) => Problem::conflict(name, format!("{detail} by entity {holder}")),
        None => Problem::conflict(name, detail),
    }
}
