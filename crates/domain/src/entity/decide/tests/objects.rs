//! Which object an entity manages: its claims, and conflicts with another entity.

use super::*;
use crate::entity::claims::{self, Claim};
use crate::entity::state::{Decision, ManagementPolicy, Settings, State};
use crate::envelope::Envelope;
use crate::id::{BackendName, EntityName, Incarnation, KindName, Namespace, OwnerKey};

const OBJECT: &str = "external/b/fake.thing/x";
const IDENTITY: &str = "identity/b/fake/x";
const CONTENDER: &str = "contender/b/fake.thing/x/00000000-0000-0000-0000-000000000007";

fn manifest(policy: ManagementPolicy, external_id: Option<&str>) -> Manifest {
    Manifest {
        namespace: Namespace::from("n"),
        kind: KindName::from("fake.thing"),
        name: EntityName::from("e"),
        backend: BackendName::from("b"),
        desired: json!({"size": 1}),
        settings: Settings { management_policy: policy, ..Settings::default() },
        external_id: external_id.map(ExternalId::from),
    }
}

const fn contest(holds: Option<bool>) -> Intent {
    Intent::Contest { holds }
}

fn policy(management_policy: ManagementPolicy) -> Intent {
    let management_policy = Some(management_policy);
    let patch = SettingsPatch { management_policy, ..SettingsPatch::default() };
    changed(operation(99), None, patch)
}

impl Scenario {
    /// Decides and folds; returns the changes of claims.
    fn claims(&mut self, intent: Intent) -> Vec<String> {
        self.now = Timestamp(self.now.0 + 1_000_000);
        let events = self.ask(intent).expect("accepted");
        let (after, claims) = claims::fold(self.entity.clone(), &events, &Envelope::default());
        self.entity = after;
        let rendered = |claim: &Claim| match claim {
            Claim::Take { key, .. } => format!("take {key}"),
            Claim::Share { key } => format!("share {key}"),
            Claim::Free { key } => format!("free {key}"),
        };
        claims.iter().map(rendered).collect()
    }

    fn adopting(policy: ManagementPolicy) -> (Self, Vec<String>) {
        let mut scenario = Self::undeclared();
        let claims = scenario.claims(Intent::Create {
            operation_id: operation(1),
            entity_id: EntityId(Uuid::from_u128(7)),
            schema_version: 1,
            manifest: Box::new(manifest(policy, Some("x"))),
            identity: None,
        });
        (scenario, claims)
    }

    /// Manages `x`, and is in sync.
    fn managing() -> Self {
        let (mut scenario, _) = Self::adopting(ManagementPolicy::Full);
        scenario.complete(AttemptStep::None, scenario.present("x"));
        scenario
    }
}

#[test]
fn an_object_is_taken_when_it_is_named_and_freed_when_it_is_proved_gone() {
    let (mut scenario, claims) = Scenario::adopting(ManagementPolicy::Full);
    let name = "take name/n/fake.thing/e".to_owned();
    let (take, share) = (format!("take {OBJECT}"), format!("share {IDENTITY}"));
    assert_eq!(claims, [take, name, share]);
    let completion = scenario.completion(AttemptStep::None, scenario.present("x"));
    assert!(scenario.claims(Intent::Complete(completion)).is_empty(), "it has it already");
    let observation = scenario.observation(absent(), Vec::new());
    assert_eq!(scenario.claims(Intent::Observe(observation)), [format!("free {OBJECT}")]);
}

#[test]
fn what_an_attempt_made_is_taken_once_it_has_a_name_and_freed_with_its_life() {
    let mut scenario = Scenario::declared_as(manifest(ManagementPolicy::Full, None));
    scenario.start(AttemptStep::Create);
    let record = Intent::RecordExternalId {
        attempt: scenario.entity.attempt,
        incarnation: scenario.entity.incarnation,
        external_id: external("x"),
    };
    assert_eq!(scenario.claims(record), [format!("take {OBJECT}")]);
    scenario.complete(AttemptStep::Create, scenario.present("x"));
    scenario.delete(DeletionPolicy::Delete);
    scenario.start(AttemptStep::Delete);
    let report = scenario.failure_report(ErrorClass::Transient, Next::Retry { at: scenario.now });
    assert!(scenario.claims(Intent::Fail(report)).is_empty(), "its absence is not proved");
    scenario.start(AttemptStep::Delete);
    let completion = scenario.completion(AttemptStep::Delete, absent());
    let freed = scenario.claims(Intent::Complete(completion));
    assert!(freed.contains(&format!("free {OBJECT}")), "{freed:?}");
}

#[test]
fn a_released_object_is_free() {
    let mut scenario = Scenario::managing();
    let freed = scenario.claims(deletion(operation(9), DeletionPolicy::Orphan));
    assert!(freed.contains(&format!("free {OBJECT}")), "{freed:?}");
}

#[test]
fn an_observer_shares_a_free_object_and_takes_it_with_the_right_to_change_it() {
    let (mut scenario, claims) = Scenario::adopting(ManagementPolicy::ObserveOnly);
    let (object, identity) = (format!("share {OBJECT}"), format!("share {IDENTITY}"));
    assert_eq!(claims, ["take name/n/fake.thing/e".to_owned(), object, identity.clone()]);
    let completion = scenario.completion(AttemptStep::None, scenario.present("x"));
    assert!(scenario.claims(Intent::Complete(completion)).is_empty());
    let taken = scenario.claims(policy(ManagementPolicy::Full));
    assert_eq!(taken, [format!("take {OBJECT}"), identity]);
    let freed = scenario.claims(policy(ManagementPolicy::ObserveOnly));
    assert_eq!(freed, [format!("free {OBJECT}")]);
}

#[test]
fn an_object_that_is_adopted_by_request_or_by_decision_is_taken() {
    let mut scenario = Scenario::declared_as(manifest(ManagementPolicy::Full, None));
    let operation_id = scenario.operation();
    let adopt = Intent::Adopt { operation_id, external_id: external("x") };
    assert_eq!(scenario.claims(adopt), [format!("take {OBJECT}"), format!("share {IDENTITY}")]);
    scenario.fail(ErrorClass::NotFound, blocked(BlockedOn::Decision));
    let operation_id = scenario.operation();
    let decision = Decision::Adopt(external("y"));
    let moved = scenario.claims(Intent::Decide { operation_id, decision });
    let other = |what: &str| format!("{what} external/b/fake.thing/y");
    let share = "share identity/b/fake/y".to_owned();
    assert_eq!(moved, [format!("free {OBJECT}"), other("take"), share]);
}

#[test]
fn an_object_that_is_adopted_after_a_creation_does_not_count_as_made() {
    let mut scenario = Scenario::declared_as(manifest(ManagementPolicy::Full, None));
    scenario.start(AttemptStep::Create);
    assert_eq!(scenario.entity.object_key(), scenario.entity.owner_key());
    assert!(scenario.entity.incarnation > Incarnation::default());
    scenario.fail(ErrorClass::NotFound, blocked(BlockedOn::Decision));
    let operation_id = scenario.operation();
    scenario.then(Intent::Decide { operation_id, decision: Decision::Adopt(external("y")) });
    let none = OwnerKey::new(scenario.entity.id, Incarnation::default());
    assert_eq!(scenario.entity.object_key(), none);
    scenario.start(AttemptStep::None);
    scenario.fail(ErrorClass::NotFound, blocked(BlockedOn::Decision));
    let operation_id = scenario.operation();
    scenario.then(Intent::Decide { operation_id, decision: Decision::Create });
    scenario.start(AttemptStep::Create);
    assert_eq!(scenario.entity.object_key(), scenario.entity.owner_key(), "made by us");
}

#[test]
fn a_new_identity_must_not_be_an_object_of_another_entity() {
    let mut scenario = Scenario::undeclared();
    let claims = scenario.claims(Intent::Create {
        operation_id: operation(1),
        entity_id: EntityId(Uuid::from_u128(7)),
        schema_version: 1,
        manifest: Box::new(manifest(ManagementPolicy::Full, None)),
        identity: Some("x".to_owned()),
    });
    assert!(claims.contains(&format!("take {IDENTITY}")), "{claims:?}");
    assert!(claims.contains(&format!("share {OBJECT}")), "{claims:?}");
}

#[test]
fn a_stray_is_held_until_it_is_cleaned_up_also_after_the_entity_ended() {
    let mut scenario = Scenario::managing();
    let late = Intent::RecordExternalId {
        attempt: Attempt(0),
        incarnation: scenario.entity.incarnation,
        external_id: external("late"),
    };
    let key = "external/b/fake.thing/late";
    assert_eq!(scenario.claims(late), [format!("take {key}")]);
    let released = scenario.claims(deletion(operation(9), DeletionPolicy::Orphan));
    assert!(!released.contains(&format!("free {key}")), "{released:?}");
    let step = AttemptStep::CleanUp { external_id: external("late") };
    let completion = scenario.completion(step, absent());
    assert_eq!(scenario.claims(Intent::Complete(completion)), [format!("free {key}")]);
}

#[test]
fn who_contends_for_an_object_does_not_hold_it_and_keeps_nothing_of_it() {
    let mut scenario = Scenario::managing();
    scenario.observe(scenario.present("x"), difference());
    let lost = scenario.claims(contest(Some(false)));
    assert_eq!(lost, [format!("free {OBJECT}"), format!("take {CONTENDER}")]);
    let entity = &scenario.entity;
    assert_eq!((&entity.observed.attributes, &entity.drift), (&None, &None));
    assert_eq!(entity.blocked.as_ref().map(|blocked| &blocked.on), Some(&BlockedOn::ObjectTaken));
    assert!(!entity.synced() && !entity.ready() && entity.state == State::UpdateScheduled);
    assert!(scenario.then(contest(Some(false))).is_empty(), "it is said once");
    assert!(scenario.then(contest(None)).is_empty(), "that is for the holder to say");
    assert!(scenario.then(contest(Some(true))).is_empty(), "it holds nothing");
    scenario.update(json!({"size": 2}));
    assert!(scenario.entity.contends(), "a change does not give it the object");
    // Observed again because the object is free; the log would refuse the claim otherwise.
    let completion = scenario.completion(AttemptStep::None, scenario.present("x"));
    let taken = scenario.claims(Intent::Complete(completion));
    assert_eq!(taken, [format!("free {CONTENDER}"), format!("take {OBJECT}")]);
    assert_eq!((&scenario.entity.contested, &scenario.entity.blocked), (&None, &None));
}

#[test]
fn who_holds_a_contested_object_goes_on_and_shows_it() {
    let mut scenario = Scenario::managing();
    assert!(scenario.claims(contest(Some(true))).is_empty());
    scenario.observe(scenario.present("x"), Vec::new());
    let shown = |scenario: &Scenario| scenario.entity.conditions()[4].reason;
    assert!(scenario.entity.synced() && shown(&scenario) == "ObjectShared");
    assert_eq!(scenario.then(contest(None)), ["contest_ended"]);
    assert_eq!(shown(&scenario), "NotBlocked");
    assert!(scenario.then(contest(None)).is_empty());
}

#[test]
fn a_look_that_meets_an_object_of_another_blocks_and_gives_up_the_claim() {
    let (mut scenario, _) = Scenario::adopting(ManagementPolicy::Full);
    let class = ErrorClass::AlreadyExists { external_id: external("x") };
    let events = scenario.fail(class.clone(), blocked(BlockedOn::ObjectTaken));
    assert_eq!(events, ["sync_failed", "object_contested"]);
    assert_eq!(scenario.entity.conditions()[4].reason, "ObjectTaken");
    assert_eq!(scenario.fail(class, blocked(BlockedOn::ObjectTaken)), ["sync_failed"]);
    let adopt = Intent::Adopt { operation_id: scenario.operation(), external_id: external("y") };
    let moved = scenario.claims(adopt);
    assert!(moved.contains(&format!("free {CONTENDER}")), "{moved:?}");
    assert_eq!((&scenario.entity.contested, &scenario.entity.blocked), (&None, &None));
}

#[test]
fn a_stray_that_another_entity_manages_is_no_clean_up_work() {
    let mut scenario = Scenario::managing();
    let external_id = external("late");
    scenario.entity.evolve(&EntityEvent::StrayFound {
        at: scenario.now,
        attempt: Attempt(0),
        external_id: external_id.clone(),
    });
    let taken = EntityEvent::ObjectContested { at: scenario.now, external_id, holds: false };
    scenario.entity.evolve(&taken);
    assert!(scenario.entity.strays.is_empty() && scenario.entity.contested.is_none());
    assert!(scenario.entity.synced());
}

#[test]
fn what_one_append_frees_and_then_shares_is_freed() {
    let mut scenario = Scenario::managing();
    let management_policy = Some(ManagementPolicy::ObserveOnly);
    let settings = SettingsPatch { management_policy, ..SettingsPatch::default() };
    let events = [
        EntityEvent::SettingsChanged { at: scenario.now, settings },
        EntityEvent::AdoptRequested {
            at: scenario.now,
            operation_id: scenario.operation(),
            external_id: external("x"),
        },
    ];
    let (_, claims) = claims::fold(scenario.entity.clone(), &events, &Envelope::default());
    let freed = claims.iter().any(|claim| matches!(claim, Claim::Free { key } if key.0 == OBJECT));
    assert!(freed, "{claims:?}");
}
