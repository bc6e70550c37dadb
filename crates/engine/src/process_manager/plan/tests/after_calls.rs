//! After a driver call.

use stateward_domain::failure::Effect;
use stateward_domain::ports::driver::Outcome;

use super::*;

fn done(id: Option<&str>) -> Outcome {
    Outcome::Done { external_id: id.map(external), attributes: Value::Null }
}

fn failure(class: ErrorClass) -> Failure {
    Failure::harmless(class, "driver", "no")
}

fn shown_after(after: &AfterCall) -> String {
    match after {
        AfterCall::Act(action) => shown(action),
        AfterCall::Progress { intent: Intent::Progress { attempt, handle, poll_at }, requeue } => {
            let poll = poll_at.since(NOW);
            format!("progress {attempt} {handle} at {poll:?}, {}", wait(*requeue))
        }
        AfterCall::Verify { made, object } => {
            let made = made.as_ref().map_or(String::new(), |made| match made {
                Intent::RecordExternalId { attempt, incarnation, external_id } => {
                    format!(" made {external_id} by {attempt} as {incarnation}")
                }
                other => format!(" {other:?}"),
            });
            let object = object.as_ref().map_or("search", |id| id.as_str());
            format!("verify {object}{made}")
        }
        AfterCall::VerifyOwner { object, failure } => {
            format!("verify owner of {object} else {}", failure.code)
        }
        other @ AfterCall::Progress { .. } => format!("{other:?}"),
    }
}

fn begun(life: &Life, step: AttemptStep) -> Life {
    life.clone().started(step)
}

/// In a context in which the attempt runs under this lease.
fn running<T>(life: &Life, plan: impl FnOnce(&RoundContext<'_>) -> T) -> T {
    with(life, WORK, |c| plan(&RoundContext { takes_over: None, ..*c }))
}

fn creating() -> Life {
    begun(&Life::declared(), AttemptStep::Create)
}

fn updating() -> Life {
    begun(&Life::synced().updated(json!({"size": 2})), update())
}

fn deleting() -> Life {
    begun(&Life::synced().deleted(DeletionPolicy::Delete), AttemptStep::Delete)
}

fn acting(name: &str) -> Life {
    let life = Life::synced().acted(name);
    let operation_id = life.entity.operations[0].id;
    begun(&life, AttemptStep::Action { operation_id })
}

fn cleaning() -> Life {
    let life = Life::synced();
    let incarnation = life.entity.incarnation;
    let external_id = external("stray");
    let attempt = Attempt(0);
    let life = life.asked(Intent::RecordExternalId { attempt, incarnation, external_id });
    begun(&life, AttemptStep::CleanUp { external_id: external("stray") })
}

#[test]
fn an_outcome_is_verified_recorded_or_waited_for() {
    let pending = || Ok(Outcome::Pending { handle: json!("job"), poll_after_ms: 500 });
    let exists = || {
        let external_id = external("theirs");
        Err(failure(ErrorClass::AlreadyExists { external_id }))
    };
    let gone = || Err(failure(ErrorClass::NotFound));
    for (name, life, outcome, expected) in [
        ("made", creating(), Ok(done(Some("new"))), "verify new made new by 1 as 1"),
        ("made without a name", creating(), Ok(done(None)), "verify search"),
        ("updated", updating(), Ok(done(Some("object"))), "verify object"),
        ("deleted", deleting(), Ok(done(None)), "verify object"),
        ("cleaned up", cleaning(), Ok(done(None)), "verify stray"),
        ("pending", creating(), pending(), "progress 1 \"job\" at 500ms, wait 500ms"),
        ("still pending", creating().pending(), pending(), "wait 500ms"),
        ("identity taken", creating(), exists(), "verify owner of theirs else driver"),
        (
            "conflict on update",
            updating(),
            exists(),
            "fail driver attempt 2, blocked on Decision until never",
        ),
        ("delete of what is gone", deleting(), gone(), "verify object"),
        ("clean-up of what is gone", cleaning(), gone(), "verify stray"),
        ("update of what is gone", updating(), gone(), "fail driver attempt 2, retry in 2s"),
        ("refused", updating(), Err(failure(ErrorClass::Invalid)), "fail driver attempt 2, erred"),
        (
            "transient",
            updating(),
            Err(failure(ErrorClass::Transient)),
            "fail driver attempt 2, retry in 1s",
        ),
        (
            "clean-up failed",
            cleaning(),
            Err(failure(ErrorClass::Invalid)),
            "fail driver attempt 2, retry in 300s",
        ),
        (
            "action refused",
            acting("reboot"),
            Err(failure(ErrorClass::Invalid)),
            "fail driver attempt 2 action, retry in 0ns",
        ),
        (
            "action not sent",
            acting("format"),
            Err(failure(ErrorClass::Transient)),
            "fail driver attempt 2, retry in 1s",
        ),
        ("nothing runs", Life::synced(), Ok(done(None)), "again"),
    ] {
        let after = running(&life, |c| after_call(c, outcome));
        assert_eq!(shown_after(&after), expected, "{name}");
    }
    let lost = || Err(Failure::doubtful(ErrorClass::Ambiguous, "driver", "no"));
    let once = running(&acting("format"), |c| after_call(c, lost()));
    assert_eq!(shown_after(&once), "fail driver attempt 2 action, retry in 0ns");
    let again = running(&acting("reboot"), |c| after_call(c, lost()));
    assert_eq!(shown_after(&again), "fail driver attempt 2, retry in 1s");
}

#[test]
fn an_object_that_has_the_identity_is_ours_by_its_owner_key_alone() {
    let taken = failure(ErrorClass::AlreadyExists { external_id: external("object") });
    let unmarked =
        Observation::Present { object: Object { owner_key: None, ..object(1) }, extra: Vec::new() };
    let refused = "fail driver attempt 1, blocked on Decision until never";
    for (name, observation, expected) in [
        ("ours", present(1), "verify object made object by 1 as 1"),
        ("unmarked", unmarked, refused),
        ("gone", Observation::Absent, refused),
        ("not known", Observation::Failed(failure(ErrorClass::Transient)), refused),
    ] {
        let after = running(&creating(), |c| after_owner_check(c, &observation, &taken));
        assert_eq!(shown_after(&after), expected, "{name}");
    }
}

/// How the attempt ends on `observation`; the entity did not change meanwhile.
fn verified(life: &Life, observation: &Observation, resolution: &Resolution<'_>) -> String {
    running(life, |c| shown(&after_verification(c, &life.entity, observation, resolution)))
}

#[test]
fn an_attempt_succeeds_when_the_observation_shows_it() {
    let failed = Observation::Failed(failure(ErrorClass::Transient));
    let hidden = "fail not_visible_yet attempt 2, retry in 1s";
    for (name, life, observation, expected) in [
        ("created", creating(), present(1), "complete create attempt 1 for 1 Present@1"),
        ("updated", updating(), present(2), "complete update /size attempt 2 for 1 Present@2"),
        (
            "not updated",
            updating(),
            present(1),
            "fail not_converged attempt 2 left /size, retry in 1s",
        ),
        ("deleted", deleting(), Observation::Absent, "complete delete attempt 2 for 1 Absent@0"),
        ("still there", deleting(), present(1), hidden),
        (
            "cleaned up",
            cleaning(),
            Observation::Absent,
            "complete clean up stray attempt 2 Absent@0",
        ),
        (
            "stray still there",
            cleaning(),
            present(1),
            "fail not_visible_yet attempt 2, retry in 300s",
        ),
        ("updated, not seen", updating(), Observation::Absent, hidden),
        ("acted", acting("reboot"), present(1), "complete action attempt 2 for 1 Present@1"),
        (
            "acted on a drifted one",
            acting("reboot"),
            present(9),
            "complete action attempt 2 for 1 Present@1 differs",
        ),
        ("not known", updating(), failed, "fail driver attempt 2, retry in 1s"),
    ] {
        let resolution = resolved(&life.entity);
        assert_eq!(verified(&life, &observation, &resolution), expected, "{name}");
    }
    let waiting = waiting(false);
    let lost = verified(&updating(), &present(2), &waiting);
    let on = "blocked on Reference(stub.thing/other) until 300s";
    assert_eq!(lost, format!("fail reference_not_ready attempt 2, {on}"));
    let acted = verified(&acting("reboot"), &present(9), &waiting);
    assert_eq!(acted, "complete action attempt 2 for 1 Present@1", "it leaves fields alone");
    assert_eq!(verified(&Life::synced(), &present(1), &waiting), "again", "nothing runs");
}

#[test]
fn a_failure_after_a_call_has_an_effect_that_is_not_none() {
    let report = |observation: &Observation, resolution: &Resolution<'_>| {
        let life = updating();
        let action =
            running(&life, |c| after_verification(c, &life.entity, observation, resolution));
        let Action::Fail(report) = action else { unreachable!("{action:?}") };
        report.error.effect
    };
    let failed = Observation::Failed(failure(ErrorClass::Transient));
    assert_eq!(report(&failed, &Resolution::None), Effect::Maybe);
    assert_eq!(report(&present(1), &waiting(false)), Effect::Maybe);
    assert_eq!(report(&Observation::Absent, &Resolution::None), Effect::Maybe);
    assert_eq!(report(&present(1), &resolved(&updating().entity)), Effect::Partial);
}

#[test]
fn a_result_is_compared_with_what_the_attempt_worked_towards() {
    let begun = updating();
    let newer = begun.clone().updated(json!({"size": 3}));
    assert_eq!(desired_of_attempt(&begun.entity, &newer.entity), &json!({"size": 2}));
    assert_eq!(desired_of_attempt(&begun.entity, &begun.entity), &json!({"size": 2}));
    let mut other = newer.clone();
    other.entity.attempt = other.entity.attempt.next();
    assert_eq!(desired_of_attempt(&begun.entity, &other.entity), &json!({"size": 3}));
    for (name, life, observation, expected) in [
        ("update", updating(), present(1), true),
        ("creation", creating(), present(1), true),
        ("action", acting("reboot"), present(1), true),
        ("deletion", deleting(), present(1), false),
        ("clean-up", cleaning(), present(1), false),
        ("absent", updating(), Observation::Absent, false),
        ("nothing runs", Life::synced(), present(1), false),
    ] {
        assert_eq!(running(&life, |c| is_compared(c, &observation)), expected, "{name}");
    }
}

#[test]
fn the_same_difference_three_times_blocks() {
    let mut life = updating();
    life.entity.trouble.remaining = vec!["/size".to_owned()];
    life.entity.trouble.unconverged = 2;
    let resolution = resolved(&life.entity);
    let shown = verified(&life, &present(1), &resolution);
    let expected = "fail not_converged attempt 2 left /size, blocked on NotConverging until 300s";
    assert_eq!(shown, expected);
}

#[test]
fn a_poll_that_failed_is_repeated_unless_it_says_that_the_work_failed() {
    let life = creating().pending();
    let poll =
        |class, age| running(&life, |c| shown_after(&after_poll(c, Err(failure(class)), age)));
    let seconds = Duration::from_secs;
    let limited = ErrorClass::RateLimited { after_ms: 7_000, scope: String::new() };
    for (name, class, age, expected) in [
        ("young", ErrorClass::Transient, seconds(0), "wait 1s"),
        ("older", ErrorClass::Transient, seconds(40), "wait 10s"),
        ("old", ErrorClass::Transient, seconds(40_000), "wait 300s"),
        ("limited", limited, seconds(0), "wait 7s"),
        ("ambiguous", ErrorClass::Ambiguous, seconds(0), "wait 1s"),
        ("credentials", ErrorClass::Unauthorized, seconds(0), "wait 1s"),
        ("invalid", ErrorClass::Invalid, seconds(0), "fail driver attempt 1, erred"),
    ] {
        assert_eq!(poll(class, age), expected, "{name}");
    }
    let invalid = running(&life, |c| after_poll(c, Err(failure(ErrorClass::Invalid)), seconds(0)));
    let AfterCall::Act(Action::Fail(report)) = invalid else { unreachable!("{invalid:?}") };
    assert_eq!(report.error.effect, Effect::Maybe, "the work was accepted");
    // The work failed, and left something: the poll did not.
    let partial = Failure { effect: Effect::Partial, ..failure(ErrorClass::Transient) };
    let ended = running(&life, |c| shown_after(&after_poll(c, Err(partial), seconds(0))));
    assert_eq!(ended, "fail driver attempt 1, retry in 1s");
    let done = running(&life, |c| shown_after(&after_poll(c, Ok(done(Some("new"))), seconds(0))));
    assert_eq!(done, "verify new made new by 1 as 1");
}

#[test]
fn work_that_was_given_up_ends_its_attempt() {
    let cancelled = "fail cancelled attempt 1, retry in 0ns";
    for (name, life, result, expected) in [
        ("stopped", creating().pending(), Ok(()), cancelled),
        ("could not be", creating().pending(), Err(failure(ErrorClass::Invalid)), cancelled),
        ("no answer", creating().pending(), Err(failure(ErrorClass::Transient)), "wait 1s"),
        (
            "an action",
            acting("format").pending(),
            Ok(()),
            "fail cancelled attempt 2 action, retry in 0ns",
        ),
    ] {
        let action = running(&life, |c| after_cancel(c, result, Duration::ZERO));
        assert_eq!(shown(&action), expected, "{name}");
    }
}

#[test]
fn what_follows_a_record_is_when_the_work_is_due() {
    let at = |seconds| Next::Retry { at: NOW.after(Duration::from_secs(seconds)) };
    let retried = |seconds| updating().failed(ErrorClass::Transient, at(seconds));
    let on = BlockedOn::Entity(EntityId::default());
    let check_at = NOW.after(Duration::from_mins(5));
    let blocked = updating().failed(ErrorClass::Transient, Next::Blocked { on, check_at });
    for (name, life, expected) in [
        ("due", retried(0), "again"),
        ("later", retried(7), "wait 7s"),
        ("waits for an entity", blocked, "wait 50ms"),
        ("nothing", Life::synced(), "await change"),
    ] {
        assert_eq!(wait(requeue_for_work(&life.entity, NOW)), expected, "{name}");
    }
}
