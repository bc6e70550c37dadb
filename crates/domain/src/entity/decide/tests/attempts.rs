//! Intents, results, take-overs: the attempt's number is the fence.

use serde_json::json;

use super::*;
use crate::entity::state::State;
use crate::failure::Effect;
use crate::id::Incarnation;

#[test]
fn an_intent_comes_before_the_change_and_makes_the_object_unknown() {
    let mut scenario = Scenario::declared();
    assert_eq!(scenario.start(AttemptStep::Create), ["sync_started"]);
    assert_eq!(scenario.entity.state, State::Creating);
    assert_eq!(scenario.entity.observed.presence, Presence::Unknown);
    assert_eq!(scenario.entity.incarnation, Incarnation(1));
    assert!(scenario.entity.create_intended_at.is_some());
}

#[test]
fn success_is_recorded_by_the_running_attempt_alone() {
    let mut scenario = Scenario::declared();
    scenario.start(AttemptStep::Create);
    let completion = scenario.completion(AttemptStep::Create, scenario.present("object"));
    for attempt in [None, Some(Attempt(0)), Some(Attempt(2))] {
        let other = Completion { attempt, ..completion.clone() };
        let outcome = scenario.ask(Intent::Complete(other));
        assert!(
            !outcome.is_ok_and(|events| events.iter().any(|e| short(e) == "sync_completed")),
            "{attempt:?}"
        );
    }
    assert_eq!(scenario.then(Intent::Complete(completion)), ["sync_completed"]);
    assert_eq!(scenario.entity.state, State::Ok);
    assert!(
        scenario.entity.synced()
            && scenario.entity.ready()
            && scenario.entity.operations.is_empty()
    );
}

#[test]
fn an_attempt_ends_as_what_it_began() {
    let mut scenario = Scenario::ok();
    scenario.update(json!({"size": 2}));
    scenario.start(update());
    let completion = scenario.completion(AttemptStep::Delete, absent());
    assert!(matches!(scenario.refused(Intent::Complete(completion)), Refusal::Unfit(_)));
    let unbegun = Scenario::ok();
    let completion = unbegun.completion(update(), unbegun.present("object"));
    assert!(matches!(unbegun.refused(Intent::Complete(completion)), Refusal::Unfit(_)));
}

#[test]
fn a_late_creation_is_a_stray_and_nothing_else() {
    let mut scenario = Scenario::declared();
    scenario.start(AttemptStep::Create);
    let late = scenario.completion(AttemptStep::Create, scenario.present("late"));
    let takes_over = scenario.starting(AttemptStep::Create, Some(Attempt(1)));
    assert_eq!(scenario.then(takes_over), ["sync_started"]);
    scenario.complete(AttemptStep::Create, scenario.present("object"));
    assert_eq!(scenario.then(Intent::Complete(late)), ["stray_found"]);
    assert_eq!(scenario.entity.observed.external_id, Some(external("object")));
    assert_eq!(scenario.entity.state, State::Ok, "a stray does not change how the entity stands");
    assert!(scenario.entity.work().is_some(), "it is cleaned up");
    scenario.start(AttemptStep::CleanUp { external_id: external("late") });
    scenario.complete(AttemptStep::CleanUp { external_id: external("late") }, absent());
    assert!(scenario.entity.strays.is_empty() && scenario.entity.work().is_none());
}

#[test]
fn a_stray_is_cleaned_up_even_after_the_end() {
    let mut scenario = Scenario::ok();
    scenario.delete(DeletionPolicy::Delete);
    scenario.start(AttemptStep::Delete);
    scenario.complete(AttemptStep::Delete, absent());
    let late = Intent::RecordExternalId {
        attempt: Attempt(1),
        incarnation: Incarnation(1),
        external_id: external("late"),
    };
    assert_eq!(scenario.then(late.clone()), ["stray_found"]);
    assert!(scenario.then(late).is_empty(), "once is enough");
    assert!(scenario.entity.is_tracked() && scenario.entity.work().is_some());
    assert_eq!(scenario.entity.state, State::Deleted);
}

#[test]
fn the_object_s_own_name_is_no_stray() {
    let mut scenario = Scenario::ok();
    let late = Intent::RecordExternalId {
        attempt: Attempt(0),
        incarnation: Incarnation(1),
        external_id: external("object"),
    };
    assert!(scenario.then(late).is_empty());
}

#[test]
fn a_takeover_abandons_the_running_attempt_and_the_third_one_in_a_row_is_refused() {
    let mut scenario = Scenario::declared();
    scenario.start(AttemptStep::Create);
    assert_eq!(
        scenario.refused(scenario.starting(AttemptStep::Create, None)),
        Refusal::StaleAttempt
    );
    for abandoned in 1..Entity::MAX_ABANDONED {
        let attempt = scenario.entity.attempt;
        let again = scenario.starting(AttemptStep::Create, Some(attempt));
        scenario.then(again);
        assert_eq!(scenario.entity.trouble.abandoned, abandoned);
        assert_eq!(
            scenario.entity.incarnation,
            Incarnation(1),
            "no object was seen: same owner key"
        );
    }
    let attempt = scenario.entity.attempt;
    let fourth = scenario.starting(AttemptStep::Create, Some(attempt));
    assert_eq!(scenario.refused(fourth), Refusal::TooManyAbandoned);
}

#[test]
fn a_plan_for_an_older_wish_is_not_carried_out() {
    let mut scenario = Scenario::ok();
    let old = scenario.starting(update(), None);
    scenario.update(json!({"size": 2}));
    assert_eq!(scenario.refused(old), Refusal::StaleObservation);
}

#[test]
fn a_step_fits_what_was_seen() {
    let scenario = Scenario::ok();
    let Intent::Start { generation, operations, .. } = scenario.starting(AttemptStep::Create, None)
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
        assert!(matches!(scenario.refused(start), Refusal::Unfit(_)));
    }
}

#[test]
fn a_wish_during_an_attempt_is_reached_by_the_next_one() {
    let mut scenario = Scenario::declared();
    scenario.start(AttemptStep::Create);
    scenario.update(json!({"size": 2}));
    scenario.complete(AttemptStep::Create, scenario.present("object"));
    assert_eq!(scenario.entity.state, State::UpdateScheduled);
    assert!(!scenario.entity.synced() && scenario.entity.ready());
    let applied = scenario.entity.applied.clone().expect("the first desired state was reached");
    assert_eq!(applied.desired, json!({"size": 1}));
    scenario.start(update());
    scenario.complete(update(), scenario.present("object"));
    assert_eq!(scenario.entity.state, State::Ok);
}

#[test]
fn a_failure_that_did_nothing_leaves_the_object_known() {
    for (effect, presence) in [(Effect::None, Presence::Absent), (Effect::Maybe, Presence::Unknown)]
    {
        let mut scenario = Scenario::declared();
        scenario.start(AttemptStep::Create);
        let next = Next::Retry { at: scenario.now };
        let mut report = scenario.failure_report(ErrorClass::Transient, next);
        report.error.effect = effect;
        assert_eq!(scenario.then(Intent::Fail(report)), ["sync_failed"]);
        assert_eq!(scenario.entity.observed.presence, presence);
        assert_eq!(scenario.entity.state, State::CreationScheduled);
        assert_eq!(scenario.entity.operations.len(), 1, "it goes on");
    }
}

#[test]
fn rate_limits_and_parked_backends_do_not_use_up_the_budget() {
    let mut scenario = Scenario::declared();
    let limited = ErrorClass::RateLimited { after_ms: 1, scope: String::new() };
    for class in [limited, ErrorClass::Unauthorized, ErrorClass::Misconfigured] {
        scenario.start(AttemptStep::Create);
        let next = Next::Retry { at: scenario.now };
        scenario.fail(class, next);
    }
    assert_eq!(scenario.entity.trouble.failures, 0);
    scenario.start(AttemptStep::Create);
    let next = Next::Retry { at: scenario.now };
    scenario.fail(ErrorClass::Transient, next);
    assert_eq!(scenario.entity.trouble.failures, 1);
}

#[test]
fn giving_up_ends_every_operation_but_actions() {
    let mut scenario = Scenario::ok();
    scenario.update(json!({"size": 2}));
    let operation_id = scenario.operation();
    scenario.then(Intent::Act {
        operation_id,
        action: crate::id::ActionName::from("poke"),
        input: json!({}),
    });
    scenario.start(update());
    scenario.fail(ErrorClass::Bug, Next::Erred);
    assert_eq!(scenario.entity.state, State::Erred);
    assert_eq!(
        scenario.entity.operations.iter().map(|open| open.id).collect::<Vec<_>>(),
        [operation_id]
    );
    assert_eq!(scenario.refused(scenario.starting(update(), None)), Refusal::Erred);
}

#[test]
fn pending_work_survives_and_is_asked_for_again() {
    let mut scenario = Scenario::declared();
    scenario.start(AttemptStep::Create);
    let (handle, poll_at) = (json!({"job": 1}), Timestamp(scenario.now.0 + 5_000_000));
    let progress = |attempt| Intent::Progress { attempt, handle: handle.clone(), poll_at };
    assert_eq!(scenario.refused(progress(Attempt(9))), Refusal::StaleAttempt);
    assert_eq!(scenario.then(progress(Attempt(1))), ["sync_progressed"]);
    assert_eq!(scenario.entity.work().expect("it is polled").due, poll_at);
    scenario.then(Intent::Cancel { operation_id: operation(1) });
    assert!(scenario.entity.is_to_be_stopped());
    assert!(scenario.entity.work().expect("it is stopped").due <= scenario.now);
}

#[test]
fn a_replacement_proves_absence_before_it_makes_anew() {
    let mut scenario = Scenario::ok();
    scenario.replace_for(json!({"size": 2}));
    let replace = AttemptStep::Replace { fields: vec!["/size".to_owned()] };
    scenario.start(replace.clone());
    let unproved = scenario.completion(replace.clone(), scenario.present("object"));
    assert!(matches!(scenario.refused(Intent::Complete(unproved)), Refusal::Unfit(_)));
    scenario.complete(replace, absent());
    assert!(scenario.entity.work().is_some(), "the second half waits");
    scenario.start(AttemptStep::Create);
    assert_eq!(scenario.entity.incarnation, Incarnation(2));
    scenario.complete(AttemptStep::Create, scenario.present("object-2"));
    assert_eq!(scenario.entity.state, State::Ok);
}

#[test]
fn waiting_for_a_lost_creation_neither_uses_the_budget_nor_ends_the_row() {
    let mut scenario = Scenario::declared();
    scenario.start(AttemptStep::Create);
    let lost = scenario.entity.attempt;
    let error = Failure::doubtful(ErrorClass::Ambiguous, Failure::CREATION_SETTLING, "it may run");
    let report = FailureReport {
        attempt: None,
        takes_over: Some(lost),
        error,
        next: Next::Retry { at: Timestamp(9) },
        remaining: Vec::new(),
        action: None,
    };
    assert_eq!(scenario.then(Intent::Fail(report)), ["sync_started", "sync_failed"]);
    let trouble = &scenario.entity.trouble;
    assert_eq!((trouble.failures, trouble.abandoned), (0, 1));
    assert!(scenario.entity.create_lost_at.is_some());
    scenario.start(AttemptStep::Create);
    assert_eq!(scenario.entity.create_lost_at, None, "another request");
    scenario.then(Intent::Complete(
        scenario.completion(AttemptStep::Create, scenario.present("object")),
    ));
    assert_eq!((scenario.entity.trouble.abandoned, scenario.entity.create_lost_at), (0, None));
}
