//! Given an object that cannot change in place: it goes, and another takes its place, or it stays.

use serde_json::json;

use super::*;
use crate::entity::replacement::Irreplaceable;
use crate::entity::state::{ManagementPolicy, ReplacePolicy, State};
use crate::failure::Effect;
use crate::id::Incarnation;

fn replace() -> AttemptStep {
    AttemptStep::Replace { fields: vec!["/size".to_owned()] }
}

/// The old object is proved gone; operation 2 wants the new one.
fn between_halves() -> Life {
    let mut life = Life::ok();
    life.replace_for(json!({"size": 2}));
    life.start(replace());
    life.complete(replace(), absent());
    life
}

#[test]
fn nothing_goes_that_nobody_allowed_to_go() {
    let mut life = Life::ok();
    life.update(json!({"size": 2}));
    let refused = |life: &Life| life.refused(life.starting(replace(), None));
    assert_eq!(refused(&life), Refusal::Irreplaceable(Irreplaceable::NotAllowed));
    let replace = Some(ReplacePolicy::Allowed);
    life.settings(SettingsPatch { replace, ..SettingsPatch::default() });
    life.settings(SettingsPatch { protected: Some(true), ..SettingsPatch::default() });
    assert_eq!(refused(&life), Refusal::Irreplaceable(Irreplaceable::Protected));
    let orphan = Some(DeletionPolicy::Orphan);
    life.settings(SettingsPatch {
        protected: Some(false),
        deletion_policy: orphan,
        ..SettingsPatch::default()
    });
    assert_eq!(refused(&life), Refusal::Irreplaceable(Irreplaceable::Orphan));
    let only = Some(ManagementPolicy::ObserveOnly);
    life.settings(SettingsPatch { management_policy: only, ..SettingsPatch::default() });
    assert_eq!(refused(&life), Refusal::ObserveOnly);
}

#[test]
fn a_permission_of_one_change_is_void_with_the_next_one_and_once_it_is_reached() {
    let mut life = Life::ok();
    life.replace_for(json!({"size": 2}));
    assert!(life.entity.replaceable().is_ok());
    life.update(json!({"size": 3}));
    assert_eq!(life.entity.replaceable(), Err(Irreplaceable::NotAllowed));

    let mut life = between_halves();
    life.start(AttemptStep::Create);
    life.complete(AttemptStep::Create, life.present("object-2"));
    assert_eq!(life.entity.replaceable(), Err(Irreplaceable::NotAllowed));
}

#[test]
fn who_allows_what_failed_for_want_of_it_sets_it_going_again() {
    let mut life = Life::ok();
    life.update(json!({"size": 2}));
    life.fail(ErrorClass::Immutable, Next::Erred);
    assert_eq!(life.entity.work(), None);
    assert_eq!(life.update(json!({"size": 2})), [""; 0], "the same again allows nothing");
    let mut by_setting = Life { entity: life.entity.clone(), ..life };
    assert_eq!(life.replace_for(json!({"size": 2})), ["update_requested"]);
    assert!(life.entity.work().is_some() && life.entity.replaceable().is_ok());
    let replace = Some(ReplacePolicy::Allowed);
    by_setting.settings(SettingsPatch { replace, ..SettingsPatch::default() });
    assert!(by_setting.entity.work().is_some() && by_setting.entity.replaceable().is_ok());
}

#[test]
fn the_first_half_ends_no_operation() {
    let life = between_halves();
    assert_eq!(life.entity.change().map(|open| open.id), Some(operation(2)));
    assert!(life.entity.is_between_halves());
    let mut life = life;
    life.start(AttemptStep::Create);
    life.complete(AttemptStep::Create, life.present("object-2"));
    assert_eq!(life.entity.operations, []);
    assert!(life.entity.synced() && !life.entity.replacing);
}

#[test]
fn a_first_half_of_which_nobody_knows_the_end_is_taken_over_by_the_second() {
    let mut life = Life::ok();
    life.replace_for(json!({"size": 2}));
    life.start(replace());
    let attempt = Some(life.entity.attempt);
    assert!(!life.entity.is_between_halves(), "nothing is proved");
    let intent = life.starting(AttemptStep::Create, attempt);
    assert_eq!(life.then(intent), ["sync_started"]);
    assert_eq!(life.entity.incarnation, Incarnation(2));
}

#[test]
fn a_first_half_that_did_nothing_leaves_the_object_what_it_was() {
    let mut life = Life::ok();
    life.replace_for(json!({"size": 2}));
    life.start(replace());
    life.fail(ErrorClass::Conflict, Next::Retry { at: life.now });
    assert!(life.entity.ready() && !life.entity.replacing);
    life.start(replace());
    let mut failing = life.failing(ErrorClass::Ambiguous, Next::Retry { at: life.now });
    failing.error.effect = Effect::Maybe;
    life.then(Intent::Fail(failing));
    assert!(life.entity.may_exist() && life.entity.replacing, "it may be on its way out");
    life.start(replace());
    life.complete(replace(), absent());
    assert!(life.entity.is_between_halves());
}

#[test]
fn a_second_half_that_fails_says_that_the_old_one_is_gone_and_goes_on() {
    let mut life = between_halves();
    life.start(AttemptStep::Create);
    life.fail(ErrorClass::Invalid, Next::Erred);
    let synced = &life.entity.conditions()[0];
    assert_eq!(synced.reason, "Erred");
    let gone = "the old object is gone and the new one is not there yet: ";
    assert!(synced.message.starts_with(gone), "{}", synced.message);
    life.update(json!({"size": 3}));
    let synced = &life.entity.conditions()[0];
    assert_eq!(
        (synced.reason, synced.message.as_str()),
        ("Replacing", gone.trim_end_matches(": "))
    );
    life.start(AttemptStep::Create);
    life.complete(AttemptStep::Create, life.present("object-2"));
    assert_eq!((life.entity.state, life.entity.incarnation), (State::Ok, Incarnation(2)));
}

#[test]
fn between_the_halves_it_may_be_deleted_paused_taken_back_or_wanted_otherwise() {
    let mut life = between_halves();
    life.delete(DeletionPolicy::Delete);
    assert_eq!(life.refused(life.starting(AttemptStep::Create, None)), Refusal::DeletionPending);
    assert_eq!(life.complete(AttemptStep::None, absent()), ["sync_completed", "deleted"]);

    let mut life = between_halves();
    life.then(Intent::Pause);
    assert_eq!(life.entity.work(), None);
    assert_eq!(life.refused(life.starting(AttemptStep::Create, None)), Refusal::Paused);
    life.then(Intent::Resume);
    life.start(AttemptStep::Create);

    let mut life = between_halves();
    life.then(Intent::Cancel { operation_id: operation(2) });
    assert_eq!(life.entity.manifest.desired, json!({"size": 1}), "as it was applied last");
    assert_eq!(life.entity.operations, []);
    life.start(AttemptStep::Create);
    life.complete(AttemptStep::Create, life.present("object-2"));
    assert_eq!((life.entity.state, life.entity.incarnation), (State::Ok, Incarnation(2)));

    let mut life = between_halves();
    let again = ["update_requested", "operation_superseded"];
    assert_eq!(life.update(json!({"size": 1})), again);
    life.start(AttemptStep::Create);
    life.complete(AttemptStep::Create, life.present("object-2"));
    assert!(life.entity.synced());
}

#[test]
fn a_deletion_wanted_while_the_first_half_runs_ends_with_it() {
    let mut life = Life::ok();
    life.replace_for(json!({"size": 2}));
    life.start(replace());
    life.delete(DeletionPolicy::Delete);
    assert!(!life.entity.is_to_be_stopped(), "it does what is wanted");
    assert_eq!(life.complete(replace(), absent()), ["sync_completed", "deleted"]);
    assert_eq!(life.entity.operations, []);
}

#[test]
fn an_adopted_object_may_be_replaced_before_it_ever_was_as_wanted() {
    let manifest = Manifest {
        desired: json!({"size": 1}),
        external_id: Some(ExternalId::from("theirs")),
        ..Manifest::default()
    };
    let mut life = Life::declared_as(manifest);
    let replace_it = Some(ReplacePolicy::Allowed);
    life.settings(SettingsPatch { replace: replace_it, ..SettingsPatch::default() });
    assert_eq!(life.refused(life.starting(AttemptStep::Create, None)), Refusal::AdoptOnly);
    life.start(replace());
    life.complete(replace(), absent());
    life.start(AttemptStep::Create);
    assert_eq!(life.entity.state, State::Creating);
}
