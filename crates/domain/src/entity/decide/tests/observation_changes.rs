//! What of an observation counts as a change, and which observations are not believed: each part on its own.

use super::*;
use crate::entity::state::{DriftPolicy, State};

/// An observation that differs from `before` in one part.
fn differing(before: &Observed) -> Vec<(&'static str, Observed)> {
    let attributes = Some(json!({"size": 7}));
    vec![
        ("attributes", Observed { attributes, ..before.clone() }),
        ("readiness", Observed { unready: Some("down".to_owned()), ..before.clone() }),
        ("external id", Observed { external_id: Some(external("other")), ..before.clone() }),
    ]
}

#[test]
fn each_part_of_an_observation_is_recorded_when_it_alone_changes() {
    let scenario = Scenario::ok();
    let before = scenario.entity.observed.clone();
    for (part, observed) in differing(&before) {
        let mut scenario = Scenario::ok();
        assert_eq!(scenario.observe(observed, Vec::new()), ["observed_changed"], "{part}");
    }
    let mut scenario = Scenario::ok();
    assert!(scenario.observe(before.clone(), Vec::new()).is_empty(), "as it was");
    let unknown = Observed { presence: Presence::Unknown, ..before.clone() };
    scenario.entity.observed = unknown;
    assert_eq!(scenario.observe(before, Vec::new()), ["observed_changed"], "presence");
}

#[test]
fn an_observation_is_stale_for_each_reason_alone() {
    let scenario = Scenario::ok();
    let fresh = || scenario.observation(scenario.present("object"), difference());
    assert!(scenario.ask(Intent::Observe(fresh())).is_ok());
    let other_attempt = ObservationReport { attempt: Attempt(0), ..fresh() };
    let other_generation = ObservationReport { generation: Generation(0), ..fresh() };
    for report in [other_attempt, other_generation] {
        assert_eq!(scenario.refused(Intent::Observe(report)), Refusal::StaleObservation);
    }
    let mut scenario = Scenario::ok();
    scenario.update(json!({"size": 2}));
    scenario.start(update());
    let during = scenario.observation(scenario.present("object"), difference());
    assert_eq!(scenario.refused(Intent::Observe(during)), Refusal::StaleObservation);
}

#[test]
fn an_object_that_was_lost_track_of_is_lost_unless_it_is_being_replaced() {
    for (replacing, events) in [(false, vec!["observed_changed"]), (true, vec![])] {
        let mut scenario = Scenario::ok();
        scenario.entity.observed.presence = Presence::Unknown;
        scenario.entity.replacing = replacing;
        assert_eq!(scenario.observe(absent(), Vec::new()), events, "replacing: {replacing}");
        assert_eq!(scenario.entity.lost.is_some(), !replacing);
    }
}

#[test]
fn a_repair_is_tried_again_when_any_part_of_the_object_changed() {
    let erred = || {
        let mut scenario = Scenario::ok();
        let drift_policy = Some(DriftPolicy::Correct);
        scenario.settings(SettingsPatch { drift_policy, ..SettingsPatch::default() });
        scenario.observe(scenario.present("object"), difference());
        scenario.start(update());
        scenario.fail(ErrorClass::Invalid, Next::Erred);
        scenario
    };
    let before = erred().entity.observed;
    let mut otherwise = difference();
    otherwise[0].observed = json!(8);
    let attributes = Observed { attributes: Some(json!({"size": 8})), ..before.clone() };
    let external_id = Observed { external_id: Some(external("other")), ..before.clone() };
    for (part, observed, diff) in [
        ("attributes", attributes, difference()),
        ("external id", external_id, difference()),
        ("difference", before.clone(), otherwise),
    ] {
        let mut scenario = erred();
        let events = scenario.observe(observed, diff);
        assert!(events.contains(&"error_cleared"), "{part}: {events:?}");
        assert_eq!(scenario.entity.state, State::Ok, "{part}");
    }
    let mut scenario = erred();
    assert!(scenario.observe(before, difference()).is_empty(), "as it was");
    assert_eq!(scenario.entity.state, State::Erred);
}
