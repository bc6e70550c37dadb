//! Requests of users.

use serde_json::json;

use super::*;
use crate::entity::next_work::Priority;
use crate::entity::state::{Decision, ManagementPolicy, State};
use crate::id::{ActionName, Revision};

#[test]
fn what_is_declared_waits_to_be_made() {
    let scenario = Scenario::declared();
    assert_eq!(scenario.entity.state, State::CreationScheduled);
    let work = scenario.entity.work().expect("there is work");
    assert_eq!((work.priority, work.due), (Priority::User, scenario.now));
    assert!(!scenario.entity.synced() && !scenario.entity.ready());
}

#[test]
fn nothing_can_be_asked_of_what_was_never_declared() {
    let scenario = Scenario::undeclared();
    for intent in [
        changed(operation(1), Some(json!({})), SettingsPatch::default()),
        deletion(operation(1), DeletionPolicy::Delete),
        Intent::Refresh { operation_id: operation(1) },
        Intent::Pause,
        scenario.starting(AttemptStep::Create, None),
    ] {
        assert_eq!(scenario.refused(intent), Refusal::Nonexistent);
    }
}

#[test]
fn the_same_wish_again_changes_nothing() {
    let mut scenario = Scenario::ok();
    assert!(scenario.update(json!({"size": 1})).is_empty());
    assert!(scenario.settings(SettingsPatch::default()).is_empty());
}

#[test]
fn a_newer_wish_takes_the_place_of_the_older_one() {
    let mut scenario = Scenario::declared();
    assert_eq!(scenario.update(json!({"size": 2})), ["update_requested", "operation_superseded"]);
    assert_eq!(scenario.update(json!({"size": 3})), ["update_requested", "operation_superseded"]);
    assert_eq!(scenario.entity.operations.len(), 1);
    assert_eq!(scenario.entity.state, State::CreationScheduled, "it was never made");
}

#[test]
fn actions_never_take_each_others_place_and_are_bounded() {
    let mut scenario = Scenario::ok();
    let act = |operation_id| Intent::Act {
        operation_id,
        action: ActionName::from("poke"),
        input: json!({}),
    };
    for _ in 0..Entity::MAX_OPEN {
        let operation_id = scenario.operation();
        assert_eq!(scenario.then(act(operation_id)), ["action_requested"]);
    }
    assert_eq!(scenario.refused(act(operation(99))), Refusal::TooManyOperations);
}

#[test]
fn a_revision_that_moved_is_refused() {
    let scenario = Scenario::ok();
    let at = |revisions: &[u64]| {
        let mut intent = changed(operation(9), Some(json!({"size": 2})), SettingsPatch::default());
        if let Intent::Update { if_revision, .. } = &mut intent {
            *if_revision = Some(revisions.iter().copied().map(Revision).collect());
        }
        intent
    };
    for stale in [&[4][..], &[4, 2], &[]] {
        let refusal = scenario.refused(at(stale));
        assert_eq!(refusal, Refusal::RevisionMismatch { actual: Revision(1) }, "{stale:?}");
    }
    for (one_of, number) in [&[1][..], &[4, 1]].into_iter().zip(1..) {
        let events = scenario.entity.decide(Timestamp(number), &at(one_of));
        assert!(events.is_ok_and(|events| !events.is_empty()), "{one_of:?}");
    }
}

#[test]
fn a_deletion_that_is_pending_serves_the_next_one() {
    let mut scenario = Scenario::ok();
    let again = deletion(operation(99), DeletionPolicy::Delete);
    assert_eq!(scenario.entity.serving(&again), None);
    scenario.delete(DeletionPolicy::Delete);
    let pending = scenario.entity.operations[0].id;
    assert!(scenario.entity.decide(Timestamp(9), &again).is_ok_and(|events| events.is_empty()));
    assert_eq!(scenario.entity.serving(&again), Some(pending));
    assert_eq!(scenario.entity.serving(&Intent::Pause), None);
}

#[test]
fn settings_beside_the_desired_state_need_no_backend() {
    let mut scenario = Scenario::ok();
    let labels = Some([("a".to_owned(), "b".to_owned())].into());
    let events = scenario.settings(SettingsPatch { labels, ..SettingsPatch::default() });
    assert_eq!(events, ["settings_changed"]);
    assert!(scenario.entity.work().is_none() && scenario.entity.operations.is_empty());
}

#[test]
fn what_is_protected_is_not_deleted() {
    let mut scenario = Scenario::ok();
    scenario.settings(SettingsPatch { protected: Some(true), ..SettingsPatch::default() });
    for policy in [DeletionPolicy::Delete, DeletionPolicy::Orphan] {
        assert_eq!(scenario.refused(deletion(operation(9), policy)), Refusal::Protected);
    }
}

#[test]
fn what_is_only_observed_is_not_changed() {
    let mut scenario = Scenario::ok();
    let management_policy = Some(ManagementPolicy::ObserveOnly);
    scenario.settings(SettingsPatch { management_policy, ..SettingsPatch::default() });
    assert_eq!(
        scenario.refused(deletion(operation(9), DeletionPolicy::Delete)),
        Refusal::ObserveOnly
    );
    let act = Intent::Act {
        operation_id: operation(9),
        action: ActionName::from("poke"),
        input: json!({}),
    };
    assert_eq!(scenario.refused(act), Refusal::ObserveOnly);
    scenario.update(json!({"size": 2}));
    for step in [AttemptStep::Create, update(), AttemptStep::Delete] {
        assert_eq!(scenario.refused(scenario.starting(step, None)), Refusal::ObserveOnly);
    }
}

#[test]
fn a_change_during_backoff_is_due_at_once_with_a_fresh_budget() {
    let mut scenario = Scenario::declared();
    scenario.start(AttemptStep::Create);
    scenario
        .fail(ErrorClass::Transient, Next::Retry { at: Timestamp(scenario.now.0 + 1_000_000_000) });
    assert!(scenario.entity.work().expect("a retry waits").due > scenario.now);
    scenario.update(json!({"size": 2}));
    assert_eq!(scenario.entity.trouble.failures, 0);
    assert!(scenario.entity.work().expect("there is work").due <= scenario.now);
}

#[test]
fn retry_needs_something_to_retry() {
    let retry = Intent::Retry { operation_id: operation(9) };
    assert_eq!(Scenario::ok().refused(retry.clone()), Refusal::NothingToRetry);
    let mut scenario = Scenario::erred();
    assert_eq!(scenario.then(retry), ["retry_requested"]);
    assert_eq!(scenario.entity.state, State::UpdateScheduled);
    assert!(scenario.entity.work().is_some());
}

#[test]
fn a_pause_stops_changes_and_no_looks() {
    let mut scenario = Scenario::ok();
    scenario.then(Intent::Pause);
    scenario.update(json!({"size": 2}));
    assert!(scenario.entity.work().is_none(), "nothing is done while it is paused");
    assert_eq!(scenario.refused(scenario.starting(update(), None)), Refusal::Paused);
    let operation_id = scenario.operation();
    scenario.then(Intent::Refresh { operation_id });
    assert!(scenario.entity.work().is_some(), "a look changes nothing");
    scenario.then(Intent::Resume);
    assert!(scenario.entity.work().is_some());
}

#[test]
fn a_decision_is_taken_only_when_one_is_needed() {
    let decide = |decision| Intent::Decide { operation_id: operation(9), decision };
    assert_eq!(Scenario::ok().refused(decide(Decision::Create)), Refusal::NothingToDecide);

    let asked = || {
        let mut scenario = Scenario::declared();
        scenario.start(AttemptStep::Create);
        let class = ErrorClass::AlreadyExists { external_id: external("another") };
        scenario.fail(class, blocked(BlockedOn::Decision));
        assert!(scenario.entity.work().is_none(), "it waits for a person");
        scenario
    };
    let mut adopts = asked();
    adopts.then(decide(Decision::Adopt(external("another"))));
    assert_eq!(adopts.entity.observed.external_id, Some(external("another")));
    assert!(adopts.entity.work().is_some());

    let mut creates = asked();
    creates.then(decide(Decision::Create));
    assert!(creates.entity.create_allowed && creates.entity.work().is_some());

    let mut gives_up = asked();
    gives_up.then(decide(Decision::GiveUp));
    assert_eq!(gives_up.entity.state, State::Erred);
    assert!(gives_up.entity.operations.is_empty(), "every operation ended");
}

#[test]
fn what_adopts_is_never_made() {
    let manifest = Manifest { external_id: Some(external("theirs")), ..Manifest::default() };
    let scenario = Scenario::declared_as(manifest);
    assert_eq!(scenario.refused(scenario.starting(AttemptStep::Create, None)), Refusal::AdoptOnly);
    assert!(scenario.entity.may_exist(), "it is not known yet");
}

#[test]
fn another_object_is_adopted_only_when_there_is_none() {
    let adopt = Intent::Adopt { operation_id: operation(9), external_id: external("another") };
    assert_eq!(Scenario::ok().refused(adopt.clone()), Refusal::HasObject);
    let mut scenario = Scenario::declared();
    assert_eq!(scenario.then(adopt), ["adopt_requested", "operation_superseded"]);
}
