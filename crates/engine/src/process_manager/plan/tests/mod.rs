//! The planner as tables: given a life, an observation and a resolution, then one action.

mod absent;
mod additions;
mod after_calls;
mod before_observation;
mod inconclusive_observation;
mod present;
mod rendering;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stateward_domain::entity::Entity;
use stateward_domain::entity::command::{Completion, FailureReport, Intent, ObservationReport};
use stateward_domain::entity::event::Next;
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::state::{
    AttemptStep, BlockedOn, Decision, DeletionPolicy, Difference, DriftPolicy, ManagementPolicy,
    Manifest, Observed, Presence, ReplacePolicy, Settings, SettingsPatch,
};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{
    ActionName, Attempt, EntityId, EntityName, ExternalId, Generation, Incarnation, KindName,
    OperationId, OwnerKey,
};
use stateward_domain::kind::{KindSpec, OnLost};
use stateward_domain::ports::driver::Object;
use stateward_domain::ports::sync_queue::LeaseReason;
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use super::*;
use crate::backends::BackendSettings;
use crate::stub_driver::{self, StubDriver};
use rendering::{shown, wait};

const NOW: Timestamp = Timestamp(10_000_000_000);

/// One entity, and a clock that moves a second with each event.
#[derive(Clone)]
struct Life {
    /// Boxed: tables of lives stand on the stack.
    entity: Box<Entity>,
    now: Timestamp,
    operations: u128,
}

impl Life {
    /// Declared, with operation 1 open.
    fn declared() -> Self {
        Self::declared_as(Manifest { desired: json!({"size": 1}), ..Manifest::default() })
    }

    fn declared_as(manifest: Manifest) -> Self {
        let entity = Box::default();
        let mut life = Self { entity, now: Timestamp(1_000_000), operations: 0 };
        let operation_id = life.operation();
        let manifest = Box::new(Manifest { kind: stub_driver::kind().name, ..manifest });
        let entity_id = EntityId(Uuid::from_u128(7));
        let (schema_version, identity) = (1, None);
        life.asked(Intent::Create { operation_id, entity_id, schema_version, manifest, identity })
    }

    /// Created and in sync; no operation is open.
    fn synced() -> Self {
        Self::declared().started(AttemptStep::Create).completed(observed("object", 1, 1))
    }

    fn operation(&mut self) -> OperationId {
        self.operations += 1;
        OperationId(Uuid::from_u128(self.operations))
    }

    fn asked(mut self, intent: Intent) -> Self {
        self.now = Timestamp(self.now.0 + 1_000_000);
        let events = self.entity.decide(self.now, &intent).expect("accepted");
        for event in &events {
            self.entity.evolve(event);
        }
        self
    }

    /// As [`asked`](Self::asked), with the id of a new operation.
    fn requested(mut self, intent: impl FnOnce(OperationId) -> Intent) -> Self {
        let id = self.operation();
        self.asked(intent(id))
    }

    fn updated(self, desired: Value) -> Self {
        self.changed(Some(desired), SettingsPatch::default(), false)
    }

    fn set(self, settings: SettingsPatch) -> Self {
        self.changed(None, settings, false)
    }

    fn changed(self, desired: Option<Value>, settings: SettingsPatch, replace: bool) -> Self {
        self.requested(|operation_id| Intent::Update {
            operation_id,
            if_revision: None,
            schema_version: 1,
            desired,
            settings,
            replace,
        })
    }

    fn deleted(self, policy: DeletionPolicy) -> Self {
        let policy = Some(policy);
        self.requested(|operation_id| Intent::Delete {
            operation_id,
            if_revision: None,
            policy,
            may_exist: false,
        })
    }

    fn refreshed(self) -> Self {
        self.requested(|operation_id| Intent::Refresh { operation_id })
    }

    fn retried(self) -> Self {
        self.requested(|operation_id| Intent::Retry { operation_id })
    }

    fn acted(self, action: &str) -> Self {
        let (action, input) = (ActionName::from(action), Value::Null);
        self.requested(|operation_id| Intent::Act { operation_id, action, input })
    }

    fn paused(self) -> Self {
        self.asked(Intent::Pause)
    }

    fn started(self, step: AttemptStep) -> Self {
        let intent = self.starting(step, None);
        self.asked(intent)
    }

    fn starting(&self, step: AttemptStep, takes_over: Option<Attempt>) -> Intent {
        let was_present = !matches!(step, AttemptStep::Create | AttemptStep::CleanUp { .. });
        let operations = match &step {
            AttemptStep::Action { operation_id } => vec![*operation_id],
            _ => action_builders::open_changes(&self.entity),
        };
        let generation = self.entity.generation;
        Intent::Start { takes_over, generation, was_present, found: None, operations, step }
    }

    fn pending(self) -> Self {
        let (attempt, handle) = (self.entity.attempt, json!("job"));
        self.asked(Intent::Progress { attempt, handle, poll_at: NOW })
    }

    fn completed(self, observed: Observed) -> Self {
        let running = self.entity.running.clone();
        let completion = Completion {
            attempt: running.as_ref().map(|_| self.entity.attempt),
            takes_over: None,
            generation: self.entity.generation,
            step: running.as_ref().map_or(AttemptStep::None, |running| running.step.clone()),
            observed,
            diff: Vec::new(),
            operations: running.map_or_else(
                || action_builders::open_changes(&self.entity),
                |running| running.operations,
            ),
        };
        self.asked(Intent::Complete(completion))
    }

    fn failed(self, class: ErrorClass, next: Next) -> Self {
        let attempt = self.entity.running.as_ref().map(|_| self.entity.attempt);
        let error = Failure::harmless(class, "on_purpose", "on purpose");
        let (remaining, action) = (Vec::new(), None);
        let takes_over = None;
        self.asked(Intent::Fail(FailureReport {
            attempt,
            takes_over,
            error,
            next,
            remaining,
            action,
        }))
    }

    /// Erred after a change that the backend refused.
    fn erred() -> Self {
        let life = Self::synced().updated(json!({"size": 2}));
        life.started(update()).failed(ErrorClass::Invalid, Next::Erred)
    }

    fn seen(self, observed: Observed, diff: Vec<Difference>, on_lost: OnLost) -> Self {
        let in_sync = observed.presence == Presence::Present && diff.is_empty();
        let (generation, attempt) = (self.entity.generation, self.entity.attempt);
        self.asked(Intent::Observe(ObservationReport {
            generation,
            attempt,
            observed,
            diff,
            in_sync,
            on_lost,
        }))
    }

    fn lost(on_lost: OnLost) -> Self {
        Self::synced().seen(Observed::default(), Vec::new(), on_lost)
    }

    fn drifted(policy: DriftPolicy) -> Self {
        let patch = SettingsPatch { drift_policy: Some(policy), ..SettingsPatch::default() };
        let life = Self::synced().set(patch);
        let life = if life.entity.operations.is_empty() {
            life
        } else {
            life.completed(observed("object", 1, 1))
        };
        life.seen(observed("object", 9, 1), differs(1, 9), OnLost::Ask)
    }
}

/// A context besides the entity.
#[derive(Clone, Copy)]
struct Given {
    reason: LeaseReason,
    writable: bool,
    may_send: bool,
    kind: fn(&mut KindSpec),
    throttled: Option<Duration>,
    lost_creation: Option<Duration>,
}

const WORK: Given = Given {
    reason: LeaseReason::Work,
    writable: true,
    may_send: true,
    kind: |_| {},
    throttled: None,
    lost_creation: None,
};
const CHECK: Given = Given { reason: LeaseReason::Drift, ..WORK };
const HELD: Given = Given { writable: false, ..WORK };

fn with<T>(life: &Life, given: Given, plan: impl FnOnce(&RoundContext<'_>) -> T) -> T {
    let mut kind = stub_driver::kind();
    (given.kind)(&mut kind);
    let driver = Arc::new(StubDriver { kinds: vec![kind.clone()] });
    let settings = BackendSettings::new("stub", "stub", driver);
    plan(&RoundContext {
        entity: &life.entity,
        kind: &kind,
        settings: &settings,
        now: NOW,
        jitter: 1.0,
        reason: given.reason,
        writable: given.writable,
        may_send: given.may_send,
        takes_over: abandoned(&life.entity),
        lost_creation: given.lost_creation,
    })
}

/// The action on `observation`, with what it requires resolved as `resolution`.
fn planned(
    life: &Life,
    given: Given,
    observation: &Observation,
    resolution: &Resolution<'_>,
) -> String {
    with(life, given, |c| {
        let required = requirement(c, observation);
        let resolution = match (required, resolution) {
            (Requirement::DesiredState, Resolution::None) => &resolved(&life.entity),
            (Requirement::Nothing, _) => &Resolution::None,
            (_, given) => given,
        };
        let action = next_action(c, observation, resolution);
        if let Action::Observe { report, .. }
        | Action::Record { report, .. }
        | Action::RecordLoss(report) = &action
        {
            let entity = &life.entity;
            assert_eq!((report.generation, report.attempt), (entity.generation, entity.attempt));
        }
        shown(&action)
    })
}

/// `life` after the failure that `observation` leads to was recorded.
fn recorded(life: Life, observation: &Observation, resolution: &Resolution<'_>) -> Life {
    let report = with(&life, WORK, |c| match next_action(c, observation, resolution) {
        Action::Fail(report) => report,
        Action::Record { then, .. } => match *then {
            Action::Fail(report) => report,
            other => unreachable!("{other:?}"),
        },
        other => unreachable!("{other:?}"),
    });
    life.asked(Intent::Fail(report))
}

/// The desired state without references.
fn resolved(entity: &Entity) -> Resolution<'_> {
    let desired = Cow::Borrowed(&entity.manifest.desired);
    let attempted = entity.attempted.clone();
    Resolution::Ready(Resolved { desired, references: BTreeMap::new(), attempted })
}

fn waiting(is_loss: bool) -> Resolution<'static> {
    let on = Target { kind: KindName::from("stub.thing"), name: EntityName::from("other") };
    let class = ErrorClass::ReferenceNotReady { on: Box::new(on) };
    let failure = Failure::harmless(class, "reference_not_ready", "other is not ready");
    Resolution::Waiting(UnresolvedReference { failure, is_loss })
}

fn object(size: u64) -> Object {
    named_object("object", size)
}

fn named_object(id: &str, size: u64) -> Object {
    let owner_key = Some(OwnerKey::new(EntityId(Uuid::from_u128(7)), Incarnation(1)));
    Object { external_id: external(id), attributes: json!({ "size": size }), owner_key }
}

fn present(size: u64) -> Observation {
    Observation::Present { object: object(size), extra: Vec::new() }
}

fn observed(id: &str, size: u64, generation: u64) -> Observed {
    Observed {
        presence: Presence::Present,
        external_id: Some(external(id)),
        attributes: Some(json!({ "size": size })),
        references: BTreeMap::new(),
        unready: None,
        generation: Generation(generation),
        observed_at: Some(Timestamp(1)),
    }
}

fn external(id: &str) -> ExternalId {
    ExternalId(id.to_owned())
}

fn update() -> AttemptStep {
    AttemptStep::Update { fields: vec!["/size".to_owned()] }
}

fn differs(desired: u64, observed: u64) -> Vec<Difference> {
    let (desired, observed) = (json!(desired), json!(observed));
    vec![Difference { field: "/size".to_owned(), desired, observed, addition: false }]
}
