//! Decisions on requests of users.

use serde_json::Value;

use super::require_alive;
use crate::entity::aggregate::Entity;
use crate::entity::command::Refusal;
use crate::entity::event::EntityEvent;
use crate::entity::state::{
    BlockedOn, Decision, DeletionPolicy, ManagementPolicy, Manifest, OpenOperation, OperationKind,
    Presence, SettingsPatch, State,
};
use crate::id::{ActionName, EntityId, ExternalId, OperationId, Revision};
use crate::time::Timestamp;

type Decided = Result<Vec<EntityEvent>, Refusal>;

pub(super) fn create(
    entity: &Entity,
    at: Timestamp,
    operation_id: OperationId,
    entity_id: EntityId,
    schema_version: u32,
    manifest: &Manifest,
    identity: Option<&String>,
) -> Decided {
    if entity.exists() {
        return Err(Refusal::Exists);
    }
    let identity = identity.cloned();
    let manifest = Box::new(manifest.clone());
    Ok(vec![EntityEvent::CreateRequested {
        at,
        operation_id,
        entity_id,
        schema_version,
        manifest,
        identity,
    }])
}

/// Arguments of [`Intent::Update`](crate::entity::command::Intent::Update).
pub(super) struct Update<'a> {
    pub(super) operation_id: OperationId,
    pub(super) if_revision: Option<&'a [Revision]>,
    pub(super) schema_version: u32,
    pub(super) desired: Option<&'a Value>,
    pub(super) settings: &'a SettingsPatch,
    pub(super) replace: bool,
}

pub(super) fn update(entity: &Entity, at: Timestamp, update: &Update<'_>) -> Decided {
    require_alive(entity)?;
    check_revision(entity, update.if_revision)?;
    let Update { operation_id, schema_version, desired, settings, replace, .. } = *update;
    // Lifting the protection stays possible during a deletion, so that a user can then release the entity.
    let lift = SettingsPatch { protected: Some(false), ..SettingsPatch::default() };
    let lifts = desired.is_none() && *settings == lift;
    if entity.deletion.is_some() && !entity.trouble.erred && !lifts {
        return Err(Refusal::DeletionPending);
    }
    let mut events = Vec::new();
    let current = &entity.manifest.settings;
    if current.patched(settings) != *current {
        events.push(EntityEvent::SettingsChanged { at, settings: settings.clone() });
    }
    // The same desired state counts as a new request when it adds the permission that the failed one lacked.
    let permits = replace && !entity.replace_once && entity.wants_replacement();
    if let Some(desired) = desired.filter(|desired| permits || **desired != entity.manifest.desired)
    {
        let desired = desired.clone();
        events.push(EntityEvent::UpdateRequested {
            at,
            operation_id,
            schema_version,
            desired,
            replace,
        });
        events.extend(superseded(entity, at, operation_id, |open| open.kind.is_change()));
    }
    Ok(events)
}

pub(super) fn delete(
    entity: &Entity,
    at: Timestamp,
    operation_id: OperationId,
    if_revision: Option<&[Revision]>,
    policy: Option<DeletionPolicy>,
    may_exist: bool,
) -> Decided {
    require_alive(entity)?;
    check_revision(entity, if_revision)?;
    let settings = &entity.manifest.settings;
    if settings.protected {
        return Err(Refusal::Protected);
    }
    let policy = policy.unwrap_or(settings.deletion_policy);
    let never_intended = entity.incarnation.0 == 0 && !entity.may_exist();
    if policy == DeletionPolicy::Delete {
        if settings.management_policy == ManagementPolicy::ObserveOnly && !never_intended {
            return Err(Refusal::ObserveOnly);
        }
        let pending = entity.operations.iter().any(|open| open.kind == OperationKind::Delete);
        if pending && !entity.trouble.erred {
            return Ok(Vec::new());
        }
    }
    let running = entity.running.as_ref();
    let served = |open: &OpenOperation| {
        let serves = running.is_some_and(|running| running.operations.contains(&open.id));
        serves && matches!(open.kind, OperationKind::Action(_)) && policy == DeletionPolicy::Delete
    };
    let mut events = vec![EntityEvent::DeleteRequested { at, operation_id, policy }];
    events.extend(superseded(entity, at, operation_id, |open| open.kind == OperationKind::Delete));
    let waiting =
        entity.operations.iter().filter(|open| open.kind != OperationKind::Delete && !served(open));
    events
        .extend(waiting.map(|open| EntityEvent::OperationCancelled { at, operation_id: open.id }));
    let operations = vec![operation_id];
    if never_intended && !may_exist && entity.running.is_none() {
        events.push(EntityEvent::Deleted { at, operations });
    } else if policy == DeletionPolicy::Orphan {
        events.push(EntityEvent::Released { at, operations });
    }
    Ok(events)
}

pub(super) fn act(
    entity: &Entity,
    at: Timestamp,
    operation_id: OperationId,
    action: &ActionName,
    input: &Value,
) -> Decided {
    require_not_deleting(entity)?;
    if entity.manifest.settings.management_policy == ManagementPolicy::ObserveOnly {
        return Err(Refusal::ObserveOnly);
    }
    if entity.operations.len() >= Entity::MAX_OPEN {
        return Err(Refusal::TooManyOperations);
    }
    Ok(vec![EntityEvent::ActionRequested {
        at,
        operation_id,
        action: action.clone(),
        input: input.clone(),
    }])
}

pub(super) fn refresh(entity: &Entity, at: Timestamp, operation_id: OperationId) -> Decided {
    require_not_deleting(entity)?;
    let mut events = vec![EntityEvent::RefreshRequested { at, operation_id }];
    events.extend(superseded(entity, at, operation_id, |open| open.kind == OperationKind::Refresh));
    Ok(events)
}

pub(super) fn retry(entity: &Entity, at: Timestamp, operation_id: OperationId) -> Decided {
    require_alive(entity)?;
    let trouble =
        entity.trouble.erred || entity.trouble.retry_at.is_some() || entity.blocked.is_some();
    if !trouble || entity.running.is_some() {
        return Err(Refusal::NothingToRetry);
    }
    let mut events = vec![EntityEvent::RetryRequested { at, operation_id }];
    events.extend(superseded(entity, at, operation_id, |open| open.kind == OperationKind::Retry));
    Ok(events)
}

pub(super) fn cancel(entity: &Entity, at: Timestamp, operation_id: OperationId) -> Decided {
    require_alive(entity)?;
    let Some(open) = entity.operation(operation_id) else {
        return Err(Refusal::NoSuchOperation);
    };
    let mut events = vec![EntityEvent::CancelRequested { at, operation_id }];
    if entity.running.as_ref().is_some_and(|running| running.operations.contains(&operation_id)) {
        return Ok(events);
    }
    events.push(EntityEvent::OperationCancelled { at, operation_id });
    let never_intended =
        entity.incarnation.0 == 0 && !entity.may_exist() && entity.running.is_none();
    if open.kind.is_change() && entity.applied.is_none() && entity.deletion.is_none() {
        let rest = entity.operations.iter().filter(|other| other.id != operation_id);
        let rest = rest.map(|other| EntityEvent::OperationCancelled { at, operation_id: other.id });
        if never_intended {
            events.extend(rest);
            events.push(EntityEvent::Deleted { at, operations: Vec::new() });
        } else if entity.manifest.settings.deletion_policy == DeletionPolicy::Orphan
            || entity.manifest.settings.management_policy == ManagementPolicy::ObserveOnly
        {
            events.extend(rest);
            events.push(EntityEvent::Released { at, operations: Vec::new() });
        }
    }
    Ok(events)
}

pub(super) fn adopt(
    entity: &Entity,
    at: Timestamp,
    operation_id: OperationId,
    external_id: &ExternalId,
) -> Decided {
    require_not_deleting(entity)?;
    if entity.running.is_some() {
        return Err(Refusal::HasObject);
    }
    let known = entity.observed.external_id.as_ref();
    if entity.observed.presence == Presence::Present && known != Some(external_id) {
        return Err(Refusal::HasObject);
    }
    let mut events =
        vec![EntityEvent::AdoptRequested { at, operation_id, external_id: external_id.clone() }];
    events.extend(superseded(entity, at, operation_id, |open| open.kind.is_change()));
    Ok(events)
}

pub(super) fn decision(
    entity: &Entity,
    at: Timestamp,
    operation_id: OperationId,
    decision: &Decision,
) -> Decided {
    require_alive(entity)?;
    let asked = entity.blocked.as_ref().is_some_and(|blocked| blocked.on == BlockedOn::Decision)
        || entity.lost.is_some();
    if !asked || entity.running.is_some() {
        return Err(Refusal::NothingToDecide);
    }
    let mut failed = Vec::new();
    if *decision == Decision::GiveUp {
        failed.extend(entity.operations.iter().filter(|open| !is_action(open)).map(|open| open.id));
    }
    Ok(vec![EntityEvent::DecisionTaken { at, operation_id, decision: decision.clone(), failed }])
}

pub(super) fn pause(entity: &Entity, at: Timestamp, pause: bool) -> Decided {
    require_alive(entity)?;
    Ok(match (entity.paused, pause) {
        (None, true) => vec![EntityEvent::Paused { at }],
        (Some(_), false) => vec![EntityEvent::Resumed { at }],
        _ => Vec::new(),
    })
}

fn require_not_deleting(entity: &Entity) -> Result<(), Refusal> {
    require_alive(entity)?;
    let deleting = entity.deletion.is_some() || matches!(entity.state, State::Deleting);
    if deleting { Err(Refusal::DeletionPending) } else { Ok(()) }
}

fn check_revision(entity: &Entity, wanted: Option<&[Revision]>) -> Result<(), Refusal> {
    match wanted {
        Some(revisions) if !revisions.contains(&entity.revision) => {
            Err(Refusal::RevisionMismatch { actual: entity.revision })
        }
        _ => Ok(()),
    }
}

pub(super) fn is_action(open: &OpenOperation) -> bool {
    matches!(open.kind, OperationKind::Action(_))
}

fn superseded(
    entity: &Entity,
    at: Timestamp,
    by: OperationId,
    which: impl Fn(&OpenOperation) -> bool,
) -> Vec<EntityEvent> {
    let older = entity.operations.iter().filter(|open| which(open));
    older.map(|open| EntityEvent::OperationSuperseded { at, operation_id: open.id, by }).collect()
}
