//! What looks find that nobody asked for.

use super::*;
use crate::entity::state::{DriftPolicy, State};

fn with_policy(drift_policy: DriftPolicy) -> Life {
    let mut life = Life::ok();
    life.settings(SettingsPatch { drift_policy: Some(drift_policy), ..SettingsPatch::default() });
    life
}

#[test]
fn drift_that_is_corrected_is_work() {
    let mut life = with_policy(DriftPolicy::Correct);
    assert_eq!(life.see(life.present("object"), difference()), ["drift_detected"]);
    assert_eq!(life.entity.state, State::Ok, "nobody asked for a change");
    assert!(life.entity.drift.is_some() && life.entity.work().is_some());
    life.start(update());
    life.complete(update(), life.present("object"));
    assert!(life.entity.drift.is_none() && life.entity.work().is_none());
}

#[test]
fn drift_that_is_reported_stays_until_it_is_over() {
    let mut life = with_policy(DriftPolicy::Report);
    life.see(life.present("object"), difference());
    assert!(life.entity.work().is_none() && !life.entity.synced());
    assert!(life.see(life.present("object"), difference()).is_empty(), "told once");
    assert_eq!(life.see(life.present("object"), Vec::new()), ["drift_cleared"]);
    assert!(life.entity.synced());
}

#[test]
fn drift_that_is_ignored_is_no_drift() {
    let mut life = with_policy(DriftPolicy::Ignore);
    let events = life.see(life.present("object"), difference());
    assert!(!events.contains(&"drift_detected"), "{events:?}");
    assert!(life.entity.drift.is_none());
}

#[test]
fn a_refresh_that_sees_known_drift_does_not_end_it() {
    let mut life = with_policy(DriftPolicy::Report);
    life.see(life.present("object"), difference());
    let operation_id = life.operation();
    life.then(Intent::Refresh { operation_id });
    let mut completion = life.completion(AttemptStep::None, life.present("object"));
    completion.diff = difference();
    assert_eq!(life.then(Intent::Complete(completion)), ["sync_completed"]);
    assert!(life.entity.drift.is_some() && life.entity.operations.is_empty());

    let operation_id = life.operation();
    life.then(Intent::Refresh { operation_id });
    let events = life.complete(AttemptStep::None, life.present("object"));
    assert_eq!(events, ["drift_cleared", "sync_completed"]);
    assert!(life.entity.drift.is_none());
}

#[test]
fn a_look_that_began_before_something_else_is_not_believed() {
    let mut life = Life::ok();
    let before = life.sighting(life.present("object"), difference());
    life.update(serde_json::json!({"size": 2}));
    assert_eq!(life.refused(Intent::Observe(before)), Refusal::StaleObservation);
    let during = life.sighting(life.present("object"), difference());
    life.start(update());
    assert_eq!(life.refused(Intent::Observe(during)), Refusal::StaleObservation);
}

#[test]
fn no_look_heals_what_was_given_up() {
    let mut life = Life::erred();
    life.see(life.present("object"), Vec::new());
    assert_eq!(life.entity.state, State::Erred);
    let operation_id = life.operation();
    life.then(Intent::Refresh { operation_id });
    life.complete(AttemptStep::None, life.present("object"));
    assert_eq!(life.entity.state, State::Erred);
    assert!(life.entity.error.is_some());
}

#[test]
fn a_lost_object_follows_its_policy() {
    for (on_lost, works) in
        [(OnLost::Ask, false), (OnLost::Recreate, true), (OnLost::Report, false)]
    {
        let mut life = Life::ok();
        let sighting = ObservationReport { on_lost, ..life.sighting(absent(), Vec::new()) };
        assert_eq!(life.then(Intent::Observe(sighting)), ["observed_changed"]);
        assert!(life.entity.lost.is_some() && !life.entity.synced());
        assert_eq!(life.entity.work().is_some(), works, "{on_lost:?}");
        assert_eq!(life.entity.blocked.is_some(), on_lost == OnLost::Ask);
        assert!(life.see(absent(), Vec::new()).is_empty(), "told once");
    }
}

#[test]
fn a_refresh_of_a_lost_object_is_due() {
    let mut life = Life::ok();
    let operation_id = life.operation();
    life.then(Intent::Refresh { operation_id });
    life.see(absent(), Vec::new());
    assert!(life.entity.blocked.is_some());
    assert!(life.entity.work().is_some_and(|work| work.due <= life.now));
}

#[test]
fn an_object_that_returns_needs_no_decision() {
    let mut life = Life::ok();
    life.see(absent(), Vec::new());
    assert_eq!(life.see(life.present("object"), Vec::new()), ["drift_cleared"]);
    assert!(life.entity.lost.is_none() && life.entity.blocked.is_none() && life.entity.synced());
}

#[test]
fn a_look_that_learned_nothing_records_nothing() {
    let mut life = Life::ok();
    let unknown = Observed { presence: Presence::Unknown, ..Observed::default() };
    assert!(life.see(unknown, Vec::new()).is_empty());
    assert!(life.see(life.present("object"), Vec::new()).is_empty());
}
