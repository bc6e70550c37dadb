//! Given a scenario, when an intent is decided, then these events, or this refusal.

mod attempts;
mod objects;
mod observation_changes;
mod observations;
mod replacements;
mod terminations;
mod user_requests;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::entity::Entity;
use crate::entity::command::{
    Command, Completion, FailureReport, Intent, ObservationReport, Refusal,
};
use crate::entity::event::{EntityEvent, Next};
use crate::entity::state::{
    AttemptStep, BlockedOn, DeletionPolicy, Difference, Manifest, Observed, Presence, SettingsPatch,
};
use crate::failure::{ErrorClass, Failure};
use crate::id::{Attempt, EntityId, ExternalId, Generation, OperationId};
use crate::kind::OnLost;
use crate::time::Timestamp;

/// One entity and its history; each step is a second later than the one before.
struct Scenario {
    entity: Entity,
    now: Timestamp,
    operations: u128,
}

impl Scenario {
    /// Before any event.
    fn undeclared() -> Self {
        Self { entity: Entity::default(), now: Timestamp(1_000_000), operations: 0 }
    }

    /// Declared, with operation 1 open.
    fn declared() -> Self {
        Self::declared_as(Manifest { desired: json!({"size": 1}), ..Manifest::default() })
    }

    fn declared_as(manifest: Manifest) -> Self {
        let mut scenario = Self::undeclared();
        let operation_id = scenario.operation();
        scenario.then(Intent::Create {
            operation_id,
            entity_id: EntityId(Uuid::from_u128(7)),
            schema_version: 1,
            manifest: Box::new(manifest),
            identity: None,
        });
        scenario
    }

    /// Created and in sync; no operation is open.
    fn ok() -> Self {
        let mut scenario = Self::declared();
        scenario.start(AttemptStep::Create);
        scenario.complete(AttemptStep::Create, scenario.present("object"));
        scenario
    }

    /// Erred after an invalid change.
    fn erred() -> Self {
        let mut scenario = Self::ok();
        scenario.update(json!({"size": -1}));
        scenario.start(update());
        scenario.fail(ErrorClass::Invalid, Next::Erred);
        scenario
    }

    /// A new operation id.
    fn operation(&mut self) -> OperationId {
        self.operations += 1;
        operation(self.operations)
    }

    /// Decides and folds; returns the names of the events.
    fn then(&mut self, intent: Intent) -> Vec<&'static str> {
        self.now = Timestamp(self.now.0 + 1_000_000);
        let events = self.ask(intent).expect("accepted");
        for event in &events {
            self.entity.evolve(event);
        }
        events.iter().map(short).collect()
    }

    fn ask(&self, intent: Intent) -> Result<Vec<EntityEvent>, Refusal> {
        self.entity.decide(self.now, &intent)
    }

    fn refused(&self, intent: Intent) -> Refusal {
        self.ask(intent).expect_err("refused")
    }

    fn update(&mut self, desired: Value) -> Vec<&'static str> {
        let operation_id = self.operation();
        self.then(changed(operation_id, Some(desired), SettingsPatch::default()))
    }

    /// As [`update`](Self::update), with the permission to replace.
    fn replace_for(&mut self, desired: Value) -> Vec<&'static str> {
        let operation_id = self.operation();
        let intent = changed(operation_id, Some(desired), SettingsPatch::default());
        let Intent::Update { if_revision, schema_version, desired, settings, .. } = intent else {
            unreachable!()
        };
        let replace = true;
        self.then(Intent::Update {
            operation_id,
            if_revision,
            schema_version,
            desired,
            settings,
            replace,
        })
    }

    fn settings(&mut self, settings: SettingsPatch) -> Vec<&'static str> {
        let operation_id = self.operation();
        self.then(changed(operation_id, None, settings))
    }

    fn delete(&mut self, policy: DeletionPolicy) -> Vec<&'static str> {
        let operation_id = self.operation();
        self.then(deletion(operation_id, policy))
    }

    fn start(&mut self, step: AttemptStep) -> Vec<&'static str> {
        let intent = self.starting(step, None);
        self.then(intent)
    }

    fn starting(&self, step: AttemptStep, takes_over: Option<Attempt>) -> Intent {
        let was_present = !matches!(step, AttemptStep::Create | AttemptStep::CleanUp { .. });
        Intent::Start {
            takes_over,
            generation: self.entity.generation,
            was_present,
            found: None,
            operations: self.entity.operations.iter().map(|open| open.id).collect(),
            step,
        }
    }

    fn completion(&self, step: AttemptStep, observed: Observed) -> Completion {
        let running = self.entity.running.as_ref();
        Completion {
            attempt: running.map(|_| self.entity.attempt),
            takes_over: None,
            generation: running.map_or(self.entity.generation, |running| running.generation),
            step,
            observed,
            diff: Vec::new(),
            operations: running.map_or_else(
                || self.entity.operations.iter().map(|open| open.id).collect(),
                |running| running.operations.clone(),
            ),
        }
    }

    fn complete(&mut self, step: AttemptStep, observed: Observed) -> Vec<&'static str> {
        let completion = self.completion(step, observed);
        self.then(Intent::Complete(completion))
    }

    fn failure_report(&self, class: ErrorClass, next: Next) -> FailureReport {
        FailureReport {
            attempt: self.entity.running.as_ref().map(|_| self.entity.attempt),
            takes_over: None,
            error: Failure::harmless(class, "on_purpose", "on purpose"),
            next,
            remaining: Vec::new(),
            action: None,
        }
    }

    fn fail(&mut self, class: ErrorClass, next: Next) -> Vec<&'static str> {
        let report = self.failure_report(class, next);
        self.then(Intent::Fail(report))
    }

    fn observation(&self, observed: Observed, diff: Vec<Difference>) -> ObservationReport {
        ObservationReport {
            generation: self.entity.generation,
            attempt: self.entity.attempt,
            in_sync: observed.presence == Presence::Present && diff.is_empty(),
            observed,
            diff,
            on_lost: OnLost::Ask,
        }
    }

    fn observe(&mut self, observed: Observed, diff: Vec<Difference>) -> Vec<&'static str> {
        let observation = self.observation(observed, diff);
        self.then(Intent::Observe(observation))
    }

    /// The object, in the newest desired state.
    fn present(&self, id: &str) -> Observed {
        let generation = self
            .entity
            .running
            .as_ref()
            .map_or(self.entity.generation, |running| running.generation);
        Observed {
            presence: Presence::Present,
            external_id: Some(ExternalId(id.to_owned())),
            attributes: Some(json!({"size": generation.0})),
            references: BTreeMap::new(),
            unready: None,
            generation,
            observed_at: Some(self.now),
        }
    }
}

fn operation(number: u128) -> OperationId {
    OperationId(Uuid::from_u128(number))
}

fn changed(operation_id: OperationId, desired: Option<Value>, settings: SettingsPatch) -> Intent {
    Intent::Update {
        operation_id,
        if_revision: None,
        schema_version: 1,
        desired,
        settings,
        replace: false,
    }
}

fn deletion(operation_id: OperationId, policy: DeletionPolicy) -> Intent {
    Intent::Delete { operation_id, if_revision: None, policy: Some(policy), may_exist: false }
}

fn absent() -> Observed {
    Observed::default()
}

fn update() -> AttemptStep {
    AttemptStep::Update { fields: vec!["/size".to_owned()] }
}

fn difference() -> Vec<Difference> {
    vec![Difference {
        field: "/size".to_owned(),
        desired: json!(1),
        observed: json!(9),
        addition: false,
    }]
}

fn blocked(on: BlockedOn) -> Next {
    Next::Blocked { on, check_at: Timestamp::NEVER }
}

fn external(id: &str) -> ExternalId {
    ExternalId(id.to_owned())
}

fn short(event: &EntityEvent) -> &'static str {
    event.name().trim_start_matches("entity.")
}

#[test]
fn the_aggregate_answers_through_the_framework_as_well() {
    use cqrs_es::test::TestFramework;
    let manifest = Manifest { desired: json!({"size": 1}), ..Manifest::default() };
    let created = EntityEvent::CreateRequested {
        at: Timestamp(1),
        operation_id: operation(1),
        entity_id: EntityId(Uuid::from_u128(7)),
        schema_version: 1,
        manifest: Box::new(manifest),
        identity: None,
    };
    let pause = Command { at: Timestamp(2), intent: Intent::Pause };
    TestFramework::<Entity>::with(())
        .given(vec![created.clone()])
        .when(pause)
        .then_expect_events(vec![EntityEvent::Paused { at: Timestamp(2) }]);
    let retry = Intent::Retry { operation_id: operation(2) };
    TestFramework::<Entity>::with(())
        .given(vec![created])
        .when(Command { at: Timestamp(2), intent: retry })
        .then_expect_error(Refusal::NothingToRetry);
}

#[test]
fn a_generation_counts_wishes_and_a_revision_counts_all_that_users_change() {
    let mut scenario = Scenario::ok();
    assert_eq!((scenario.entity.generation, scenario.entity.revision.0), (Generation(1), 1));
    scenario.update(json!({"size": 2}));
    assert_eq!((scenario.entity.generation, scenario.entity.revision.0), (Generation(2), 2));
    scenario.settings(SettingsPatch { protected: Some(true), ..SettingsPatch::default() });
    assert_eq!((scenario.entity.generation, scenario.entity.revision.0), (Generation(2), 3));
}
