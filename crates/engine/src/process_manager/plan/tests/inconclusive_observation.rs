//! Observations that prove little, and objects that are not the entity's.

use super::*;
use crate::process_manager::plan::search_result;

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
fn an_object_that_the_log_refuses_is_waited_for() {
    let seen = Observation::Present { object: object(1), extra: Vec::new() };
    let refused = |life: &Life, given: Given| {
        with(life, given, |c| {
            let action = next_action(c, &seen, &resolved(&life.entity));
            claim_refused(c, &action).map(|refused| shown(&refused))
        })
    };
    let blocked = Some("fail object_taken, blocked on ObjectTaken until 300s".to_owned());
    let foreign = Observation::Foreign { external_id: external("object") };
    let recorded = recorded(Life::declared(), &foreign, &Resolution::None);
    assert_eq!(refused(&Life::declared(), WORK), blocked, "a completion");
    assert_eq!(refused(&recorded, WORK).as_deref(), Some("wait 300s"), "recorded once");
    assert_eq!(refused(&Life::synced(), CHECK), blocked, "a check");
    assert_eq!(refused(&Life::synced().updated(json!({"size": 2})), WORK), blocked, "an update");
    let none = Life::declared();
    let waits = with(&none, WORK, |c| claim_refused(c, &Action::Wait(Requeue::Now)).is_none());
    assert!(waits, "it names no object");
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
    let (second, late) = (Duration::from_secs(1), Duration::ZERO);
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
        ("none, never intended", Life::declared(), marked, vec![], late, "absent"),
        ("none, just intended", unknown(), marked, vec![], second, "settling 1s"),
        ("none, settled", unknown(), marked, vec![], late, "absent"),
        ("none, known absent", Life::declared(), marked, vec![], second, "absent"),
        ("marked", Life::declared(), marked, one(), late, "present one+0"),
        ("marked, two", unknown(), marked, two(), second, "present one+1"),
        ("named, never intended", Life::declared(), named, one(), late, "unowned one"),
        ("named, lost track", unknown(), named, one(), second, "present one+0"),
        ("named, was applied", applied(), named, one(), late, "present one+0"),
        ("named, between the halves", halves(), named, one(), late, "unowned one"),
    ] {
        let mut spec = stub_driver::kind();
        kind(&mut spec);
        let shown = match search_result::classify(&life.entity, &spec, objects, age) {
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
    assert!(!search_result::is_searchable(&Life::declared().entity, &spec), "nothing was intended");
    assert!(search_result::is_searchable(&unknown().entity, &spec));
    named(&mut spec);
    assert!(search_result::is_searchable(&Life::declared().entity, &spec), "its identity names it");
}

#[test]
fn a_lost_creation_counts_as_running_until_its_request_cannot_run_any_more() {
    let kind = KindSpec { settle: Duration::from_mins(1), ..stub_driver::kind() };
    let timeout = Duration::from_secs(20);
    let lost = |life: &Life, seconds: u64| {
        let now = life.now.after(Duration::from_secs(seconds));
        search_result::unsettled(&life.entity, &kind, timeout, |at| now.since(at)).as_secs()
    };
    let begun = || Life::declared().started(AttemptStep::Create);
    // After a kill the request was sent within the call's time from the intent on, and before the takeover.
    assert_eq!((lost(&begun(), 0), lost(&begun(), 20)), (60, 60), "taken over");
    assert_eq!((lost(&begun(), 79), lost(&begun(), 80)), (1, 0), "taken over late");
    let settling = Observation::Settling { left: Duration::from_mins(1) };
    let waits = recorded(begun(), &settling, &Resolution::None);
    assert_eq!((lost(&waits, 59), lost(&waits, 60)), (1, 0), "from the takeover on");
    // After a lost reply, from the end of the call on.
    let doubtful = |life: Life| {
        let failure = Failure::doubtful(ErrorClass::Ambiguous, "no_reply", "no reply");
        let report = with(&life, WORK, |c| match after_call::fail_attempt(c, &failure) {
            Action::Fail(report) => report,
            other => unreachable!("{other:?}"),
        });
        life.asked(Intent::Fail(report))
    };
    let life = doubtful(begun());
    assert_eq!((lost(&life, 0), lost(&life, 59), lost(&life, 60)), (60, 1, 0));
    assert_eq!(
        lost(&doubtful(life.started(AttemptStep::Create)), 0),
        60,
        "each request for itself"
    );
    let refused = begun().failed(ErrorClass::Invalid, Next::Erred);
    assert_eq!(lost(&refused, 0), 0, "it had no effect");
    assert_eq!(lost(&Life::synced(), 0), 0, "it is known");
    assert_eq!(lost(&Life::declared(), 0), 0, "none was intended");
}

#[test]
fn a_log_that_was_cut_may_lack_the_intent_of_what_was_declared_before() {
    let intended = || Life::declared().started(AttemptStep::Create);
    let refused = || intended().failed(ErrorClass::Invalid, Next::Erred);
    let gone = || Life::synced().seen(Observed::default(), Vec::new(), OnLost::Recreate);
    let halves = || {
        let desired = Some(json!({"size": 1, "zone": "b"}));
        let life = Life::synced().changed(desired, SettingsPatch::default(), true);
        let life = life.started(AttemptStep::Replace { fields: vec!["/zone".to_owned()] });
        life.completed(Observed::default())
    };
    let (declared, started, later) = (Timestamp(2_000_000), Timestamp(3_000_000), NOW);
    for (name, life, cut_at, lacks) in [
        ("never cut", Life::declared(), None, false),
        ("declared after it", Life::declared(), Some(Timestamp(1_999_999)), false),
        ("declared before it", Life::declared(), Some(declared), true),
        ("intended after it", intended(), Some(declared), false),
        ("intended before it", intended(), Some(started), true),
        ("refused after it", refused(), Some(declared), false),
        ("refused before it", refused(), Some(later), true),
        ("made", Life::synced(), Some(later), false),
        ("made and gone", gone(), Some(later), true),
        ("between the halves", halves(), Some(later), true),
    ] {
        assert_eq!(search_result::may_lack_intent(&life.entity, cut_at), lacks, "{name}");
    }
    let kind = KindSpec { settle: Duration::from_mins(1), ..stub_driver::kind() };
    let timeout = Duration::from_secs(20);
    let left = |cut_at: Option<Timestamp>, seconds: u64| {
        let (life, passed) = (Life::declared(), Duration::from_secs(seconds));
        search_result::lost_creation(&life.entity, &kind, timeout, cut_at, |_| passed)
            .map(|left| left.as_secs())
    };
    assert_eq!(left(None, 0), None);
    assert_eq!(
        (left(Some(later), 0), left(Some(later), 79), left(Some(later), 90)),
        (Some(80), Some(1), Some(0)),
        "the time of a call, and the time after which it shows"
    );
}

#[test]
fn an_object_whose_id_was_known_before_is_not_absent_while_its_creation_may_run() {
    let lost = Life::declared().started(AttemptStep::Create);
    let left = Duration::from_secs(3);
    assert_eq!(search_result::absent(&lost.entity, left), Observation::Settling { left });
    assert_eq!(search_result::absent(&lost.entity, Duration::ZERO), Observation::Absent);
    assert_eq!(
        search_result::absent(&Life::synced().entity, left),
        Observation::Absent,
        "it was there"
    );
}
