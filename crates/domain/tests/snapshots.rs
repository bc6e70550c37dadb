//! The stored form of every event. A changed snapshot means that old logs cannot be read any more: give the event a
//! new schema version and an upcast instead.

use std::collections::BTreeMap;

use cqrs_es::DomainEvent;
use serde_json::{Value, json};
use stateward_domain::access::{AccessEvent, Grant, NamespaceSettings, Role, Token};
use stateward_domain::backend::{BackendEvent, ParkCause};
use stateward_domain::entity::EntityEvent as E;
use stateward_domain::entity::event::Next;
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::state::{
    AttemptStep, BlockedOn, Decision, DeletionPolicy, Difference, DriftPolicy, ManagementPolicy,
    Manifest, Observed, Presence, ReplacePolicy, Settings, SettingsPatch,
};
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::id::{
    ActionName, Attempt, BackendName, EntityId, EntityName, ExternalId, Generation, Incarnation,
    KindName, Namespace, OperationId, Position, TokenId,
};
use stateward_domain::kind::OnLost;
use stateward_domain::system::{BackendChange, SystemEvent};
use stateward_domain::time::Timestamp;
use uuid::Uuid;

const AT: Timestamp = Timestamp(1_795_528_595_466_242);

fn operation(number: u128) -> OperationId {
    OperationId(Uuid::from_u128(number))
}

fn object() -> ExternalId {
    ExternalId("object-1".to_owned())
}

fn observed() -> Observed {
    Observed {
        presence: Presence::Present,
        external_id: Some(object()),
        attributes: Some(json!({"size": 2})),
        generation: Generation(2),
        references: BTreeMap::new(),
        unready: Some("its status is SHUTOFF".to_owned()),
        observed_at: Some(AT),
    }
}

fn manifest() -> Box<Manifest> {
    Box::new(Manifest {
        namespace: Namespace::from("physics"),
        kind: KindName::from("fake.thing"),
        name: EntityName::from("quick"),
        backend: BackendName::from("sandbox"),
        desired: json!({"size": 1}),
        settings: Settings {
            labels: [("team".to_owned(), "platform".to_owned())].into(),
            deletion_policy: DeletionPolicy::Orphan,
            drift_policy: DriftPolicy::Report,
            management_policy: ManagementPolicy::ObserveOnly,
            ignore_fields: vec!["/size".to_owned()],
            protected: true,
            replace: ReplacePolicy::Allowed,
            depends_on: Target::parse("fake.thing/first").into_iter().collect(),
        },
        external_id: Some(object()),
    })
}

fn failure() -> Failure {
    Failure {
        class: ErrorClass::RateLimited { after_ms: 50, scope: "fake.thing".to_owned() },
        code: "slow_down".to_owned(),
        message: "the backend asks for a pause".to_owned(),
        request_id: Some("req-1".to_owned()),
        effect: Effect::Maybe,
    }
}

fn requests() -> Vec<E> {
    let operation_id = operation(1);
    vec![
        E::CreateRequested {
            at: AT,
            operation_id,
            entity_id: EntityId(Uuid::from_u128(7)),
            schema_version: 1,
            manifest: manifest(),
            identity: Some("etc/motd".to_owned()),
        },
        E::UpdateRequested {
            at: AT,
            operation_id,
            schema_version: 1,
            desired: json!({"size": 2}),
            replace: false,
        },
        E::DeleteRequested { at: AT, operation_id, policy: DeletionPolicy::Delete },
        E::ActionRequested {
            at: AT,
            operation_id,
            action: ActionName::from("poke"),
            input: json!({"hard": true}),
        },
        E::RefreshRequested { at: AT, operation_id },
        E::RetryRequested { at: AT, operation_id },
        E::CancelRequested { at: AT, operation_id },
        E::AdoptRequested { at: AT, operation_id, external_id: object() },
        E::DecisionTaken {
            at: AT,
            operation_id,
            decision: Decision::Adopt(object()),
            failed: vec![operation(2)],
        },
        E::SettingsChanged {
            at: AT,
            settings: SettingsPatch { protected: Some(true), ..SettingsPatch::default() },
        },
        E::Paused { at: AT },
        E::Resumed { at: AT },
        E::RequestRecorded { at: AT },
    ]
}

fn attempts() -> Vec<E> {
    let (attempt, incarnation) = (Attempt(2), Incarnation(1));
    vec![
        E::SyncStarted {
            at: AT,
            attempt,
            takes_over: Some(Attempt(1)),
            generation: Generation(2),
            incarnation,
            step: AttemptStep::Update { fields: vec!["/size".to_owned()] },
            was_present: true,
            operations: vec![operation(1)],
        },
        E::ExternalIdRecorded { at: AT, attempt, incarnation, external_id: object() },
        E::SyncProgressed { at: AT, attempt, handle: json!({"job": "7"}), poll_at: AT },
        E::SyncCompleted {
            at: AT,
            attempt,
            generation: Generation(2),
            step: AttemptStep::None,
            observed: observed(),
            operations: vec![operation(1)],
        },
        E::SyncFailed {
            at: AT,
            attempt,
            generation: Generation(2),
            error: failure(),
            next: Next::Blocked {
                on: BlockedOn::Entity(EntityId(Uuid::from_u128(8))),
                check_at: AT,
            },
            remaining: vec!["/size".to_owned()],
            operations: Vec::new(),
        },
        E::StrayFound { at: AT, attempt, external_id: object() },
    ]
}

fn observations_and_ends() -> Vec<E> {
    let difference = Difference {
        field: "/size".to_owned(),
        desired: json!(2),
        observed: json!(3),
        addition: false,
    };
    vec![
        E::ObjectContested { at: AT, external_id: object(), holds: false },
        E::ContestEnded { at: AT },
        E::DriftDetected {
            at: AT,
            policy: DriftPolicy::Correct,
            diff: vec![difference],
            observed: observed(),
        },
        E::DriftCleared { at: AT, observed: observed() },
        E::ObservedChanged { at: AT, observed: Observed::default(), lost: Some(OnLost::Ask) },
        E::ErrorCleared { at: AT, observed: observed() },
        E::OperationSuperseded { at: AT, operation_id: operation(1), by: operation(2) },
        E::OperationCancelled { at: AT, operation_id: operation(1) },
        E::Deleted { at: AT, operations: vec![operation(1)] },
        E::Released { at: AT, operations: vec![operation(1)] },
    ]
}

fn stored<Event: DomainEvent>(events: &[Event]) -> BTreeMap<String, Value> {
    let entry = |event: &Event| {
        let payload = serde_json::to_value(event).expect("an event is JSON");
        let back: Event = serde_json::from_value(payload.clone()).expect("it can be read again");
        assert_eq!(serde_json::to_value(&back).expect("JSON"), payload);
        (format!("{} v{}", event.event_type(), event.event_version()), payload)
    };
    events.iter().map(entry).collect()
}

#[test]
fn waiting_for_a_reference() {
    let on = Target { kind: KindName::from("fake.thing"), name: EntityName::from("blue") };
    let target = json!({"kind": "fake.thing", "name": "blue"});
    let class = serde_json::to_value(ErrorClass::ReferenceNotReady { on: Box::new(on.clone()) });
    assert_eq!(class.expect("JSON"), json!({"reference_not_ready": {"on": target}}));
    let blocked = serde_json::to_value(BlockedOn::Reference(on));
    assert_eq!(blocked.expect("JSON"), json!({"reference": target}));
}

#[test]
fn every_event_of_an_entity() {
    let events = [requests(), attempts(), observations_and_ends()].concat();
    let mut names: Vec<_> = events.iter().map(E::name).collect();
    names.sort_unstable();
    let mut all = E::NAMES.to_vec();
    all.sort_unstable();
    assert_eq!(names, all, "an event has no snapshot");
    insta::assert_json_snapshot!("entity", stored(&events));
}

#[test]
fn every_event_of_a_backend() {
    let events = [
        BackendEvent::IdentityRecorded { at: AT, identity: "cloud-1".to_owned() },
        BackendEvent::Parked { at: AT, cause: ParkCause::MassAbsence { absent: 7, observed: 20 } },
        BackendEvent::Unparked { at: AT },
        BackendEvent::Paused { at: AT, until: Some(AT), reason: None },
        BackendEvent::Resumed { at: AT },
        BackendEvent::Configured { at: AT, driver: "fake".to_owned(), digest: "0f".to_owned() },
        BackendEvent::Removed { at: AT },
        BackendEvent::Reopened { at: AT },
        BackendEvent::Throttled { at: AT, scope: "fake.thing".to_owned(), until: AT },
        BackendEvent::RequestRecorded { at: AT },
    ];
    insta::assert_json_snapshot!("backend", stored(&events));
}

#[test]
fn every_event_of_the_system() {
    let position = |minor| Position { epoch: 7, major: 0, minor };
    let events = [
        SystemEvent::Frozen { at: AT, epoch: None },
        SystemEvent::Unfrozen { at: AT },
        SystemEvent::AuditExported {
            at: AT,
            after: position(3),
            until: position(9),
            namespaces: vec![Namespace::from("physics")],
            types: vec!["entity.deleted".to_owned()],
            count: 2,
        },
        SystemEvent::ConfigurationReloaded {
            at: AT,
            backends: [(BackendName::from("sandbox"), BackendChange::Changed)].into(),
        },
        SystemEvent::RequestRecorded { at: AT },
    ];
    insta::assert_json_snapshot!("system", stored(&events));
}

#[test]
fn a_hold_names_the_epoch_that_it_is_of() {
    let frozen = SystemEvent::Frozen { at: Timestamp(1), epoch: Some(7) };
    let payload = serde_json::to_value(&frozen).expect("JSON");
    assert_eq!(payload, json!({"frozen": {"at": 1, "epoch": 7}}));
    assert_eq!(serde_json::from_value::<SystemEvent>(payload).expect("it can be read"), frozen);
}

#[test]
fn every_event_of_access() {
    let token = Token {
        digest: "0f".to_owned(),
        actor: "ci".to_owned(),
        grants: vec![Grant { role: Role::Viewer, namespace: Some(Namespace::from("physics")) }],
        expires_at: Some(AT),
    };
    let (namespace, token_id) = (Namespace::from("physics"), TokenId(Uuid::from_u128(5)));
    let settings = NamespaceSettings { require_reason: true };
    let events = [
        AccessEvent::NamespaceDeclared { at: AT, namespace: namespace.clone(), settings },
        AccessEvent::NamespaceDeleted { at: AT, namespace },
        AccessEvent::TokenIssued { at: AT, token_id, token },
        AccessEvent::TokenRevoked { at: AT, token_id },
        AccessEvent::RequestRecorded { at: AT },
        AccessEvent::AdministratorDeclared { at: AT, digest: "00ff".to_owned() },
    ];
    insta::assert_json_snapshot!("access", stored(&events));
}
