//! Verifies the rows of `checkpoints` and `quarantine`. They decide which other rows are compared, so they are not
//! trusted.

use std::time::Duration;

use stateward_domain::audit::{Fault, FaultKind};
use stateward_domain::envelope::StreamId;
use stateward_domain::id::Position;
use stateward_domain::ports::event_store::ReadError;

use super::models::{ENTITIES, QUEUE, REBUILD, set_aside_fault};
use super::view_check::ViewCheck;
use super::{AuditSource, Identity, StoredCheckpoint};

/// Quarantine rows read at a time.
const PAGE: usize = 1_000;
/// Pause between two polls: a row may be ahead of its checkpoint while a stream is re-applied to its end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Polls at most.
const POLLS_MAX: u32 = 5;

/// Verifies checkpoints and quarantine.
///
/// # Errors
/// When the source does not answer.
pub(super) async fn check(
    source: &dyn AuditSource,
    views: &mut ViewCheck,
) -> Result<(), ReadError> {
    let Some(stored_checkpoints) = source.checkpoints().await? else {
        views.notes.push("there are no views to compare".to_owned());
        return Ok(());
    };
    let head = source.head().await?;
    for name in [ENTITIES, QUEUE] {
        if !stored_checkpoints.iter().any(|stored| stored.name == name) {
            views.faults.add(checkpoint(name, None, "it is missing"));
        }
    }
    for stored in &stored_checkpoints {
        if let Some((column, what)) = wrong(stored, source.identity(), head) {
            views.faults.add(checkpoint(&stored.name, Some(column), &what));
        }
    }
    let rebuilds = stored_checkpoints.iter().any(|stored| stored.name == REBUILD);
    let mut after = (String::new(), String::new());
    loop {
        let page = source.quarantine((&after.0, &after.1), PAGE).await?;
        let ends = page.len() < PAGE;
        for row in page {
            let ours = [ENTITIES, QUEUE].contains(&row.model.as_str())
                || (row.model == REBUILD && rebuilds);
            let entity = row.stream.parse::<StreamId>().is_ok_and(|stream| {
                stream.entity_id().is_some_and(|id| id.to_string() == stream.id)
            });
            let what = if !ours {
                Some("there is no such model")
            } else if !entity {
                Some("there is no such stream that the model reads")
            } else if !is_of(row.position, source.identity(), head) {
                Some("the log has no such position")
            } else {
                None
            };
            if let Some(what) = what {
                views.faults.add(set_aside_fault(&row.stream, what));
            }
            let place = (row.model, row.stream);
            if place <= after {
                return Ok(());
            }
            after = place;
        }
        if ends {
            return Ok(());
        }
    }
}

/// The fault of a checkpoint and its column; `None` = it is sound.
fn wrong(
    stored: &StoredCheckpoint,
    identity: Identity,
    head: Position,
) -> Option<(&'static str, String)> {
    if ![ENTITIES, REBUILD, QUEUE].contains(&stored.name.as_str()) {
        return Some(("name", "there is no such model".to_owned()));
    }
    if !is_of(stored.position, identity, head) {
        return Some(("position", format!("it is no position of this log, which ends at {head}")));
    }
    let tables = (stored.name == QUEUE) != (stored.tables != 0);
    if !(tables && stored.has_tables) {
        return Some(("tables", format!("{} is the number of no tables", stored.tables)));
    }
    None
}

/// Whether `position` is the start or an existing position of the log.
fn is_of(position: Option<Position>, identity: Identity, head: Position) -> bool {
    position.is_some_and(|at| {
        let real = !identity.dense || (at.major == 0 && at.minor > 0);
        at == Position::START || (at.epoch == identity.epoch && head.includes(at) && real)
    })
}

fn checkpoint(name: &str, column: Option<&str>, what: &str) -> Fault {
    let fault = Fault::new(FaultKind::View, format!("the checkpoint of {name}: {what}"));
    fault.in_table("checkpoints", name, column)
}

/// Waits until the models have caught up with the events that their rows already contained; reports those that do
/// not.
///
/// # Errors
/// When the source does not answer.
pub(super) async fn await_models(
    source: &dyn AuditSource,
    views: &mut ViewCheck,
) -> Result<(), ReadError> {
    for poll in 0..=POLLS_MAX {
        if views.ahead.is_empty() {
            return Ok(());
        }
        if poll > 0 {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let stored_checkpoints = source.checkpoints().await?.unwrap_or_default();
        views.ahead.retain(|model, knows| {
            let stored = stored_checkpoints.iter().find(|stored| stored.name == *model);
            stored.and_then(|stored| stored.position).is_none_or(|at| at < *knows)
        });
    }
    for (model, knows) in std::mem::take(&mut views.ahead) {
        let what = format!("its rows know the event at {knows}, which is behind it");
        views.faults.add(checkpoint(model, Some("position"), &what));
    }
    Ok(())
}
