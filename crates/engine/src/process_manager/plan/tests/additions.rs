//! What others plugged into the object, and what an earlier desired state of its own did.

use super::*;

#[test]
fn what_a_change_plugged_in_before_it_was_taken_back_is_no_addition() {
    let life = |plugged: &[&str]| {
        let desired = json!({"size": 1, "plugged": plugged});
        let life = Life::declared_as(Manifest { desired, ..Manifest::default() });
        life.started(AttemptStep::Create).completed(observed("object", 1, 1))
    };
    let there = |plugged: &[&str]| Observation::Present {
        object: Object { attributes: json!({"size": 1, "plugged": plugged}), ..object(1) },
        extra: Vec::new(),
    };
    let half = life(&["a"])
        .updated(json!({"size": 1, "plugged": ["a", "b", "b"]}))
        .started(AttemptStep::Update { fields: vec!["/plugged".to_owned()] });
    let half = half.failed(ErrorClass::Invalid, Next::Erred);
    let back = half.updated(json!({"size": 1, "plugged": ["a"]}));
    let shown = planned(&back, WORK, &there(&["a", "b"]), &Resolution::None);
    assert!(shown.contains("start update /plugged"), "{shown}");
    assert!(shown.ends_with("{\"plugged\":[\"a\"],\"size\":1}"), "{shown}");
    let shown = planned(&back, WORK, &there(&["a", "b", "other"]), &Resolution::None);
    assert!(shown.ends_with("{\"plugged\":[\"a\",\"other\"],\"size\":1}"), "{shown}");
}

#[test]
fn earlier_values_are_united() {
    for (one, more, expected) in [
        (json!({"a": 1}), json!({"a": 2, "b": [3]}), json!({"a": 1, "b": [3]})),
        (json!(["x", "x", "y"]), json!(["x", "z", "z"]), json!(["x", "x", "y", "z", "z"])),
        (json!({"a": "none"}), json!({"a": ["x"]}), json!({"a": ["x"]})),
        (json!({"a": ["x"]}), json!({"a": "none"}), json!({"a": ["x"]})),
    ] {
        let mut union = one;
        crate::process_manager::plan::present::unite(&mut union, &more);
        assert_eq!(union, expected);
    }
}

#[test]
fn what_others_plugged_in_is_reported_and_left() {
    let plugged = |desired: Value, policy: DriftPolicy| {
        let settings = Settings { drift_policy: policy, ..Settings::default() };
        let life = Life::declared_as(Manifest { desired, settings, ..Manifest::default() });
        let (kind, seen) = (AttemptStep::Create, observed("object", 1, 1));
        life.started(kind).completed(seen)
    };
    let object = |size: u64, plugged: &[&str]| Observation::Present {
        object: Object { attributes: json!({"size": size, "plugged": plugged}), ..object(1) },
        extra: Vec::new(),
    };
    let desired = || json!({"size": 1, "plugged": ["a"]});
    for policy in [DriftPolicy::Correct, DriftPolicy::Report] {
        let life = plugged(desired(), policy);
        let check = |seen: &Observation| planned(&life, CHECK, seen, &Resolution::None);
        let in_sync = "observe Present@1 in sync then await change else await change";
        assert_eq!(check(&object(1, &["a"])), in_sync);
        let reported = "observe Present@1 differs in sync then await change else await change";
        assert_eq!(check(&object(1, &["a", "other"])), reported, "{policy:?}");
        // Once it is known, nothing is to be done about it.
        let diff = with(&life, CHECK, |c| {
            match next_action(c, &object(1, &["a", "other"]), &resolved(&life.entity)) {
                Action::Observe { report, .. } => report.diff,
                other => unreachable!("{other:?}"),
            }
        });
        assert!(diff.iter().all(|difference| difference.addition), "{diff:?}");
        let known = life.clone().seen(observed("object", 1, 1), diff, OnLost::Ask);
        assert!(known.entity.drift.is_some() && known.entity.work().is_none(), "{policy:?}");
    }
    // A correction writes it together with what is wanted.
    let life = plugged(desired(), DriftPolicy::Correct);
    let life = life.seen(observed("object", 9, 1), differs(1, 9), OnLost::Ask);
    assert_eq!(
        planned(&life, WORK, &object(9, &["a", "other"]), &Resolution::None),
        "observe Present@1 differs then again else start update /size@1 on object with \
         {\"plugged\":[\"a\",\"other\"],\"size\":1}"
    );
    let life = plugged(desired(), DriftPolicy::Correct).updated(json!({"size": 2, "plugged": []}));
    assert_eq!(
        planned(&life, WORK, &object(2, &["other"]), &Resolution::None),
        "complete none for 1 Present@2 differs",
        "the change is made, the rest is told"
    );
}
