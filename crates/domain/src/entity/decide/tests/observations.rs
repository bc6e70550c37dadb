//! Background observations.

use super::*;
use crate::entity::state::{Decision, Difference, DriftPolicy, State};
use crate::failure::Effect;

fn with_policy(drift_policy: DriftPolicy) -> Scenario {
    let mut scenario = Scenario::ok();
    scenario
        .settings(SettingsPatch { drift_policy: Some(drift_policy), ..SettingsPatch::default() });
    scenario
}

#[test]
fn drift_that_is_corrected_is_work() {
    let mut scenario = with_policy(DriftPolicy::Correct);
    assert_eq!(scenario.observe(scenario.present("object"), difference()), ["drift_detected"]);
    assert_eq!(scenario.entity.state, State::Ok, "no change was requested");
    assert!(scenario.entity.drift.is_some() && scenario.entity.work().is_some());
    scenario.start(update());
    scenario.complete(update(), scenario.present("object"));
    assert!(scenario.entity.drift.is_none() && scenario.entity.work().is_none());
}

#[test]
fn drift_that_is_reported_stays_until_it_is_over() {
    let mut scenario = with_policy(DriftPolicy::Report);
    scenario.observe(scenario.present("object"), difference());
    assert!(scenario.entity.work().is_none() && !scenario.entity.synced());
    assert!(scenario.observe(scenario.present("object"), difference()).is_empty(), "recorded once");
    assert_eq!(scenario.observe(scenario.present("object"), Vec::new()), ["drift_cleared"]);
    assert!(scenario.entity.synced());
}

#[test]
fn drift_that_is_ignored_is_no_drift() {
    let mut scenario = with_policy(DriftPolicy::Ignore);
    let events = scenario.observe(scenario.present("object"), difference());
    assert!(!events.contains(&"drift_detected"), "{events:?}");
    assert!(scenario.entity.drift.is_none());
}

#[test]
fn a_refresh_that_sees_known_drift_does_not_end_it() {
    let mut scenario = with_policy(DriftPolicy::Report);
    scenario.observe(scenario.present("object"), difference());
    let operation_id = scenario.operation();
    scenario.then(Intent::Refresh { operation_id });
    let mut completion = scenario.completion(AttemptStep::None, scenario.present("object"));
    completion.diff = difference();
    assert_eq!(scenario.then(Intent::Complete(completion)), ["sync_completed"]);
    assert!(scenario.entity.drift.is_some() && scenario.entity.operations.is_empty());

    let operation_id = scenario.operation();
    scenario.then(Intent::Refresh { operation_id });
    let events = scenario.complete(AttemptStep::None, scenario.present("object"));
    assert_eq!(events, ["drift_cleared", "sync_completed"]);
    assert!(scenario.entity.drift.is_none());
}

#[test]
fn a_look_that_began_before_something_else_is_not_believed() {
    let mut scenario = Scenario::ok();
    let before = scenario.observation(scenario.present("object"), difference());
    scenario.update(serde_json::json!({"size": 2}));
    assert_eq!(scenario.refused(Intent::Observe(before)), Refusal::StaleObservation);
    let during = scenario.observation(scenario.present("object"), difference());
    scenario.start(update());
    assert_eq!(scenario.refused(Intent::Observe(during)), Refusal::StaleObservation);
}

/// Erred after the repair of drift was refused.
fn unrepaired() -> Scenario {
    let mut scenario = with_policy(DriftPolicy::Correct);
    scenario.observe(scenario.present("object"), difference());
    scenario.start(update());
    scenario.fail(ErrorClass::Invalid, Next::Erred);
    assert_eq!(scenario.entity.state, State::Erred);
    scenario
}

fn observed_otherwise(scenario: &Scenario) -> (Observed, Vec<Difference>) {
    let (before, mut diff) = (scenario.present("object"), difference());
    diff[0].observed = json!(8);
    (Observed { attributes: Some(json!({"size": 8})), ..before }, diff)
}

#[test]
fn an_object_that_is_as_desired_ends_the_error_by_an_event_of_its_own() {
    let created = || {
        let mut scenario = Scenario::declared();
        scenario.start(AttemptStep::Create);
        scenario.fail(ErrorClass::Invalid, Next::Erred);
        scenario
    };
    for (name, mut scenario, expected) in [
        ("creation", created(), vec!["error_cleared"]),
        ("change", Scenario::erred(), vec!["error_cleared"]),
        ("repair", unrepaired(), vec!["drift_cleared", "error_cleared"]),
    ] {
        let failed = scenario.entity.operations.clone();
        assert_eq!(scenario.observe(scenario.present("object"), Vec::new()), expected, "{name}");
        let entity = &scenario.entity;
        assert_eq!((entity.state, entity.synced()), (State::Ok, true), "{name}");
        assert!(entity.error.is_none() && entity.work().is_none(), "{name}");
        let applied = entity.applied.as_ref().map(|applied| &applied.desired);
        assert_eq!(applied, Some(&entity.manifest.desired), "{name}: it is what is there");
        assert_eq!(entity.operations, failed, "{name}: no operation opens or ends");
        assert!(
            scenario.observe(scenario.present("object"), Vec::new()).is_empty(),
            "{name}: once"
        );
    }
}

#[test]
fn an_error_stays_while_the_object_differs_and_the_observation_is_recorded() {
    let mut scenario = Scenario::erred();
    let before = scenario.entity.observed.generation;
    let seen = Observed { generation: before, ..scenario.present("object") };
    assert_eq!(scenario.observe(seen.clone(), difference()), ["drift_detected"]);
    assert_eq!(scenario.entity.state, State::Erred);
    assert_eq!(scenario.entity.observed.attributes, seen.attributes);
    assert!(scenario.entity.drift.is_some() && scenario.entity.work().is_none());
    assert!(scenario.observe(seen, difference()).is_empty(), "recorded once");
    let (seen, diff) = observed_otherwise(&scenario);
    let seen = Observed { generation: before, ..seen };
    assert_eq!(scenario.observe(seen, diff), ["drift_detected"], "a user's change is not retried");
    assert_eq!(scenario.entity.state, State::Erred);
}

#[test]
fn a_repair_that_was_given_up_is_tried_again_once_the_object_changed() {
    let mut scenario = unrepaired();
    assert!(scenario.observe(scenario.present("object"), difference()).is_empty());
    assert_eq!(scenario.entity.state, State::Erred, "nothing changed");
    let (seen, diff) = observed_otherwise(&scenario);
    assert_eq!(scenario.observe(seen, diff), ["drift_detected", "error_cleared"]);
    assert!(scenario.entity.work().is_some() && scenario.entity.drift.is_some());
    scenario.start(update());
    scenario.complete(update(), scenario.present("object"));
    assert!(scenario.entity.synced() && scenario.entity.state == State::Ok);
}

#[test]
fn what_was_attempted_is_known_until_one_desired_state_is_applied() {
    let mut scenario = Scenario::ok();
    let applied = scenario.entity.manifest.desired.clone();
    scenario.start(update());
    scenario.fail(ErrorClass::Invalid, Next::Erred);
    assert!(scenario.entity.attempted.is_empty(), "the applied one is known");
    for size in 2..12 {
        scenario.update(json!({"size": size}));
        for _ in 0..2 {
            scenario.start(update());
            scenario.fail(ErrorClass::Transient, Next::Retry { at: Timestamp(9) });
        }
    }
    let sizes = scenario.entity.attempted.iter().map(|desired| desired["size"].clone());
    assert_eq!(sizes.collect::<Vec<_>>(), (4..12).map(Value::from).collect::<Vec<_>>());
    scenario.update(applied);
    assert_eq!(scenario.entity.attempted.len(), Entity::MAX_ATTEMPTED);
    scenario.start(update());
    scenario.complete(update(), scenario.present("object"));
    assert!(scenario.entity.attempted.is_empty());
}

#[test]
fn what_a_person_or_a_bug_ended_is_no_repair() {
    let bug = || {
        let mut scenario = with_policy(DriftPolicy::Correct);
        scenario.observe(scenario.present("object"), difference());
        scenario.start(update());
        scenario.fail(ErrorClass::Bug, Next::Erred);
        scenario
    };
    let reported = || {
        let mut scenario = unrepaired();
        let drift_policy = Some(DriftPolicy::Report);
        scenario.settings(SettingsPatch { drift_policy, ..SettingsPatch::default() });
        scenario
    };
    let given_up = || {
        let mut scenario = with_policy(DriftPolicy::Correct);
        scenario.observe(scenario.present("object"), difference());
        scenario.fail(ErrorClass::Invalid, blocked(BlockedOn::Decision));
        let operation_id = scenario.operation();
        scenario.then(Intent::Decide { operation_id, decision: Decision::GiveUp });
        scenario
    };
    let another_failure = |mut scenario: Scenario| {
        scenario.fail(ErrorClass::Transient, Next::Retry { at: Timestamp(9) });
        scenario
    };
    for (name, mut scenario) in [
        ("bug", bug()),
        ("report", reported()),
        ("person", given_up()),
        ("bug, then another failure", another_failure(bug())),
        ("person, then another failure", another_failure(given_up())),
    ] {
        let (seen, diff) = observed_otherwise(&scenario);
        assert_eq!(scenario.observe(seen, diff), ["drift_detected"], "{name}");
        assert_eq!(scenario.entity.state, State::Erred, "{name}");
    }
}

#[test]
fn a_deletion_that_was_given_up_stays_so() {
    let mut scenario = Scenario::ok();
    scenario.delete(DeletionPolicy::Delete);
    scenario.start(AttemptStep::Delete);
    scenario.fail(ErrorClass::Invalid, Next::Erred);
    let events = scenario.observe(scenario.present("object"), Vec::new());
    assert!(!events.contains(&"error_cleared"), "{events:?}");
    assert_eq!(scenario.entity.state, State::Erred);
}

#[test]
fn an_observation_that_compared_nothing_ends_no_error() {
    let mut scenario = unrepaired();
    let observation = ObservationReport {
        in_sync: false,
        ..scenario.observation(scenario.present("object"), Vec::new())
    };
    scenario.then(Intent::Observe(observation));
    assert_eq!(scenario.entity.state, State::Erred);
}

#[test]
fn what_a_failed_creation_left_is_known_to_be_gone() {
    let mut scenario = Scenario::declared();
    scenario.start(AttemptStep::Create);
    let mut report = scenario.failure_report(ErrorClass::Invalid, Next::Erred);
    report.error.effect = Effect::Maybe;
    scenario.then(Intent::Fail(report));
    assert_eq!(scenario.entity.observed.presence, Presence::Unknown);
    assert_eq!(scenario.observe(absent(), Vec::new()), ["observed_changed"]);
    assert_eq!(scenario.entity.observed.presence, Presence::Absent);
    assert!(scenario.entity.lost.is_none() && scenario.entity.state == State::Erred);
    assert!(scenario.observe(absent(), Vec::new()).is_empty(), "recorded once");
}

#[test]
fn a_lost_object_follows_its_policy() {
    for (on_lost, works) in
        [(OnLost::Ask, false), (OnLost::Recreate, true), (OnLost::Report, false)]
    {
        let mut scenario = Scenario::ok();
        let observation =
            ObservationReport { on_lost, ..scenario.observation(absent(), Vec::new()) };
        assert_eq!(scenario.then(Intent::Observe(observation)), ["observed_changed"]);
        assert!(scenario.entity.lost.is_some() && !scenario.entity.synced());
        assert_eq!(scenario.entity.work().is_some(), works, "{on_lost:?}");
        assert_eq!(scenario.entity.blocked.is_some(), on_lost == OnLost::Ask);
        assert!(scenario.observe(absent(), Vec::new()).is_empty(), "recorded once");
    }
}

#[test]
fn another_proof_that_a_lost_object_is_gone_does_not_bring_it_back() {
    let mut scenario = Scenario::ok();
    scenario.observe(absent(), Vec::new());
    let operation_id = scenario.operation();
    scenario.then(Intent::Decide { operation_id, decision: Decision::Create });
    scenario.start(AttemptStep::Create);
    let mut report = scenario.failure_report(ErrorClass::Invalid, Next::Erred);
    report.error.effect = Effect::Maybe;
    scenario.then(Intent::Fail(report));
    let lost = scenario.entity.lost.clone();
    scenario.observe(absent(), Vec::new());
    assert_eq!((&scenario.entity.lost, scenario.entity.state), (&lost, State::Erred));
    assert!(!scenario.entity.synced());
}

#[test]
fn an_error_that_ends_beside_what_others_added_leaves_the_object_as_applied() {
    let mut scenario = Scenario::declared();
    scenario.start(AttemptStep::Create);
    scenario.fail(ErrorClass::Invalid, Next::Erred);
    let added: Vec<_> =
        difference().into_iter().map(|one| Difference { addition: true, ..one }).collect();
    let observation = ObservationReport {
        in_sync: true,
        ..scenario.observation(scenario.present("object"), added)
    };
    assert_eq!(scenario.then(Intent::Observe(observation)), ["drift_detected", "error_cleared"]);
    let entity = &scenario.entity;
    assert_eq!((entity.state, entity.work().is_none()), (State::Ok, true));
    let applied = entity.applied.as_ref().map(|applied| &applied.desired);
    assert_eq!(applied, Some(&entity.manifest.desired), "dependents may use it");
}

#[test]
fn a_refresh_of_a_lost_object_is_due() {
    let mut scenario = Scenario::ok();
    let operation_id = scenario.operation();
    scenario.then(Intent::Refresh { operation_id });
    scenario.observe(absent(), Vec::new());
    assert!(scenario.entity.blocked.is_some());
    assert!(scenario.entity.work().is_some_and(|work| work.due <= scenario.now));
}

#[test]
fn an_object_that_returns_needs_no_decision() {
    let mut scenario = Scenario::ok();
    scenario.observe(absent(), Vec::new());
    assert_eq!(scenario.observe(scenario.present("object"), Vec::new()), ["drift_cleared"]);
    assert!(
        scenario.entity.lost.is_none()
            && scenario.entity.blocked.is_none()
            && scenario.entity.synced()
    );
}

#[test]
fn an_object_that_cannot_be_used_is_in_sync_and_not_ready() {
    let mut scenario = Scenario::ok();
    let ready = |scenario: &Scenario| {
        let conditions = scenario.entity.conditions();
        let ready = conditions.into_iter().find(|condition| condition.kind == "ready");
        ready.map(|ready| (ready.status, ready.reason, ready.message)).expect("it has one")
    };
    assert_eq!(ready(&scenario), (true, "Present", String::new()));
    let why = "its status is SHUTOFF".to_owned();
    let stopped = Observed { unready: Some(why.clone()), ..scenario.present("object") };
    assert_eq!(scenario.observe(stopped.clone(), Vec::new()), ["observed_changed"]);
    assert_eq!(ready(&scenario), (false, "NotReady", why));
    assert!(scenario.entity.synced() && scenario.entity.ready_since == scenario.now);
    assert!(scenario.observe(stopped, Vec::new()).is_empty(), "recorded once");
    scenario.observe(scenario.present("object"), Vec::new());
    assert!(ready(&scenario).0);
}

#[test]
fn a_look_that_learned_nothing_records_nothing() {
    let mut scenario = Scenario::ok();
    let unknown = Observed { presence: Presence::Unknown, ..Observed::default() };
    assert!(scenario.observe(unknown, Vec::new()).is_empty());
    assert!(scenario.observe(scenario.present("object"), Vec::new()).is_empty());
}

#[test]
fn what_others_added_is_drift_and_no_work() {
    let added = || vec![Difference { addition: true, ..difference().remove(0) }];
    let mut scenario = with_policy(DriftPolicy::Correct);
    assert_eq!(scenario.observe(scenario.present("object"), added()), ["drift_detected"]);
    assert!(scenario.entity.work().is_none() && !scenario.entity.synced());
    let both = [added(), difference()].concat();
    scenario.observe(scenario.present("object"), both);
    assert!(scenario.entity.work().is_some(), "the other difference is corrected");
    scenario.start(update());
    let mut completion = scenario.completion(update(), scenario.present("object"));
    completion.diff = added();
    let events = scenario.then(Intent::Complete(completion));
    assert_eq!(events, ["sync_completed", "drift_detected"]);
    assert!(scenario.entity.drift.is_some() && scenario.entity.work().is_none());
    // A change that leaves it ends no drift that is still there.
    scenario.update(json!({"size": 2}));
    scenario.start(update());
    let mut completion = scenario.completion(update(), scenario.present("object"));
    completion.diff = added();
    scenario.then(Intent::Complete(completion));
    assert!(scenario.entity.drift.is_some(), "known, and recorded again");
}
