//! Observations that prove little, and objects that are not the entity's.

use super::*;
use crate::process_manager::plan::found;

#[test]
fn a_failed_observation_is_recorded_where_something_waits_for_it() {
    let unknown = || Observation::Unknown { reason: "no rights".to_owned() };
    let failed = |class| Observation::Failed(Failure::harmless(class, "driver", "no"));
    let abandoned = Life::declared().started(AttemptStep::Create);
    for (name, life, given, observation, expected) in [
        ("check", Life::synced(), CHECK, unknown(), "await change"),
        ("check, transient", Life::synced(), CHECK, failed(ErrorClass::Transient), "await change"),
        (
            "check, a driver's fault",
            Life::synced(),
            CHECK,
            failed(ErrorClass::Bug),
            "fail driver, erred",
        ),
        ("work", Life::declared(), WORK, unknown(), "fail look_unclear, retry in 1s"),
        ("abandoned", abandoned, WORK, unknown(), "fail look_unclear over 1, retry in 1s"),
        (
            "refresh",
            Life::synced().refreshed(),
            WORK,
            failed(ErrorClass::Transient),
            "fail driver, retry in 1s",
        ),
        (
            "credentials",
            Life::declared(),
            WORK,
            failed(ErrorClass::Unauthorized),
            "fail driver, blocked on Backend until 30s",
        ),
        ("invalid", Life::declared(), WORK, failed(ErrorClass::Invalid), "fail driver, erred"),
    ] {
        assert_eq!(planned(&life, given, &observation, &Resolution::None), expected, "{name}");
    }
}

#[test]
fn an_object_of_unknown_origin_is_asked_about_once() {
    let unowned = Observation::Unowned { external_id: external("theirs") };
    let ask = "fail identity_in_use, blocked on Decision until never";
    let asked = recorded(Life::declared(), &unowned, &Resolution::None);
    for (name, life, given, expected) in [
        ("declared", Life::declared(), WORK, ask),
        ("asked", asked.clone(), CHECK, "await change"),
        ("asked, refreshed", asked.refreshed(), WORK, ask),
    ] {
        assert_eq!(planned(&life, given, &unowned, &Resolution::None), expected, "{name}");
    }
}

#[test]
fn an_object_of_another_entity_is_waited_for() {
    let foreign = Observation::Foreign { external_id: external("theirs") };
    let blocked = "fail object_taken, blocked on ObjectTaken until 300s";
    let waits = recorded(Life::declared(), &foreign, &Resolution::None);
    let abandoned = Life::declared().started(AttemptStep::Create);
    for (name, life, expected) in [
        ("declared", Life::declared(), blocked),
        ("recorded", waits.clone(), "wait 300s"),
        ("refreshed", waits.refreshed(), blocked),
        ("abandoned", abandoned, "fail object_taken over 1, blocked on ObjectTaken until 300s"),
    ] {
        assert_eq!(planned(&life, WORK, &foreign, &Resolution::None), expected, "{name}");
    }
}

#[test]
fn a_missing_secret_is_recorded_once() {
    let failure = Failure::harmless(ErrorClass::Invalid, "secret_missing", "secret x is missing");
    let missing = |life: &Life| with(life, WORK, |c| missing_secret(c, &failure));
    let blocked = "fail secret_missing, blocked on Secret until 30s";
    let Action::Fail(report) = missing(&Life::declared()) else { unreachable!() };
    let waits = Life::declared().asked(Intent::Fail(report));
    let abandoned = Life::declared().started(AttemptStep::Create);
    for (name, life, expected) in [
        ("new", Life::declared(), blocked),
        ("recorded", waits.clone(), "wait 30s"),
        ("abandoned", abandoned, "fail secret_missing over 1, blocked on Secret until 30s"),
    ] {
        assert_eq!(shown(&missing(&life)), expected, "{name}");
    }
    let other = Failure::harmless(ErrorClass::Invalid, "secret_missing", "secret y is missing");
    let changed = with(&waits, WORK, |c| missing_secret(c, &other));
    assert_eq!(shown(&changed), blocked, "another secret");
}

#[test]
fn a_stray_is_deleted_unless_it_is_of_another() {
    let life = {
        let life = Life::synced();
        let incarnation = life.entity.incarnation;
        let external_id = external("stray");
        life.asked(Intent::RecordExternalId { attempt: Attempt(0), incarnation, external_id })
    };
    let stray = |owner: Option<OwnerKey>| Observation::Present {
        object: Object { owner_key: owner, ..named_object("stray", 1) },
        extra: Vec::new(),
    };
    let own = || Some(OwnerKey::new(EntityId(Uuid::from_u128(7)), Incarnation(1)));
    let other = || Some(OwnerKey::new(EntityId(Uuid::from_u128(8)), Incarnation(1)));
    let unmarked = Given { kind: |kind| kind.owner_key = false, ..WORK };
    let failed = Observation::Failed(Failure::harmless(ErrorClass::Transient, "driver", "no"));
    let unknown = Observation::Unknown { reason: "no rights".to_owned() };
    let start = "start clean up stray@1 on stray";
    let ended = "complete clean up stray Absent@0";
    for (name, given, observation, expected) in [
        ("own", WORK, stray(own()), start),
        ("own, on hold", HELD, stray(own()), "wait 30s"),
        ("another's", WORK, stray(other()), ended),
        ("unmarked", WORK, stray(None), ended),
        ("of a kind without marks", unmarked, stray(None), start),
        ("gone", WORK, Observation::Absent, ended),
        ("failed", WORK, failed, "fail driver, retry in 300s"),
        ("unknown", WORK, unknown, "fail look_unclear, retry in 300s"),
    ] {
        let action = with(&life, given, |c| clean_up(c, &external("stray"), &observation));
        assert_eq!(shown(&action), expected, "{name}");
    }
}

#[test]
fn what_a_search_finds_is_classified() {
    let second = Some(Duration::from_secs(1));
    let late = Some(Duration::from_secs(2));
    let two = || vec![named_object("one", 1), named_object("two", 1)];
    let one = || vec![named_object("one", 1)];
    let marked: fn(&mut KindSpec) = |_| {};
    let named: fn(&mut KindSpec) = |kind| {
        kind.owner_key = false;
        kind.identity = Some("/size".to_owned());
    };
    let unknown = || Life::declared().started(AttemptStep::Create);
    let applied = || {
        let mut life = Life::synced();
        life.entity.observed = Observed::default();
        life
    };
    let halves = || {
        let mut life = applied();
        life.entity.replacing = true;
        life
    };
    for (name, life, kind, objects, age, expected) in [
        ("none, never intended", Life::declared(), marked, vec![], None, "absent"),
        ("none, just intended", unknown(), marked, vec![], second, "settling 1s"),
        ("none, settled", unknown(), marked, vec![], late, "absent"),
        ("none, known absent", Life::declared(), marked, vec![], second, "absent"),
        ("marked", Life::declared(), marked, one(), None, "present one+0"),
        ("marked, two", unknown(), marked, two(), second, "present one+1"),
        ("named, never intended", Life::declared(), named, one(), None, "unowned one"),
        ("named, lost track", unknown(), named, one(), second, "present one+0"),
        ("named, was applied", applied(), named, one(), late, "present one+0"),
        ("named, between the halves", halves(), named, one(), late, "unowned one"),
    ] {
        let mut spec = stub_driver::kind();
        kind(&mut spec);
        let shown = match found::classify(&life.entity, &spec, objects, age) {
            Observation::Absent => "absent".to_owned(),
            Observation::Settling { left } => format!("settling {left:?}"),
            Observation::Present { object, extra } => {
                format!("present {}+{}", object.external_id, extra.len())
            }
            Observation::Unowned { external_id } => format!("unowned {external_id}"),
            other => format!("{other:?}"),
        };
        assert_eq!(shown, expected, "{name}");
    }
    let mut spec = stub_driver::kind();
    assert!(!found::is_searchable(&Life::declared().entity, &spec), "nothing was intended");
    assert!(found::is_searchable(&unknown().entity, &spec));
    named(&mut spec);
    assert!(found::is_searchable(&Life::declared().entity, &spec), "its identity names it");
}
