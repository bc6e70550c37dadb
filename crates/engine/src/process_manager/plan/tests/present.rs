//! The object is there.

use super::*;

fn there(life: &Life, given: Given, size: u64) -> String {
    planned(life, given, &present(size), &Resolution::None)
}

fn settings(change: impl FnOnce(&mut SettingsPatch)) -> SettingsPatch {
    let mut patch = SettingsPatch::default();
    change(&mut patch);
    patch
}

/// In sync, with settings that were changed and applied.
fn synced_with(patch: SettingsPatch) -> Life {
    let life = Life::synced().set(patch);
    let open = !life.entity.operations.is_empty();
    if open { life.completed(observed("object", 1, 1)) } else { life }
}

fn observe_only() -> Life {
    synced_with(settings(|it| it.management_policy = Some(ManagementPolicy::ObserveOnly)))
}

/// Erred after the repair of drift was refused.
fn unrepaired() -> Life {
    let life = Life::drifted(DriftPolicy::Correct).started(update());
    life.failed(ErrorClass::Invalid, Next::Erred)
}

#[test]
fn an_object_as_desired_ends_what_was_asked_for() {
    let changed = Life::synced().updated(json!({"size": 2}));
    let running = changed.clone().started(update());
    let failed = running.clone().failed(ErrorClass::Transient, Next::Retry { at: NOW });
    let corrected = Life::drifted(DriftPolicy::Correct)
        .started(update())
        .failed(ErrorClass::Transient, Next::Retry { at: NOW });
    let observe = "observe Present@1 in sync then await change else await change";
    for (name, life, given, size, expected) in [
        ("check", Life::synced(), CHECK, 1, observe),
        ("declared", Life::declared(), WORK, 1, "complete none for 1 Present@1"),
        ("changed", changed.clone(), WORK, 2, "complete none for 1 Present@2"),
        ("changed, on hold", changed, HELD, 2, "complete none for 1 Present@2"),
        ("abandoned", running, WORK, 2, "complete none over 2 for 1 Present@2"),
        ("failed before", failed, WORK, 2, "complete none for 1 Present@2"),
        ("refresh", Life::synced().refreshed(), WORK, 1, "complete none for 1 Present@1"),
        ("correction failed", corrected, WORK, 1, "complete none Present@1"),
        (
            "erred, reverted by hand",
            Life::erred(),
            CHECK,
            2,
            "observe Present@2 in sync then await change else await change",
        ),
        (
            "erred, reverted by hand, refreshed",
            Life::erred().refreshed(),
            WORK,
            2,
            "observe Present@2 in sync then again else complete none for 1 Present@2",
        ),
        ("repair given up, there again", unrepaired(), CHECK, 1, observe),
        (
            "action",
            Life::synced().acted("reboot"),
            WORK,
            1,
            "start action@1 for 1 on object with {\"size\":1}",
        ),
        ("action, on hold", Life::synced().acted("reboot"), HELD, 1, "wait 30s"),
        (
            "action and refresh",
            Life::synced().acted("reboot").refreshed(),
            WORK,
            1,
            "complete none for 1 Present@1",
        ),
        (
            "action and refresh, on hold",
            Life::synced().acted("reboot").refreshed(),
            HELD,
            1,
            "complete none for 1 Present@1",
        ),
    ] {
        assert_eq!(there(&life, given, size), expected, "{name}");
    }
}

#[test]
fn a_change_is_made_where_it_is_wanted_and_allowed() {
    let changed = || Life::synced().updated(json!({"size": 2}));
    let unsent = Given { may_send: false, ..WORK };
    let abandoned = changed().started(update());
    let failed = abandoned.clone().failed(ErrorClass::Transient, Next::Retry { at: NOW });
    let observe = settings(|it| it.management_policy = Some(ManagementPolicy::ObserveOnly));
    let abandoned_observer = abandoned.clone().set(observe);
    let start = "start update /size@2 for 1 on object with {\"size\":2}";
    for (name, life, given, expected) in [
        ("wanted", changed(), WORK, start),
        ("no time left", changed(), unsent, "wait 0ns"),
        ("on hold", changed(), HELD, "record Present@1, wait 30s"),
        ("paused", changed().paused(), WORK, "record Present@1, wait 30s"),
        (
            "paused, refreshed",
            changed().paused().refreshed(),
            WORK,
            "record Present@1, complete none for 1 Present@1, wait 30s",
        ),
        (
            "abandoned",
            abandoned.clone(),
            WORK,
            "start update /size@2 over 2 for 1 on object with {\"size\":2}",
        ),
        ("abandoned, on hold", abandoned, HELD, "fail paused over 2, retry in 0ns"),
        (
            "abandoned, then observe only",
            abandoned_observer,
            WORK,
            "complete none over 2 for 1 Present@0 differs",
        ),
        (
            "tried again",
            failed,
            WORK,
            "record Present@1, start update /size@2 for 1 on object with {\"size\":2}",
        ),
        ("erred", Life::erred(), CHECK, "record Present@1 differs, await change"),
        (
            "erred, refreshed",
            Life::erred().refreshed(),
            WORK,
            "record Present@1 differs, complete none for 1 Present@1 differs",
        ),
        ("erred, retried", Life::erred().retried(), WORK, start),
        (
            "observe only",
            observe_only().updated(json!({"size": 2})),
            WORK,
            "complete none for 1 Present@1 differs",
        ),
    ] {
        assert_eq!(there(&life, given, 1), expected, "{name}");
    }
}

#[test]
fn drift_is_recorded_and_then_follows_the_policy() {
    let start = "start update /size@1 on object with {\"size\":1}";
    let ignored = synced_with(settings(|it| it.ignore_fields = Some(vec!["/size".to_owned()])));
    let observed = "observe Present@1 differs then again else";
    let failed = Life::drifted(DriftPolicy::Correct)
        .started(update())
        .failed(ErrorClass::Transient, Next::Retry { at: NOW });
    for (name, life, given, expected) in [
        ("new", Life::synced(), CHECK, format!("{observed} await change")),
        ("correct", Life::drifted(DriftPolicy::Correct), WORK, format!("{observed} {start}")),
        (
            "correct, on hold",
            Life::drifted(DriftPolicy::Correct),
            HELD,
            format!("{observed} wait 30s"),
        ),
        ("correct, again", failed, WORK, format!("{observed} {start}")),
        (
            "correct, given up",
            unrepaired(),
            CHECK,
            "record Present@1 differs, await change".to_owned(),
        ),
        ("report", Life::drifted(DriftPolicy::Report), CHECK, format!("{observed} await change")),
        (
            "report, refreshed",
            Life::drifted(DriftPolicy::Report).refreshed(),
            WORK,
            format!("{observed} complete none for 1 Present@1 differs"),
        ),
        (
            "report, with an action",
            Life::drifted(DriftPolicy::Report).acted("reboot"),
            WORK,
            format!("{observed} start action@1 for 1 on object with {{\"size\":1}}"),
        ),
        ("observe only", observe_only(), CHECK, format!("{observed} await change")),
        (
            "ignored field",
            ignored,
            CHECK,
            "observe Present@1 in sync then await change else await change".to_owned(),
        ),
    ] {
        assert_eq!(there(&life, given, 9), expected, "{name}");
    }
}

#[test]
fn an_immutable_change_replaces_only_where_that_is_allowed() {
    let desired = || Some(json!({"size": 1, "zone": "b"}));
    let moved = |patch, once| Life::synced().changed(desired(), patch, once);
    let allowed = settings(|it| it.replace = Some(ReplacePolicy::Allowed));
    let protected = settings(|it| it.protected = Some(true));
    let orphan = settings(|it| it.deletion_policy = Some(DeletionPolicy::Orphan));
    let start = "start replace /zone@2 for 1 on object with {\"size\":1,\"zone\":\"b\"}";
    let refused = "fail replacement_needed, erred";
    for (name, life, expected) in [
        ("not allowed", moved(SettingsPatch::default(), false), refused),
        ("once", moved(SettingsPatch::default(), true), start),
        ("by settings", moved(allowed, false), start),
        ("protected", moved(protected, true), refused),
        ("orphan", moved(orphan, true), refused),
    ] {
        assert_eq!(there(&life, WORK, 1), expected, "{name}");
    }
}

#[test]
fn an_object_goes_when_no_dependent_is_left() {
    let leaving = || Life::synced().deleted(DeletionPolicy::Delete);
    let by = EntityId(Uuid::from_u128(9));
    let in_use = || {
        let failure = Failure::harmless(ErrorClass::InUse { by }, "in_use", "is used");
        Resolution::Dependents(Some(failure))
    };
    let waits = recorded(leaving(), &present(1), &in_use());
    let outside = || {
        let failure = Failure::harmless(ErrorClass::InUseOutside, "in_use", "port p uses it");
        Resolution::Dependents(Some(failure))
    };
    let waits_outside = recorded(leaving(), &present(1), &outside());
    let abandoned = leaving().started(AttemptStep::Delete);
    let free = || Resolution::Dependents(None);
    for (name, life, given, resolution, expected) in [
        ("free", leaving(), WORK, free(), "start delete@1 for 1 on object"),
        ("free, on hold", leaving(), HELD, free(), "wait 30s"),
        ("abandoned", abandoned.clone(), WORK, free(), "start delete@1 over 2 for 1 on object"),
        (
            "in use",
            leaving(),
            WORK,
            in_use(),
            "record Present@1, fail in_use, blocked on InUse(EntityId(00000000-0000-0000-0000-000000000009)) until 300s",
        ),
        ("in use, recorded", waits, WORK, in_use(), "record Present@1, wait 30s"),
        ("in use outside, recorded", waits_outside, WORK, outside(), "record Present@1, wait 300s"),
        (
            "in use, abandoned",
            abandoned,
            WORK,
            in_use(),
            "fail in_use over 2, blocked on InUse(EntityId(00000000-0000-0000-0000-000000000009)) until 300s",
        ),
    ] {
        assert_eq!(planned(&life, given, &present(1), &resolution), expected, "{name}");
    }
    let erred = leaving().started(AttemptStep::Delete).failed(ErrorClass::Invalid, Next::Erred);
    let kept = planned(&erred, CHECK, &present(1), &Resolution::None);
    assert_eq!(kept, "observe Present@1 in sync then await change else await change", "given up");
}

fn referring() -> Value {
    json!({"size": {"$ref": "stub.thing/other", "field": "observed.attributes.size"}})
}

/// Created from a reference that stood for 1.
fn dependent() -> Life {
    let manifest = Manifest { desired: referring(), ..Manifest::default() };
    let life = Life::declared_as(manifest).started(AttemptStep::Create);
    let references = BTreeMap::from([("/size".to_owned(), json!(1))]);
    life.completed(Observed { references, ..observed("object", 1, 1) })
}

fn stands_for(size: u64) -> Resolution<'static> {
    Resolution::Ready(Resolved {
        desired: Cow::Owned(json!({ "size": size })),
        references: BTreeMap::from([("/size".to_owned(), json!(size))]),
        attempted: Vec::new(),
    })
}

fn erred_dependent() -> Life {
    let life = dependent().updated(json!({"size": 2})).started(update());
    life.failed(ErrorClass::Invalid, Next::Erred)
}

#[test]
fn a_dependent_follows_its_references() {
    let observed = |then: &str| format!("record Present@1, {then}");
    let blocked = "fail reference_not_ready, blocked on Reference(stub.thing/other) until 300s";
    let blocked = &observed(blocked);
    let waits = |loss| recorded(dependent(), &present(1), &waiting(loss));
    for (name, life, given, size, resolution, expected) in [
        (
            "same value",
            dependent(),
            CHECK,
            1,
            stands_for(1),
            "observe Present@1 in sync then await change else await change",
        ),
        (
            "new value",
            dependent(),
            WORK,
            1,
            stands_for(2),
            "start update /size@1 on object with {\"size\":2}",
        ),
        (
            "new value, there already",
            dependent(),
            WORK,
            2,
            stands_for(2),
            "complete none Present@1",
        ),
        (
            "drift",
            dependent(),
            CHECK,
            9,
            stands_for(1),
            "observe Present@1 differs then again else await change",
        ),
        ("not ready, check", dependent(), CHECK, 1, waiting(false), &observed("await change")),
        ("not ready, work", dependent(), WORK, 1, waiting(false), blocked),
        ("gone", dependent(), CHECK, 1, waiting(true), blocked),
        ("gone, recorded", waits(true), WORK, 1, waiting(true), &observed("wait 30s")),
        ("erred", erred_dependent(), CHECK, 1, waiting(true), &observed("await change")),
        (
            "erred, refreshed",
            erred_dependent().refreshed(),
            WORK,
            1,
            waiting(true),
            &observed("complete none for 1 Present@1"),
        ),
        (
            "erred, with an action",
            erred_dependent().acted("reboot"),
            WORK,
            1,
            waiting(true),
            blocked,
        ),
        (
            "erred, with an action, on hold",
            erred_dependent().acted("reboot"),
            HELD,
            1,
            waiting(true),
            &observed("wait 30s"),
        ),
    ] {
        assert_eq!(planned(&life, given, &present(size), &resolution), expected, "{name}");
    }
}

#[test]
fn write_only_fields_are_written_when_they_may_be_other() {
    let secret = |name: &str| json!({"size": 1, "password": {"$secret": name}});
    let life = Life::synced().updated(secret("new"));
    let shown = there(&life, WORK, 1);
    assert!(shown.starts_with("start update /password@2 for 1 on object"), "{shown}");
    let immutable = Given { kind: |kind| kind.immutable = vec!["/password".to_owned()], ..WORK };
    assert_eq!(there(&life, immutable, 1), "fail replacement_needed, erred");
    let both = Life::synced().updated(json!({"size": 2, "password": {"$secret": "new"}}));
    let shown = there(&both, WORK, 1);
    assert!(shown.starts_with("start update /size,/password@2 for 1 on object"), "{shown}");
    let observer = observe_only().updated(secret("new"));
    assert_eq!(there(&observer, WORK, 1), "complete none for 1 Present@2");
}
