//! Objects that cannot change in place: replaced, or left alone.

use serde_json::json;

use super::*;
use crate::entity::replacement::Irreplaceable;
use crate::entity::state::{ManagementPolicy, ReplacePolicy, State};
use crate::failure::Effect;
use crate::id::Incarnation;

fn replace() -> AttemptStep {
    AttemptStep::Replace { fields: vec!["/size".to_owned()] }
}

/// The old object is proved absent; operation 2 asks for the new one.
fn between_halves() -> Scenario {
    let mut scenario = Scenario::ok();
    scenario.replace_for(json!({"size": 2}));
    scenario.start(replace());
    scenario.complete(replace(), absent());
    scenario
}

#[test]
fn no_object_is_replaced_without_permission() {
    let mut scenario = Scenario::ok();
    scenario.update(json!({"size": 2}));
    let refused = |scenario: &Scenario| scenario.refused(scenario.starting(replace(), None));
    assert_eq!(refused(&scenario), Refusal::Irreplaceable(Irreplaceable::NotAllowed));
    let replace = Some(ReplacePolicy::Allowed);
    scenario.settings(SettingsPatch { replace, ..SettingsPatch::default() });
    scenario.settings(SettingsPatch { protected: Some(true), ..SettingsPatch::default() });
    assert_eq!(refused(&scenario), Refusal::Irreplaceable(Irreplaceable::Protected));
    let orphan = Some(DeletionPolicy::Orphan);
    scenario.settings(SettingsPatch {
        protected: Some(false),
        deletion_policy: orphan,
        ..SettingsPatch::default()
    });
    assert_eq!(refused(&scenario), Refusal::Irreplaceable(Irreplaceable::Orphan));
    let only = Some(ManagementPolicy::ObserveOnly);
    scenario.settings(SettingsPatch { management_policy: only, ..SettingsPatch::default() });
    assert_eq!(refused(&scenario), Refusal::ObserveOnly);
}

#[test]
fn a_permission_of_one_change_is_void_with_the_next_one_and_once_it_is_reached() {
    let mut scenario = Scenario::ok();
    scenario.replace_for(json!({"size": 2}));
    assert!(scenario.entity.replaceable().is_ok());
    scenario.update(json!({"size": 3}));
    assert_eq!(scenario.entity.replaceable(), Err(Irreplaceable::NotAllowed));

    let mut scenario = between_halves();
    scenario.start(AttemptStep::Create);
    scenario.complete(AttemptStep::Create, scenario.present("object-2"));
    assert_eq!(scenario.entity.replaceable(), Err(Irreplaceable::NotAllowed));
}

#[test]
fn who_allows_what_failed_for_want_of_it_sets_it_going_again() {
    let mut scenario = Scenario::ok();
    scenario.update(json!({"size": 2}));
    scenario.fail(ErrorClass::Immutable, Next::Erred);
    assert_eq!(scenario.entity.work(), None);
    assert_eq!(scenario.update(json!({"size": 2})), [""; 0], "the same again allows nothing");
    let mut by_setting = Scenario { entity: scenario.entity.clone(), ..scenario };
    assert_eq!(scenario.replace_for(json!({"size": 2})), ["update_requested"]);
    assert!(scenario.entity.work().is_some() && scenario.entity.replaceable().is_ok());
    let replace = Some(ReplacePolicy::Allowed);
    by_setting.settings(SettingsPatch { replace, ..SettingsPatch::default() });
    assert!(by_setting.entity.work().is_some() && by_setting.entity.replaceable().is_ok());
}

#[test]
fn the_first_half_ends_no_operation() {
    let scenario = between_halves();
    assert_eq!(scenario.entity.change().map(|open| open.id), Some(operation(2)));
    assert!(scenario.entity.is_between_halves());
    let mut scenario = scenario;
    scenario.start(AttemptStep::Create);
    scenario.complete(AttemptStep::Create, scenario.present("object-2"));
    assert_eq!(scenario.entity.operations, []);
    assert!(scenario.entity.synced() && !scenario.entity.replacing);
}

#[test]
fn a_first_half_with_an_unknown_result_is_taken_over_by_the_second() {
    let mut scenario = Scenario::ok();
    scenario.replace_for(json!({"size": 2}));
    scenario.start(replace());
    let attempt = Some(scenario.entity.attempt);
    assert!(!scenario.entity.is_between_halves(), "nothing is proved");
    let intent = scenario.starting(AttemptStep::Create, attempt);
    assert_eq!(scenario.then(intent), ["sync_started"]);
    assert_eq!(scenario.entity.incarnation, Incarnation(2));
}

#[test]
fn a_first_half_that_did_nothing_leaves_the_object_what_it_was() {
    let mut scenario = Scenario::ok();
    scenario.replace_for(json!({"size": 2}));
    scenario.start(replace());
    scenario.fail(ErrorClass::Conflict, Next::Retry { at: scenario.now });
    assert!(scenario.entity.ready() && !scenario.entity.replacing);
    scenario.start(replace());
    let mut report =
        scenario.failure_report(ErrorClass::Ambiguous, Next::Retry { at: scenario.now });
    report.error.effect = Effect::Maybe;
    scenario.then(Intent::Fail(report));
    assert!(scenario.entity.may_exist() && scenario.entity.replacing, "it may be on its way out");
    scenario.start(replace());
    scenario.complete(replace(), absent());
    assert!(scenario.entity.is_between_halves());
}

#[test]
fn a_second_half_that_fails_says_that_the_old_one_is_gone_and_goes_on() {
    let mut scenario = between_halves();
    scenario.start(AttemptStep::Create);
    scenario.fail(ErrorClass::Invalid, Next::Erred);
    let synced = &scenario.entity.conditions()[0];
    assert_eq!(synced.reason, "Erred");
    let gone = "the old object is gone and the new one is not there yet: ";
    assert!(synced.message.starts_with(gone), "{}", synced.message);
    scenario.update(json!({"size": 3}));
    let synced = &scenario.entity.conditions()[0];
    assert_eq!(
        (synced.reason, synced.message.as_str()),
        ("Replacing", gone.trim_end_matches(": "))
    );
    scenario.start(AttemptStep::Create);
    scenario.complete(AttemptStep::Create, scenario.present("object-2"));
    assert_eq!((scenario.entity.state, scenario.entity.incarnation), (State::Ok, Incarnation(2)));
}

#[test]
fn between_the_halves_it_may_be_deleted_paused_taken_back_or_wanted_otherwise() {
    let mut scenario = between_halves();
    scenario.delete(DeletionPolicy::Delete);
    assert_eq!(
        scenario.refused(scenario.starting(AttemptStep::Create, None)),
        Refusal::DeletionPending
    );
    assert_eq!(scenario.complete(AttemptStep::None, absent()), ["sync_completed", "deleted"]);

    let mut scenario = between_halves();
    scenario.then(Intent::Pause);
    assert_eq!(scenario.entity.work(), None);
    assert_eq!(scenario.refused(scenario.starting(AttemptStep::Create, None)), Refusal::Paused);
    scenario.then(Intent::Resume);
    scenario.start(AttemptStep::Create);

    let mut scenario = between_halves();
    scenario.then(Intent::Cancel { operation_id: operation(2) });
    assert_eq!(scenario.entity.manifest.desired, json!({"size": 1}), "as it was applied last");
    assert_eq!(scenario.entity.operations, []);
    scenario.start(AttemptStep::Create);
    scenario.complete(AttemptStep::Create, scenario.present("object-2"));
    assert_eq!((scenario.entity.state, scenario.entity.incarnation), (State::Ok, Incarnation(2)));

    let mut scenario = between_halves();
    let again = ["update_requested", "operation_superseded"];
    assert_eq!(scenario.update(json!({"size": 1})), again);
    scenario.start(AttemptStep::Create);
    scenario.complete(AttemptStep::Create, scenario.present("object-2"));
    assert!(scenario.entity.synced());
}

#[test]
fn a_deletion_wanted_while_the_first_half_runs_ends_with_it() {
    let mut scenario = Scenario::ok();
    scenario.replace_for(json!({"size": 2}));
    scenario.start(replace());
    scenario.delete(DeletionPolicy::Delete);
    assert!(!scenario.entity.is_to_be_stopped(), "it does what is wanted");
    assert_eq!(scenario.complete(replace(), absent()), ["sync_completed", "deleted"]);
    assert_eq!(scenario.entity.operations, []);
}

#[test]
fn an_adopted_object_may_be_replaced_before_it_ever_was_as_wanted() {
    let manifest = Manifest {
        desired: json!({"size": 1}),
        external_id: Some(ExternalId::from("theirs")),
        ..Manifest::default()
    };
    let mut scenario = Scenario::declared_as(manifest);
    let replace_it = Some(ReplacePolicy::Allowed);
    scenario.settings(SettingsPatch { replace: replace_it, ..SettingsPatch::default() });
    assert_eq!(scenario.refused(scenario.starting(AttemptStep::Create, None)), Refusal::AdoptOnly);
    scenario.start(replace());
    scenario.complete(replace(), absent());
    scenario.start(AttemptStep::Create);
    assert_eq!(scenario.entity.state, State::Creating);
}
