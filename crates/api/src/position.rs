//! Positions that clients send back: the only place that parses them, so none is used before it was checked.

use stateward_domain::id::Position;
use stateward_engine::Error;

use crate::app_state::AppState;
use crate::problem::Problem;

/// The position that `text` is, if this log can have handed it out; `malformed` = what to answer when it is none.
///
/// # Errors
/// 410 `position-gone` for a position of another epoch (the log was restored, or is another one) or ahead of the head:
/// waiting for it would never end, and reading on from it would skip events.
pub(crate) async fn parse(
    app: &AppState,
    text: &str,
    malformed: impl FnOnce() -> Problem,
) -> Result<Position, Problem> {
    let position = text.parse().map_err(|_| malformed())?;
    app.engine.log().check(position).await.map_err(Error::from)?;
    Ok(position)
}
