//! The object is not there.

use super::*;

fn absent(life: &Life, given: Given) -> String {
    planned(life, given, &Observation::Absent, &Resolution::None)
}

fn adopts() -> Life {
    let external_id = Some(external("theirs"));
    let desired = json!({"size": 1});
    Life::declared_as(Manifest { desired, external_id, ..Manifest::default() })
}

fn observe_only() -> Life {
    let mut manifest = Manifest { desired: json!({"size": 1}), ..Manifest::default() };
    manifest.settings.management_policy = ManagementPolicy::ObserveOnly;
    Life::declared_as(manifest)
}

fn refused() -> Life {
    let life = Life::declared().started(AttemptStep::Create);
    life.failed(ErrorClass::Invalid, Next::Erred)
}

fn half_replaced() -> Life {
    let desired = Some(json!({"size": 1, "zone": "b"}));
    let life = Life::synced().changed(desired, SettingsPatch::default(), true);
    life.started(AttemptStep::Replace { fields: vec!["/zone".to_owned()] })
}

fn replacing() -> Life {
    half_replaced().completed(Observed::default())
}

#[test]
fn after_a_loss_an_object_is_made_once_a_lost_creation_is_over_and_its_object_searched_for() {
    let lost = |seconds| Given { lost_creation: Some(Duration::from_secs(seconds)), ..WORK };
    let named: fn(&mut KindSpec) = |kind| {
        kind.owner_key = false;
        kind.identity = Some("/size".to_owned());
    };
    let taken_over = Life::declared().started(AttemptStep::Create);
    let searched = "start create@1 for 1 with {\"size\":1} after a search";
    for (name, life, given, expected) in [
        ("it may still run", Life::declared(), lost(5), "wait 2s"),
        ("it is soon over", Life::declared(), lost(1), "wait 1s"),
        ("it is over", Life::declared(), lost(0), searched),
        ("found by its name", Life::declared(), Given { kind: named, ..lost(0) }, {
            "start create@1 for 1 with {\"size\":1}"
        }),
        ("on hold", Life::declared(), Given { writable: false, ..lost(5) }, "wait 30s"),
        ("abandoned", taken_over, lost(5), "fail creation_settling over 1, retry in 2s"),
        (
            "second half of a replacement",
            replacing(),
            lost(0),
            "start create@2 for 1 with {\"size\":1,\"zone\":\"b\"} after a search",
        ),
    ] {
        assert_eq!(absent(&life, given), expected, "{name}");
    }
}

#[test]
fn an_object_is_made_once_it_is_proved_absent() {
    let create = "start create@1 for 1 with {\"size\":1}";
    let unsent = Given { may_send: false, ..WORK };
    let taken_over = Life::declared().started(AttemptStep::Create);
    let updated = Life::declared().updated(json!({"size": 2}));
    let ask = "fail object_not_found, blocked on Decision until never";
    for (name, life, given, expected) in [
        ("declared", Life::declared(), WORK, create),
        ("changed before it was made", updated, WORK, "start create@2 for 1 with {\"size\":2}"),
        ("no time left", Life::declared(), unsent, "wait 0ns"),
        ("backend on hold", Life::declared(), HELD, "wait 30s"),
        ("paused", Life::declared().paused(), WORK, "wait 30s"),
        (
            "after an abandoned creation",
            taken_over.clone(),
            WORK,
            "start create@1 over 1 for 1 with {\"size\":1}",
        ),
        ("after one, on hold", taken_over, HELD, "fail paused over 1, retry in 0ns"),
        ("refused, check", refused(), CHECK, "record Absent@0, await change"),
        ("refused, refreshed", refused().refreshed(), WORK, "complete none for 1 Absent@0"),
        (
            "first half of a replacement, abandoned",
            half_replaced(),
            WORK,
            "start create@2 over 2 for 1 with {\"size\":1,\"zone\":\"b\"}",
        ),
        (
            "second half of a replacement",
            replacing(),
            WORK,
            "start create@2 for 1 with {\"size\":1,\"zone\":\"b\"}",
        ),
        ("adopts", adopts(), WORK, ask),
        ("observe only", observe_only(), WORK, "fail object_not_found, retry in 2s"),
    ] {
        assert_eq!(absent(&life, given), expected, "{name}");
    }
}

#[test]
fn a_creation_waits_for_references() {
    for (name, given, loss, expected) in [
        (
            "not ready",
            WORK,
            false,
            "fail reference_not_ready, blocked on Reference(stub.thing/other) until 300s",
        ),
        (
            "gone",
            WORK,
            true,
            "fail reference_not_ready, blocked on Reference(stub.thing/other) until 300s",
        ),
        ("on hold", HELD, false, "wait 30s"),
    ] {
        let shown = planned(&Life::declared(), given, &Observation::Absent, &waiting(loss));
        assert_eq!(shown, expected, "{name}");
    }
}

#[test]
fn a_deletion_ends_with_proved_absence() {
    let leaving = Life::synced().deleted(DeletionPolicy::Delete);
    let running = leaving.clone().started(AttemptStep::Delete);
    for (name, life, given, expected) in [
        ("wanted", leaving.clone(), WORK, "complete none for 1 Absent@0"),
        ("on hold", leaving, HELD, "complete none for 1 Absent@0"),
        ("abandoned", running, WORK, "complete none over 2 for 1 Absent@0"),
    ] {
        assert_eq!(absent(&life, given), expected, "{name}");
    }
}

#[test]
fn a_loss_is_recorded_and_then_follows_the_policy() {
    let ask = "fail object_lost, blocked on Decision until never";
    let decided = Life::lost(OnLost::Ask)
        .requested(|operation_id| Intent::Decide { operation_id, decision: Decision::Create });
    let abandoned = Life::synced().updated(json!({"size": 2})).started(update());
    for (name, life, expected) in [
        ("lost", Life::synced(), "loss Absent Ask"),
        ("lost with a change", Life::synced().updated(json!({"size": 2})), "loss Absent Ask"),
        ("lost under an abandoned attempt", abandoned, "fail object_lost over 2, retry in 2s"),
        ("ask", Life::lost(OnLost::Ask), "await change"),
        ("ask, and refresh", Life::lost(OnLost::Ask).refreshed(), ask),
        ("ask, after a change", Life::lost(OnLost::Ask).updated(json!({"size": 2})), ask),
        ("decided", decided.clone(), "start create@1 for 1 with {\"size\":1}"),
        ("recreate", Life::lost(OnLost::Recreate), "start create@1 with {\"size\":1}"),
        ("report", Life::lost(OnLost::Report), "await change"),
        (
            "recreation abandoned",
            Life::lost(OnLost::Recreate).started(AttemptStep::Create),
            "start create@1 over 2 with {\"size\":1}",
        ),
        (
            "decided, abandoned",
            decided.clone().started(AttemptStep::Create),
            "start create@1 over 2 for 1 with {\"size\":1}",
        ),
        ("erred", Life::erred(), "loss Absent Ask"),
    ] {
        assert_eq!(absent(&life, WORK), expected, "{name}");
    }
    let configured = |c: &RoundContext<'_>| {
        let mut settings = c.settings.clone();
        settings.on_lost = Some(OnLost::Recreate);
        let c = RoundContext { settings: &settings, ..*c };
        shown(&next_action(&c, &Observation::Absent, &Resolution::None))
    };
    assert_eq!(with(&Life::synced(), WORK, configured), "loss Absent Recreate");
}

#[test]
fn what_is_asked_of_a_missing_object_ends() {
    let reported = || Life::lost(OnLost::Report);
    for (name, life, expected) in [
        ("refresh", reported().refreshed(), "complete none for 1 Absent@0"),
        ("action", reported().acted("reboot"), "fail no_object action, retry in 0ns"),
        ("both", reported().acted("reboot").refreshed(), "complete none for 1 Absent@0"),
    ] {
        assert_eq!(absent(&life, WORK), expected, "{name}");
    }
}

#[test]
fn a_creation_that_may_still_show_is_waited_for() {
    let settling = Observation::Settling { left: Duration::from_secs(2) };
    let taken_over = Life::declared().started(AttemptStep::Create);
    for (name, life, expected) in [
        ("unknown", Life::declared(), "wait 2s"),
        ("abandoned", taken_over, "fail creation_settling over 1, retry in 2s"),
    ] {
        assert_eq!(planned(&life, WORK, &settling, &Resolution::None), expected, "{name}");
    }
}
