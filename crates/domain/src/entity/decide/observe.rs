//! Decisions on background observations. They never change the desired state.

use super::require_alive;
use crate::entity::aggregate::Entity;
use crate::entity::command::{ObservationReport, Refusal};
use crate::entity::event::EntityEvent;
use crate::entity::state::{Decision, DriftPolicy, ManagementPolicy, Observed, Presence};
use crate::time::Timestamp;

pub(super) fn observe(
    entity: &Entity,
    at: Timestamp,
    report: &ObservationReport,
) -> Result<Vec<EntityEvent>, Refusal> {
    require_alive(entity)?;
    if entity.running.is_some()
        || report.attempt != entity.attempt
        || report.generation != entity.generation
    {
        return Err(Refusal::StaleObservation);
    }
    let observed = report.observed.clone();
    Ok(match report.observed.presence {
        Presence::Absent if entity.lost.is_none() && was_there(entity) => {
            vec![EntityEvent::ObservedChanged { at, observed, lost: Some(report.on_lost) }]
        }
        // What a given-up creation may have left is gone.
        Presence::Absent if entity.trouble.erred && entity.may_exist() => {
            vec![EntityEvent::ObservedChanged { at, observed, lost: None }]
        }
        Presence::Absent | Presence::Unknown => Vec::new(),
        Presence::Present => {
            let mut events = present(entity, at, report, observed.clone());
            if refutes_error(entity, report) {
                // The end of the error records the observation too.
                events.retain(|event| !matches!(event, EntityEvent::ObservedChanged { .. }));
                events.push(EntityEvent::ErrorCleared { at, observed });
            }
            events
        }
    })
}

/// Records once that another entity names the same object, or that none does any more. Only the entity that manages
/// the object can hold it.
pub(super) fn contest(
    entity: &Entity,
    at: Timestamp,
    holds: Option<bool>,
) -> Result<Vec<EntityEvent>, Refusal> {
    require_alive(entity)?;
    let said = entity.contested.as_ref().map(|contested| contested.holds);
    let Some(holds) = holds else {
        let over = said == Some(true);
        return Ok(over.then_some(EntityEvent::ContestEnded { at }).into_iter().collect());
    };
    let named = if holds { entity.managed_object() } else { entity.observed.external_id.as_ref() };
    let named = named.filter(|_| said != Some(holds)).cloned();
    let contested = |external_id| EntityEvent::ObjectContested { at, external_id, holds };
    Ok(named.map(contested).into_iter().collect())
}

/// Whether there was an object to lose: one that was observed, or one that was applied and then lost track of.
fn was_there(entity: &Entity) -> bool {
    match entity.observed.presence {
        Presence::Present => true,
        Presence::Unknown => entity.applied.is_some() && !entity.replacing,
        Presence::Absent => false,
    }
}

/// Whether the observation ends the state `erred`: the object is as desired, or its given-up repair may succeed now. A
/// deletion that was given up is retried by users alone.
fn refutes_error(entity: &Entity, report: &ObservationReport) -> bool {
    entity.trouble.erred
        && entity.deletion.is_none()
        && (report.in_sync || may_be_repaired(entity, report))
}

/// Whether a repair was given up and the object changed since: what was in its way may be gone. A change that users
/// requested, a bug, and a person's decision to give up are not retried.
fn may_be_repaired(entity: &Entity, report: &ObservationReport) -> bool {
    let settings = &entity.manifest.settings;
    let (before, now) = (&entity.observed, &report.observed);
    let known = entity.drift.as_ref().map(|drift| &drift.diff);
    let changed = before.attributes != now.attributes
        || before.external_id != now.external_id
        || known.is_none_or(|known| *known != report.diff);
    settings.drift_policy == DriftPolicy::Correct
        && settings.management_policy == ManagementPolicy::Full
        && before.generation == entity.generation
        && !report.diff.is_empty()
        && !entity.is_dead_letter()
        && entity.trouble.ended_by.is_none()
        && entity.error.as_ref().is_none_or(|error| error.code != Decision::GIVEN_UP)
        && changed
}

fn present(
    entity: &Entity,
    at: Timestamp,
    report: &ObservationReport,
    observed: Observed,
) -> Vec<EntityEvent> {
    let policy = entity.manifest.settings.drift_policy;
    if !report.diff.is_empty() && policy != DriftPolicy::Ignore {
        let known = entity.drift.as_ref().is_some_and(|drift| drift.diff == report.diff);
        if known && entity.lost.is_none() {
            // Record it even with unchanged drift: other attributes may be referenced by dependents.
            let changed = differs(&entity.observed, &observed);
            return changed
                .then_some(EntityEvent::ObservedChanged { at, observed, lost: None })
                .into_iter()
                .collect();
        }
        return vec![EntityEvent::DriftDetected {
            at,
            policy,
            diff: report.diff.clone(),
            observed,
        }];
    }
    if entity.drift.is_some() || entity.lost.is_some() {
        return vec![EntityEvent::DriftCleared { at, observed }];
    }
    if differs(&entity.observed, &observed) {
        return vec![EntityEvent::ObservedChanged { at, observed, lost: None }];
    }
    Vec::new()
}

fn differs(before: &Observed, now: &Observed) -> bool {
    before.attributes != now.attributes
        || before.unready != now.unready
        || before.presence != now.presence
        || before.external_id != now.external_id
}
