//! Positions from clients. Only this module parses them, so that each is checked before its use.

use stateward_domain::id::Position;
use stateward_engine::QueryError;

use crate::app_state::AppState;
use crate::problem::Problem;
use crate::query_parser::Params;

/// Parses and checks a position; `malformed` makes the problem for a text that is none.
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
    app.engine.log().check(position).await.map_err(QueryError::from)?;
    Ok(position)
}

/// The query parameter `name`, parsed and checked by [`parse`]; `None` when it is not there.
///
/// # Errors
/// 400 for a text that is no position; as [`parse`].
pub(crate) async fn parameter(
    app: &AppState,
    params: &mut Params,
    name: &str,
) -> Result<Option<Position>, Problem> {
    let Some(text) = params.text(name)? else { return Ok(None) };
    let bad = || Problem::malformed("bad-parameter", format!("{name} is not valid"));
    parse(app, &text, bad).await.map(Some)
}
