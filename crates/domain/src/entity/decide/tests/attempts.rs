//! Intents, results, take-overs: the attempt's number is the fence.

use serde_json::json;

use super::*;
use crate::entity::state::State;
use crate::failure::Effect;
use crate::id::Incarnation;

#[test]
fn an_intent_comes_before_the_change_and_makes_the_object_unknown() {
    let mut life = Life::declared();
    assert_eq!(life.start(AttemptStep::Create), ["sync_started"]);
    assert_eq!(life.entity.state, State::Creating);
    assert_eq!(life.entity.observed.presence, Presence::Unknown);
    assert_eq!(life.entity.incarnation, Incarnation(1));
    assert!(life.entity.create_intended_at.is_some());
}

#[test]
fn success_is_recorded_by_the_running_attempt_alone() {
    let mut life = Life::declared();
    life.start(AttemptStep::Create);
    let completion = life.completion(AttemptStep::Create, life.present("object"));
    for attempt in [None, Some(Attempt(0)), Some(Attempt(2))] {
        let other = Completion { attempt, ..completion.clone() };
        let outcome = life.ask(Intent::Complete(other));
        assert!(
            !outcome.is_ok_and(|events| events.iter().any(|e| short(e) == "sync_completed")),
            "{attempt:?}"
        );
    }
    assert_eq!(life.then(Intent::Complete(completion)), ["sync_completed"]);
    assert_eq!(life.entity.state, State::Ok);
    assert!(life.entity.synced() && life.entity.ready() && life.entity.operations.is_empty());
}

#[test]
fn an_attempt_ends_as_what_it_began() {
    let mut life = Life::ok();
    life.update(json!({"size": 2}));
    life.start(update());
    let completion = life.completion(AttemptStep::Delete, absent());
    assert!(matches!(life.refused(Intent::Complete(completion)), Refusal::Unfit(_)));
    let unbegun = Life::ok();
    let completion = unbegun.completion(update(), unbegun.present("object"));
    assert!(matches!(unbegun.refused(Intent::Complete(completion)), Refusal::Unfit(_)));
}

#[test]
fn a_late_creation_is_a_stray_and_nothing_else() {
    let mut life = Life::declared();
    life.start(AttemptStep::Create);
    let late = life.completion(AttemptStep::Create, life.present("late"));
    let takes_over = life.starting(AttemptStep::Create, Some(Attempt(1)));
    assert_eq!(life.then(takes_over), ["sync_started"]);
    life.complete(AttemptStep::Create, life.present("object"));
    assert_eq!(life.then(Intent::Complete(late)), ["stray_found"]);
    assert_eq!(life.entity.observed.external_id, Some(external("object")));
    assert_eq!(life.entity.state, State::Ok, "a stray does not change how the entity stands");
    assert!(life.entity.work().is_some(), "it is cleaned up");
    life.start(AttemptStep::CleanUp { external_id: external("late") });
    life.complete(AttemptStep::CleanUp { external_id: external("late") }, absent());
    assert!(life.entity.strays.is_empty() && life.entity.work().is_none());
}

#[test]
fn a_stray_is_cleaned_up_even_after_the_end() {
    let mut life = Life::ok();
    life.delete(DeletionPolicy::Delete);
    life.start(AttemptStep::Delete);
    life.complete(AttemptStep::Delete, absent());
    let late = Intent::RecordExternalId {
        attempt: Attempt(1),
        incarnation: Incarnation(1),
        external_id: external("late"),
    };
    assert_eq!(life.then(late.clone()), ["stray_found"]);
    assert!(life.then(late).is_empty(), "once is enough");
    assert!(life.entity.is_tracked() && life.entity.work().is_some());
    assert_eq!(life.entity.state, State::Deleted);
}

#[test]
fn the_object_s_own_name_is_no_stray() {
    let mut life = Life::ok();
    let late = Intent::RecordExternalId {
        attempt: Attempt(0),
        incarnation: Incarnation(1),
        external_id: external("object"),
    };
    assert!(life.then(late).is_empty());
}

#[test]
fn a_takeover_abandons_the_running_attempt_and_the_third_one_in_a_row_is_refused() {
    let mut life = Life::declared();
    life.start(AttemptStep::Create);
    assert_eq!(life.refused(life.starting(AttemptStep::Create, None)), Refusal::StaleAttempt);
    for abandoned in 1..Entity::MAX_ABANDONED {
        let attempt = life.entity.attempt;
        let again = life.starting(AttemptStep::Create, Some(attempt));
        life.then(again);
        assert_eq!(life.entity.trouble.abandoned, abandoned);
        assert_eq!(life.entity.incarnation, Incarnation(1), "no object was seen: same owner key");
    }
    let attempt = life.entity.attempt;
    let fourth = life.starting(AttemptStep::Create, Some(attempt));
    assert_eq!(life.refused(fourth), Refusal::TooManyAbandoned);
}

#[test]
fn a_plan_for_an_older_wish_is_not_carried_out() {
    let mut life = Life::ok();
    let old = life.starting(update(), None);
    life.update(json!({"size": 2}));
    assert_eq!(life.refused(old), Refusal::StaleObservation);
}

#[test]
fn a_step_fits_what_was_seen() {
    let life = Life::ok();
    let Intent::Start { generation, operations, .. } = life.starting(AttemptStep::Create, None)
    else {
        unreachable!()
    };
    for (step, was_present) in
        [(AttemptStep::Create, true), (update(), false), (AttemptStep::Delete, false)]
    {
        let start = Intent::Start {
            takes_over: None,
            generation,
            step,
            was_present,
            found: None,
            operations: operations.clone(),
        };
        assert!(matches!(life.refused(start), Refusal::Unfit(_)));
    }
}

#[test]
fn a_wish_during_an_attempt_is_reached_by_the_next_one() {
    let mut life = Life::declared();
    life.start(AttemptStep::Create);
    life.update(json!({"size": 2}));
    life.complete(AttemptStep::Create, life.present("object"));
    assert_eq!(life.entity.state, State::UpdateScheduled);
    assert!(!life.entity.synced() && life.entity.ready());
    let applied = life.entity.applied.clone().expect("the first wish was reached");
    assert_eq!(applied.desired, json!({"size": 1}));
    life.start(update());
    life.complete(update(), life.present("object"));
    assert_eq!(life.entity.state, State::Ok);
}

#[test]
fn a_failure_that_did_nothing_leaves_the_object_known() {
    for (effect, presence) in [(Effect::None, Presence::Absent), (Effect::Maybe, Presence::Unknown)]
    {
        let mut life = Life::declared();
        life.start(AttemptStep::Create);
        let next = Next::Retry { at: life.now };
        let mut failing = life.failing(ErrorClass::Transient, next);
        failing.error.effect = effect;
        assert_eq!(life.then(Intent::Fail(failing)), ["sync_failed"]);
        assert_eq!(life.entity.observed.presence, presence);
        assert_eq!(life.entity.state, State::CreationScheduled);
        assert_eq!(life.entity.operations.len(), 1, "it goes on");
    }
}

#[test]
fn rate_limits_and_parked_backends_do_not_use_up_the_budget() {
    let mut life = Life::declared();
    let limited = ErrorClass::RateLimited { after_ms: 1, scope: String::new() };
    for class in [limited, ErrorClass::Unauthorized, ErrorClass::Misconfigured] {
        life.start(AttemptStep::Create);
        let next = Next::Retry { at: life.now };
        life.fail(class, next);
    }
    assert_eq!(life.entity.trouble.failures, 0);
    life.start(AttemptStep::Create);
    let next = Next::Retry { at: life.now };
    life.fail(ErrorClass::Transient, next);
    assert_eq!(life.entity.trouble.failures, 1);
}

#[test]
fn giving_up_ends_every_operation_but_actions() {
    let mut life = Life::ok();
    life.update(json!({"size": 2}));
    let operation_id = life.operation();
    life.then(Intent::Act {
        operation_id,
        action: crate::id::ActionName::from("poke"),
        input: json!({}),
    });
    life.start(update());
    life.fail(ErrorClass::Bug, Next::Erred);
    assert_eq!(life.entity.state, State::Erred);
    assert_eq!(
        life.entity.operations.iter().map(|open| open.id).collect::<Vec<_>>(),
        [operation_id]
    );
    assert_eq!(life.refused(life.starting(update(), None)), Refusal::Erred);
}

#[test]
fn pending_work_survives_and_is_asked_for_again() {
    let mut life = Life::declared();
    life.start(AttemptStep::Create);
    let (handle, poll_at) = (json!({"job": 1}), Timestamp(life.now.0 + 5_000_000));
    let progress = |attempt| Intent::Progress { attempt, handle: handle.clone(), poll_at };
    assert_eq!(life.refused(progress(Attempt(9))), Refusal::StaleAttempt);
    assert_eq!(life.then(progress(Attempt(1))), ["sync_progressed"]);
    assert_eq!(life.entity.work().expect("it is polled").due, poll_at);
    life.then(Intent::Cancel { operation_id: operation(1) });
    assert!(life.entity.is_to_be_stopped());
    assert!(life.entity.work().expect("it is stopped").due <= life.now);
}

#[test]
fn a_replacement_proves_absence_before_it_makes_anew() {
    let mut life = Life::ok();
    life.replace_for(json!({"size": 2}));
    let replace = AttemptStep::Replace { fields: vec!["/size".to_owned()] };
    life.start(replace.clone());
    let unproved = life.completion(replace.clone(), life.present("object"));
    assert!(matches!(life.refused(Intent::Complete(unproved)), Refusal::Unfit(_)));
    life.complete(replace, absent());
    assert!(life.entity.work().is_some(), "the second half waits");
    life.start(AttemptStep::Create);
    assert_eq!(life.entity.incarnation, Incarnation(2));
    life.complete(AttemptStep::Create, life.present("object-2"));
    assert_eq!(life.entity.state, State::Ok);
}
