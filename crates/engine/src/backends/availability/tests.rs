//! Which failures, records and pauses make a backend unavailable, and until when.

use super::*;

const NOW: Moment = at(1);

/// A moment at which all clocks agree.
const fn at(seconds: i64) -> Moment {
    let time = Timestamp(seconds * 1_000_000);
    Moment { wall: time, log: time, steady: time }
}

fn transient() -> Failure {
    Failure::harmless(ErrorClass::Transient, "test", "test")
}

fn rate_limited(scope: &str) -> Failure {
    let class = ErrorClass::RateLimited { after_ms: 1_000, scope: scope.to_owned() };
    Failure::harmless(class, "test", "test")
}

#[test]
fn nothing_begins_before_the_backend_said_who_it_is() {
    let availability = Availability::new(2);
    assert_eq!(availability.unavailable(NOW), Some(Unavailable::Unidentified { error: None }));
    availability.record_identified();
    assert_eq!(availability.unavailable(NOW), None);
}

#[test]
fn an_older_record_does_not_take_back_what_a_newer_one_said() {
    let availability = Availability::new(2);
    let record = |version, paused: bool| Record {
        version: Version(version),
        paused: paused.then_some(Pause { until: None, reason: None }),
        ..Record::default()
    };
    availability.apply_record(&record(2, true), NOW);
    availability.apply_record(&record(1, false), NOW);
    assert!(availability.paused(NOW));
    availability.apply_record(&record(3, false), NOW);
    assert!(!availability.paused(NOW));
}

#[test]
fn failures_in_a_row_open_the_breaker_and_one_success_closes_it() {
    let availability = Availability::new(2);
    availability.record_identified();
    availability.record_failure(&transient(), &[], NOW);
    availability.record_success(NOW);
    availability.record_failure(&transient(), &[], NOW);
    assert_eq!(availability.unavailable(NOW), None);
    availability.record_failure(&transient(), &[], NOW);
    assert_eq!(availability.unavailable(NOW), Some(Unavailable::BreakerOpen));
    availability.record_recovery(NOW);
    assert_eq!(availability.unavailable(NOW), None);
}

#[test]
fn a_search_that_has_to_wait_opens_no_breaker() {
    let availability = Availability::new(1);
    availability.record_identified();
    let class = ErrorClass::Transient;
    availability.record_failure(
        &Failure::harmless(class, Failure::SEARCH_SETTLING, "test"),
        &[],
        NOW,
    );
    assert_eq!(availability.unavailable(NOW), None);
}

#[test]
fn a_rate_limit_rests_its_scope_and_an_unknown_scope_is_everything() {
    let kinds = [KindName::from("fake.thing")];
    let availability = Availability::new(2);
    availability.record_identified();
    availability.record_failure(&rate_limited("fake.thing"), &kinds, NOW);
    assert_eq!(availability.unavailable(NOW), None);
    assert!(availability.kind_throttled_for(&kinds[0], NOW).is_some());
    availability.record_failure(&rate_limited("compute"), &kinds, NOW);
    assert!(matches!(availability.unavailable(NOW), Some(Unavailable::Throttled { .. })));
    assert_eq!(availability.unavailable(at(2)), None);
}

#[test]
fn a_rest_is_as_long_as_it_was_asked_for_whatever_the_wall_clock_does() {
    let availability = Availability::new(2);
    availability.record_identified();
    availability.record_failure(&rate_limited("compute"), &[], NOW);
    let record = Record {
        throttled: BTreeMap::from([("fake.thing".to_owned(), at(11).log)]),
        ..Record::default()
    };
    availability.apply_record(&record, NOW);
    let kind = KindName::from("fake.thing");
    let seconds = Duration::from_secs;
    for (wall, log) in [(at(0), NOW), (at(1_000), at(1_000)), (at(1), at(1_000))] {
        let now = Moment { wall: wall.wall, log: log.log, steady: NOW.steady };
        assert_eq!(
            (availability.throttled_for(now), availability.kind_throttled_for(&kind, now)),
            (Some(seconds(1)), Some(seconds(10)))
        );
        let until = wall.wall.after(seconds(1));
        assert_eq!(availability.unavailable(now), Some(Unavailable::Throttled { until }));
        // The record is applied again with every event of the backend.
        availability.apply_record(&record, now);
    }
    assert_eq!(
        (availability.throttled_for(at(2)), availability.kind_throttled_for(&kind, at(11))),
        (None, None)
    );
}

#[test]
fn a_pause_of_a_person_ends_by_the_wall_clock() {
    let availability = Availability::new(2);
    let paused = Some(Pause { until: Some(at(5).wall), reason: None });
    availability.apply_record(&Record { paused, ..Record::default() }, NOW);
    assert!(availability.paused(Moment { log: at(9).log, steady: at(9).steady, ..NOW }));
    assert!(!availability.paused(Moment { wall: at(5).wall, ..NOW }));
}

/// Which error classes are a statement about the backend as a whole.
#[test]
fn only_what_is_about_the_backend_closes_it() {
    for (class, closes) in [
        (ErrorClass::Unauthorized, true),
        (ErrorClass::Misconfigured, true),
        (ErrorClass::Refused, false),
        (ErrorClass::Invalid, false),
        (ErrorClass::Immutable, false),
        (ErrorClass::QuotaExceeded, false),
        (ErrorClass::NotFound, false),
        (ErrorClass::Conflict, false),
        (ErrorClass::Bug, false),
        (ErrorClass::Cancelled, false),
    ] {
        let availability = Availability::new(1);
        availability.record_identified();
        availability.record_failure(&Failure::harmless(class.clone(), "t", "t"), &[], NOW);
        assert_eq!(availability.unavailable(NOW).is_some(), closes, "{class:?}");
    }
}

#[test]
fn what_we_ran_out_of_rests_everything_for_a_moment_and_opens_no_breaker() {
    let availability = Availability::new(1);
    availability.record_identified();
    availability.record_failure(&Failure::harmless(ErrorClass::Exhausted, "t", "t"), &[], NOW);
    assert!(matches!(availability.unavailable(NOW), Some(Unavailable::Throttled { .. })));
    assert_eq!(availability.unavailable(at(1 + EXHAUSTED_PAUSE.as_secs().cast_signed())), None);
}

#[test]
fn a_confirmation_covers_only_what_is_known_to_be_observed_after_it() {
    let availability = Availability::new(2);
    let record = |version| Record {
        version: Version(version),
        confirmed: Version(version),
        ..Record::default()
    };
    availability.apply_record(&record(3), NOW);
    assert_eq!(availability.confirmation(), None, "it is not yet known who was observed");
    availability.set_observed_since(Version(3));
    assert_eq!(availability.confirmation(), None, "that was known only later");
    availability.apply_record(&record(5), NOW);
    assert_eq!(availability.confirmation(), Some(Version(5)));
}

#[test]
fn a_backend_that_was_never_reached_blocks_until_it_is() {
    let availability = Availability::new(2);
    let blocks = |availability: &Availability| {
        availability.unavailable(NOW).is_some_and(|unavailable| unavailable.blocks())
    };
    assert!(!blocks(&availability), "it was not asked yet");
    let failure = Failure::harmless(ErrorClass::Transient, "t", "t");
    availability.record_unidentified(failure);
    assert!(blocks(&availability));
    availability.record_identified();
    assert!(!blocks(&availability));
}

#[test]
fn refused_credentials_close_it_until_a_probe_succeeds() {
    let availability = Availability::new(2);
    availability.record_identified();
    availability.record_failure(&Failure::harmless(ErrorClass::Unauthorized, "t", "t"), &[], NOW);
    assert!(
        availability
            .unavailable(NOW)
            .is_some_and(|unavailable| unavailable.blocks() && unavailable.ends_by_health_check())
    );
    availability.record_recovery(NOW);
    assert_eq!(availability.unavailable(NOW), None);
}
