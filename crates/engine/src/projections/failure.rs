//! Errors of the log, the queue and of folds, as a projection fails by them.

use stateward_domain::envelope::Recorded;
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::ports::sync_queue::QueueError;

use crate::error::QueryError;

/// `None` for a stream that cannot be folded: its own events quarantine it.
pub(super) fn if_readable<T>(fold: Result<T, QueryError>) -> Result<Option<T>, ModelError> {
    match fold {
        Ok(fold) => Ok(Some(fold)),
        Err(QueryError::Unreadable(_)) => Ok(None),
        Err(error) => Err(unavailable(error)),
    }
}

pub(super) fn unavailable(error: QueryError) -> ModelError {
    match error {
        QueryError::Store(error) => error.into(),
        other => StoreError::unavailable(other).into(),
    }
}

pub(super) fn poisoned(recorded: &Recorded, error: QueryError) -> ModelError {
    match error {
        QueryError::Unreadable(source) => {
            let stream = recorded.stream.to_string();
            ModelError::Poisoned { stream, message: source.to_string(), unknown: source.unknown() }
        }
        other => unavailable(other),
    }
}

pub(super) fn queue_error(error: QueueError) -> ModelError {
    match error {
        QueueError::CheckpointMoved { actual } => ModelError::CheckpointMoved { actual },
        QueueError::Store(error) => error.into(),
        other => StoreError::unavailable(other).into(),
    }
}

pub(super) fn unreadable(error: ReadError) -> ModelError {
    match error {
        ReadError::Store(error) => error.into(),
        other => StoreError::unavailable(other).into(),
    }
}
