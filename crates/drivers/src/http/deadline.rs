//! Requests end before their call does.

use std::time::Duration;

use stateward_domain::ports::driver::CallContext;

use super::error::ApiError;
use crate::instrumented::deadline_reached;

/// A request ends this much before its call, so that its result can still be reported.
const MARGIN: Duration = Duration::from_millis(250);

/// The result of `exchange`; `None` if the deadline of the call comes first.
///
/// # Errors
/// `NotSent` if the deadline has passed already.
pub(crate) async fn before_deadline<T>(
    context: &CallContext,
    exchange: impl Future<Output = T>,
) -> Result<Option<T>, ApiError> {
    if context.control.remaining() <= MARGIN {
        return Err(ApiError::not_sent());
    }
    tokio::select! {
        biased;
        done = exchange => Ok(Some(done)),
        () = deadline_reached(context, MARGIN) => Ok(None),
    }
}
