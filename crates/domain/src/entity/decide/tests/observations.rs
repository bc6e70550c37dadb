//! Background observations.

use super::*;
use crate::entity::state::{DriftPolicy, State};

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

#[test]
fn no_look_heals_what_was_given_up() {
    let mut scenario = Scenario::erred();
    scenario.observe(scenario.present("object"), Vec::new());
    assert_eq!(scenario.entity.state, State::Erred);
    let operation_id = scenario.operation();
    scenario.then(Intent::Refresh { operation_id });
    scenario.complete(AttemptStep::None, scenario.present("object"));
    assert_eq!(scenario.entity.state, State::Erred);
    assert!(scenario.entity.error.is_some());
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
fn a_look_that_learned_nothing_records_nothing() {
    let mut scenario = Scenario::ok();
    let unknown = Observed { presence: Presence::Unknown, ..Observed::default() };
    assert!(scenario.observe(unknown, Vec::new()).is_empty());
    assert!(scenario.observe(scenario.present("object"), Vec::new()).is_empty());
}
