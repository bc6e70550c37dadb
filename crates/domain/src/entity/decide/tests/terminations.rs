//! The end of operations and entities.

use serde_json::json;

use super::*;
use crate::entity::claims::ClaimKey;
use crate::entity::next_work::WaitsFor;
use crate::entity::reference_target::Target;
use crate::entity::state::{OperationKind, State};
use crate::id::{EntityName, KindName};

#[test]
fn what_was_never_begun_is_deleted_at_once() {
    let mut scenario = Scenario::declared();
    let events = scenario.delete(DeletionPolicy::Delete);
    assert_eq!(events, ["delete_requested", "operation_cancelled", "deleted"]);
    assert_eq!(scenario.entity.state, State::Deleted);
    assert!(scenario.entity.operations.is_empty() && !scenario.entity.is_tracked());
}

#[test]
fn what_may_have_an_object_that_the_log_lost_is_deleted_once_its_absence_is_proved() {
    let mut scenario = Scenario::declared();
    let delete = Intent::Delete {
        operation_id: operation(9),
        if_revision: None,
        policy: Some(DeletionPolicy::Delete),
        may_exist: true,
    };
    assert_eq!(scenario.then(delete), ["delete_requested", "operation_cancelled"]);
    assert_eq!(scenario.entity.state, State::DeletionScheduled);
    assert_eq!(scenario.complete(AttemptStep::None, absent()), ["sync_completed", "deleted"]);
}

#[test]
fn only_proof_of_absence_ends_a_deletion() {
    let mut scenario = Scenario::ok();
    scenario.delete(DeletionPolicy::Delete);
    assert_eq!(scenario.entity.state, State::DeletionScheduled);
    scenario.start(AttemptStep::Delete);
    assert_eq!(scenario.entity.state, State::Deleting);
    let still_there = scenario.completion(AttemptStep::Delete, scenario.present("object"));
    assert!(matches!(scenario.refused(Intent::Complete(still_there)), Refusal::Unfit(_)));
    assert_eq!(scenario.complete(AttemptStep::Delete, absent()), ["sync_completed", "deleted"]);
    assert!(scenario.entity.operations.is_empty());
    assert_eq!(scenario.refused(deletion(operation(9), DeletionPolicy::Delete)), Refusal::Deleted);
}

#[test]
fn a_deletion_during_a_creation_waits_for_the_attempt() {
    let mut scenario = Scenario::declared();
    scenario.start(AttemptStep::Create);
    let events = scenario.delete(DeletionPolicy::Delete);
    assert_eq!(events, ["delete_requested", "operation_cancelled"]);
    assert!(scenario.entity.running.is_some() && scenario.entity.is_to_be_stopped());
    scenario.complete(AttemptStep::Create, scenario.present("object"));
    assert_eq!(scenario.entity.state, State::DeletionScheduled, "now it is deleted");
    assert!(scenario.entity.work().is_some());
}

#[test]
fn a_pending_deletion_may_be_escalated_to_orphan() {
    let mut scenario = Scenario::ok();
    scenario.delete(DeletionPolicy::Delete);
    assert!(scenario.delete(DeletionPolicy::Delete).is_empty(), "asked for already");
    let events = scenario.delete(DeletionPolicy::Orphan);
    assert_eq!(events, ["delete_requested", "operation_superseded", "released"]);
    assert!(scenario.entity.released && scenario.entity.operations.is_empty());
    assert!(!scenario.entity.is_tracked(), "the backend is not needed");
}

#[test]
fn nothing_else_is_asked_of_what_is_to_go() {
    let mut scenario = Scenario::ok();
    scenario.delete(DeletionPolicy::Delete);
    let update = changed(operation(9), Some(json!({"size": 2})), SettingsPatch::default());
    assert_eq!(scenario.refused(update), Refusal::DeletionPending);
    let refresh = Intent::Refresh { operation_id: operation(9) };
    assert_eq!(scenario.refused(refresh), Refusal::DeletionPending);
}

#[test]
fn cancelling_a_waiting_change_goes_back_to_what_was_applied() {
    let mut scenario = Scenario::ok();
    scenario.update(json!({"size": 2}));
    let operation_id = scenario.entity.operations[0].id;
    let events = scenario.then(Intent::Cancel { operation_id });
    assert_eq!(events, ["cancel_requested", "operation_cancelled"]);
    assert_eq!(scenario.entity.manifest.desired, json!({"size": 1}));
    assert_eq!(scenario.entity.generation, Generation(3), "as a new desired state");
    assert!(scenario.entity.operations.is_empty());
}

#[test]
fn cancelling_a_waiting_creation_ends_the_life_without_a_call() {
    let mut scenario = Scenario::declared();
    let events = scenario.then(Intent::Cancel { operation_id: operation(1) });
    assert_eq!(events, ["cancel_requested", "operation_cancelled", "deleted"]);
    assert_eq!(scenario.entity.state, State::Deleted);
}

#[test]
fn a_cancelled_attempt_ends_its_operation_once() {
    let mut scenario = Scenario::ok();
    scenario.update(json!({"size": 2}));
    scenario.start(update());
    let operation_id = scenario.entity.operations[0].id;
    assert_eq!(scenario.then(Intent::Cancel { operation_id }), ["cancel_requested"]);
    let next = Next::Retry { at: scenario.now };
    let events = scenario.fail(ErrorClass::Cancelled, next);
    assert_eq!(events, ["sync_failed", "operation_cancelled"]);
    assert!(scenario.entity.operations.is_empty());
    assert_eq!(scenario.entity.manifest.desired, json!({"size": 1}));
}

#[test]
fn only_open_operations_are_cancelled() {
    let scenario = Scenario::ok();
    let cancel = Intent::Cancel { operation_id: operation(1) };
    assert_eq!(scenario.refused(cancel), Refusal::NoSuchOperation);
}

#[test]
fn an_erred_deletion_gives_way_to_a_new_wish() {
    let mut scenario = Scenario::ok();
    scenario.delete(DeletionPolicy::Delete);
    scenario.start(AttemptStep::Delete);
    scenario.fail(ErrorClass::Invalid, Next::Erred);
    assert_eq!(scenario.entity.state, State::Erred);
    scenario.update(json!({"size": 2}));
    assert!(scenario.entity.deletion.is_none());
    assert_eq!(scenario.entity.state, State::UpdateScheduled);
}

#[test]
fn an_erred_entity_can_be_deleted() {
    let mut scenario = Scenario::erred();
    scenario.delete(DeletionPolicy::Delete);
    assert_eq!(scenario.entity.state, State::DeletionScheduled);
    assert!(scenario.entity.work().is_some());
}

#[test]
fn a_wait_for_a_reference_is_for_a_name_of_its_own_namespace() {
    let mut scenario = Scenario::declared();
    let blue = Target { kind: KindName::from("k.net"), name: EntityName::from("blue") };
    let next = Next::Blocked { on: BlockedOn::Reference(blue.clone()), check_at: Timestamp(99) };
    let class = ErrorClass::ReferenceNotReady { on: Box::new(blue) };
    for _ in 0..50 {
        scenario.fail(class.clone(), next.clone());
    }
    let work = scenario.entity.work().expect("its change is kept");
    let namespace = &scenario.entity.manifest.namespace;
    let name = ClaimKey(format!("name/{namespace}/k.net/blue"));
    assert_eq!((work.due, work.waits_for), (Timestamp(99), Some(WaitsFor::Name(name))));
    assert_eq!(scenario.entity.trouble.failures, 0, "waiting uses up no budget");
}

#[test]
fn blocked_work_keeps_its_wish_and_ends_what_asked_for_one_try() {
    let mut scenario = Scenario::declared();
    scenario.start(AttemptStep::Create);
    scenario.fail(ErrorClass::QuotaExceeded, blocked(BlockedOn::Quota));
    let operation_id = scenario.operation();
    scenario.then(Intent::Retry { operation_id });
    scenario.start(AttemptStep::Create);
    scenario.fail(ErrorClass::QuotaExceeded, blocked(BlockedOn::Quota));
    let kinds: Vec<_> = scenario.entity.operations.iter().map(|open| open.kind.clone()).collect();
    assert_eq!(kinds, [OperationKind::Create]);
}
