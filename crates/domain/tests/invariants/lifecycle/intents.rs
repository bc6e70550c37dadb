//! Turns moves into intents, as users and the engine would send them.

use serde_json::json;
use stateward_domain::entity::Entity;
use stateward_domain::entity::command::{Completion, FailureReport, Intent, ObservationReport};
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{
    AttemptStep, BlockedOn, Decision, DeletionPolicy, Difference, DriftPolicy, ManagementPolicy,
    Manifest, Observed, OperationKind, Presence, SettingsPatch,
};
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::id::{
    ActionName, Attempt, EntityId, EntityName, ExternalId, Generation, KindName, OperationId,
};
use stateward_domain::kind::OnLost;
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use super::Lifecycle;
use crate::moves::{AttemptOf, FollowUp, Move, ObjectAfter};

impl Lifecycle {
    pub(super) fn intent(&self, one: &Move, number: u128) -> Option<Intent> {
        let operation_id = OperationId(Uuid::from_u128(number));
        let entity = &self.entity;
        Some(match one {
            Move::Create { adopts, identity } => Intent::Create {
                operation_id,
                entity_id: EntityId(Uuid::from_u128(1)),
                schema_version: 1,
                manifest: Box::new(Manifest {
                    kind: KindName::from("fake.thing"),
                    name: EntityName::from("it"),
                    desired: json!({"size": 0}),
                    external_id: adopts.then(|| external(0)),
                    ..Manifest::default()
                }),
                identity: identity.then(|| "path".to_owned()),
            },
            Move::Update(size) => update(operation_id, Some(json!({"size": size})), None),
            Move::Protect(protected) => {
                let protected = Some(*protected);
                let patch = SettingsPatch { protected, ..SettingsPatch::default() };
                update(operation_id, None, Some(patch))
            }
            Move::ObserveOnly(only) => {
                let policy =
                    if *only { ManagementPolicy::ObserveOnly } else { ManagementPolicy::Full };
                let management_policy = Some(policy);
                update(
                    operation_id,
                    None,
                    Some(SettingsPatch { management_policy, ..SettingsPatch::default() }),
                )
            }
            Move::Drift(policy) => {
                let policies = [DriftPolicy::Correct, DriftPolicy::Report, DriftPolicy::Ignore];
                let drift_policy = Some(policies[usize::from(*policy)]);
                update(
                    operation_id,
                    None,
                    Some(SettingsPatch { drift_policy, ..SettingsPatch::default() }),
                )
            }
            Move::Delete { orphan } => {
                let policy = if *orphan { DeletionPolicy::Orphan } else { DeletionPolicy::Delete };
                let (policy, if_revision) = (Some(policy), None);
                Intent::Delete { operation_id, if_revision, policy, may_exist: false }
            }
            Move::Act => {
                Intent::Act { operation_id, action: ActionName::from("poke"), input: json!({}) }
            }
            Move::Contest { holds } => Intent::Contest { holds: *holds },
            Move::Refresh => Intent::Refresh { operation_id },
            Move::Retry => Intent::Retry { operation_id },
            Move::Cancel(_) if entity.operations.is_empty() => return None,
            Move::Cancel(index) => {
                Intent::Cancel { operation_id: index.get(&entity.operations).id }
            }
            Move::Adopt(name) => Intent::Adopt { operation_id, external_id: external(*name) },
            Move::Decide(which) => {
                let decision = match which {
                    0 => Decision::Adopt(external(0)),
                    1 => Decision::Create,
                    _ => Decision::GiveUp,
                };
                Intent::Decide { operation_id, decision }
            }
            Move::Pause(true) => Intent::Pause,
            Move::Pause(false) => Intent::Resume,
            other => return self.work(other),
        })
    }

    /// Reports of process managers and background observations.
    fn work(&self, one: &Move) -> Option<Intent> {
        let entity = &self.entity;
        Some(match one {
            Move::Start { step, takes_over } => self.start(*step, *takes_over),
            Move::RecordId { of, name } => Intent::RecordExternalId {
                attempt: self.attempt(*of)?,
                incarnation: entity.incarnation,
                external_id: external(*name),
            },
            Move::Progress(of) => Intent::Progress {
                attempt: self.attempt(*of)?,
                handle: json!({"job": 1}),
                poll_at: Timestamp(5),
            },
            Move::Complete { of, left, differs } => self.complete(*of, *left, *differs)?,
            Move::CompleteLook { takes_over, left, differs } => {
                self.complete_look(*takes_over, *left, *differs)
            }
            Move::Fail { of, then, harmless } => self.fail(*of, *then, *harmless),
            Move::Observe { left, differs, on_lost, late } => Intent::Observe(ObservationReport {
                generation: if *late { Generation(0) } else { entity.generation },
                attempt: entity.attempt,
                observed: if in_sync(*left, *differs, *on_lost) {
                    self.observed(*left, entity.generation)
                } else {
                    self.observed(*left, entity.observed.generation)
                },
                diff: diff(*differs && matches!(left, ObjectAfter::Present)),
                in_sync: in_sync(*left, *differs, *on_lost),
                on_lost: [OnLost::Ask, OnLost::Recreate, OnLost::Report][usize::from(*on_lost)],
            }),
            _ => return None,
        })
    }

    fn attempt(&self, of: AttemptOf) -> Option<Attempt> {
        match of {
            AttemptOf::Own => self.entity.running.as_ref().map(|_| self.entity.attempt),
            AttemptOf::Stale => Some(Attempt(self.entity.attempt.0.saturating_sub(1))),
        }
    }

    fn start(&self, step: u8, takes_over: bool) -> Intent {
        let entity = &self.entity;
        let fields = vec!["/size".to_owned()];
        let step = match step {
            0 | 1 => AttemptStep::Create,
            2 => AttemptStep::Update { fields },
            3 => AttemptStep::Replace { fields },
            4 => AttemptStep::Delete,
            5 => match entity.next_action() {
                Some(open) => AttemptStep::Action { operation_id: open.id },
                None => AttemptStep::Update { fields },
            },
            _ => match entity.strays.first_key_value() {
                Some((external_id, _)) => AttemptStep::CleanUp { external_id: external_id.clone() },
                None => AttemptStep::Delete,
            },
        };
        let was_present = !matches!(step, AttemptStep::Create | AttemptStep::CleanUp { .. });
        let operations = match &step {
            AttemptStep::Action { operation_id } => vec![*operation_id],
            AttemptStep::CleanUp { .. } => Vec::new(),
            _ => asked_for(entity),
        };
        Intent::Start {
            takes_over: takes_over.then_some(entity.attempt),
            generation: entity.generation,
            was_present,
            found: was_present.then(|| external(0)),
            operations,
            step,
        }
    }

    /// As the engine does: presence fits the step, the generation is the attempt's.
    fn complete(&self, of: AttemptOf, left: ObjectAfter, differs: bool) -> Option<Intent> {
        let running = self.entity.running.as_ref()?;
        let goes = matches!(
            running.step,
            AttemptStep::Delete | AttemptStep::Replace { .. } | AttemptStep::CleanUp { .. }
        );
        let left = if goes { left } else { ObjectAfter::Present };
        let only_observes = running.step.only_observes();
        let matched =
            if only_observes { self.entity.observed.generation } else { running.generation };
        Some(Intent::Complete(Completion {
            attempt: self.attempt(of),
            takes_over: None,
            generation: running.generation,
            step: running.step.clone(),
            observed: self.observed(left, matched),
            diff: diff(differs && only_observes && matches!(left, ObjectAfter::Present)),
            operations: running.operations.clone(),
        }))
    }

    fn complete_look(&self, takes_over: bool, left: ObjectAfter, differs: bool) -> Intent {
        let entity = &self.entity;
        let left = if matches!(left, ObjectAfter::Unknown) { ObjectAfter::Present } else { left };
        let differs = differs && matches!(left, ObjectAfter::Present);
        let matched = if differs { entity.observed.generation } else { entity.generation };
        Intent::Complete(Completion {
            attempt: None,
            takes_over: takes_over.then_some(entity.attempt),
            generation: entity.generation,
            step: AttemptStep::None,
            observed: self.observed(left, matched),
            diff: diff(differs),
            operations: asked_for(entity),
        })
    }

    fn fail(&self, of: AttemptOf, then: FollowUp, harmless: bool) -> Intent {
        let class = match then {
            FollowUp::Retry => ErrorClass::Transient,
            FollowUp::Erred => ErrorClass::Invalid,
            FollowUp::Asks => ErrorClass::AlreadyExists { external_id: external(1) },
            FollowUp::WaitsSlowly => ErrorClass::QuotaExceeded,
        };
        let next = match then {
            FollowUp::Retry => Next::Retry { at: Timestamp(9) },
            FollowUp::Erred => Next::Erred,
            FollowUp::Asks => Next::Blocked { on: BlockedOn::Decision, check_at: Timestamp::NEVER },
            FollowUp::WaitsSlowly => Next::Blocked { on: BlockedOn::Quota, check_at: Timestamp(9) },
        };
        let effect = if harmless { Effect::None } else { Effect::Maybe };
        let step = self.entity.running.as_ref().map(|running| &running.step);
        let action = match step {
            Some(AttemptStep::Action { operation_id }) => Some(*operation_id),
            _ => None,
        };
        // Actions and clean-ups are retried, never erred or decided: no request of the entity depends on them.
        let next = match step {
            Some(AttemptStep::Action { .. } | AttemptStep::CleanUp { .. }) => {
                Next::Retry { at: Timestamp(9) }
            }
            _ => next,
        };
        Intent::Fail(FailureReport {
            attempt: self.attempt(of),
            takes_over: None,
            error: Failure { effect, ..Failure::harmless(class, "on_purpose", "on purpose") },
            next,
            remaining: Vec::new(),
            action,
        })
    }

    fn observed(&self, left: ObjectAfter, generation: Generation) -> Observed {
        match left {
            ObjectAfter::Absent => Observed::default(),
            ObjectAfter::Unknown => Observed { presence: Presence::Unknown, ..Observed::default() },
            ObjectAfter::Present => Observed {
                presence: Presence::Present,
                external_id: Some(
                    self.entity.observed.external_id.clone().unwrap_or_else(|| external(0)),
                ),
                attributes: Some(json!({"size": 1})),
                generation,
                references: std::collections::BTreeMap::new(),
                unready: None,
                observed_at: Some(Timestamp(3)),
            },
        }
    }
}

/// Whether an observation finds nothing to change; else a change is still to be made. `choice` decides.
const fn in_sync(left: ObjectAfter, differs: bool, choice: u8) -> bool {
    !differs && choice == 0 && matches!(left, ObjectAfter::Present)
}

/// Operations that an attempt or an observation serves: all but actions.
fn asked_for(entity: &Entity) -> Vec<OperationId> {
    let open = entity.operations.iter();
    open.filter(|open| !matches!(open.kind, OperationKind::Action(_))).map(|open| open.id).collect()
}

fn update(
    operation_id: OperationId,
    desired: Option<serde_json::Value>,
    settings: Option<SettingsPatch>,
) -> Intent {
    let settings = settings.unwrap_or_default();
    // Sometimes with the permission to replace, so that runs pass through both halves of a replacement.
    let replace = desired.as_ref().is_some_and(|desired| desired["size"] != 1);
    Intent::Update {
        operation_id,
        if_revision: None,
        schema_version: 1,
        desired,
        settings,
        replace,
    }
}

fn external(name: u8) -> ExternalId {
    ExternalId(format!("object-{name}"))
}

fn diff(differs: bool) -> Vec<Difference> {
    let field = "/size".to_owned();
    differs
        .then(|| Difference { field, desired: json!(1), observed: json!(2), addition: false })
        .into_iter()
        .collect()
}
