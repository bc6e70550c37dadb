//! Tables of the rules of an append.

use stateward_domain::id::EventId;
use uuid::Uuid;

use super::*;

fn stream(id: &str) -> StreamId {
    StreamId { category: "entity".to_owned(), id: id.to_owned() }
}

fn key(text: &str) -> ClaimKey {
    ClaimKey(text.to_owned())
}

fn append(id: &str, expected: u64, events: u128, claims: Vec<Claim>) -> Append {
    let event = |number| NewEvent {
        id: EventId(Uuid::from_u128(number)),
        event_type: "entity.paused".to_owned(),
        schema_version: 1,
        payload: "{}".into(),
        metadata: "{}".into(),
    };
    Append {
        stream: stream(id),
        expected: Version(expected),
        events: (1..=events).map(event).collect(),
        claims,
    }
}

fn head(version: u64, recorded_at: i64) -> StreamHead {
    StreamHead { version: Version(version), hash: [7; 32], recorded_at: Timestamp(recorded_at) }
}

#[test]
fn events_follow_their_head_in_version_time_and_hash() {
    for (before, now, times) in [
        (StreamHead::NONE, 100, [100, 101, 102]),
        (head(4, 50), 100, [100, 101, 102]),
        (head(4, 100), 100, [101, 102, 103]),
        (head(4, 900), 100, [901, 902, 903]),
    ] {
        let append = append("a", before.version.0, 3, vec![]);
        let mut sealed = Vec::new();
        let after = seal(&append, before, Timestamp(now), &mut sealed);
        let found: Vec<_> = sealed.iter().map(|event| event.recorded_at.0).collect();
        assert_eq!(found, times);
        let mut previous = before;
        for (event, sent) in sealed.iter().zip(&append.events) {
            assert_eq!(event.version, previous.version.next());
            let (stream, at) = (&append.stream, event.recorded_at);
            let hash = hash::of_new(&previous.hash, stream, event.version, at, sent);
            assert_eq!(event.hash, hash, "each depends on the one before");
            let recorded = event.recorded(Position::START);
            assert_eq!(hash::of_recorded(&previous.hash, &recorded), hash);
            previous = StreamHead::of(&recorded);
        }
        assert_eq!(after, previous);
    }
}

#[test]
fn an_append_is_admitted_at_its_version_with_claims_that_no_other_stream_holds() {
    let take = || Claim::Take { key: key("k"), value: String::new(), event: 0 };
    let share = || Claim::Share { key: key("k") };
    let free = || Claim::Free { key: key("k") };
    let holder =
        |id: &str| Some(Holder { stream: stream(id), version: Version(1), value: String::new() });
    let taken = |id: &str| {
        let holder = holder(id).expect("a holder");
        Admission::Refused(AppendError::ClaimTaken { key: key("k"), holder })
    };
    let moved = |actual| Admission::Moved(AppendError::Conflict { actual: Version(actual) });
    for (at, claim, holder, admission) in [
        (2, None, None, Admission::Fits),
        (1, None, None, moved(1)),
        (3, None, None, moved(3)),
        (3, Some(take()), holder("b"), moved(3)),
        (2, Some(take()), None, Admission::Fits),
        (2, Some(take()), holder("a"), Admission::Fits),
        (2, Some(take()), holder("b"), taken("b")),
        (2, Some(share()), None, Admission::Fits),
        (2, Some(share()), holder("a"), Admission::Fits),
        (2, Some(share()), holder("b"), taken("b")),
        (2, Some(free()), holder("b"), Admission::Fits),
    ] {
        let append = append("a", 2, 1, claim.into_iter().collect());
        let found = admit(&append, head(at, 5), |_| holder.as_ref());
        assert_eq!(found, admission, "{at} {:?} {holder:?}", append.claims);
    }
}

#[test]
fn the_first_claim_that_is_taken_is_the_one_that_is_named() {
    let take = |text: &str| Claim::Take { key: key(text), value: String::new(), event: 0 };
    let append = append("a", 0, 1, vec![take("i"), take("j"), take("k")]);
    let other = Holder { stream: stream("b"), version: Version(1), value: String::new() };
    let holder_of = |asked: &ClaimKey| (asked.0 != "i").then_some(&other);
    let refusal = claim_conflict(&append, holder_of);
    assert_eq!(refusal, Some(AppendError::ClaimTaken { key: key("j"), holder: other.clone() }));
}

#[test]
fn a_claim_is_stored_with_the_version_of_the_event_that_takes_it() {
    let (i, j, k) = (key("i"), key("j"), key("k"));
    let take = Claim::Take { key: key("i"), value: "v".to_owned(), event: 2 };
    let one = append("a", 4, 3, vec![take, Claim::Share { key: key("j") }]);
    let two = append("b", 0, 1, vec![Claim::Free { key: key("k") }]);
    let changes = ClaimChanges::of([&one, &two]);
    let taken = TakenClaim { key: &i, stream: &one.stream, version: Version(7), value: "v" };
    assert_eq!(changes.taken, [taken]);
    assert_eq!(changes.shared, [(&j, &one.stream)]);
    assert_eq!(changes.freed, [(&k, &two.stream)]);
}

#[test]
fn cached_heads_cover_appends_that_continue_from_them_or_begin_a_stream() {
    let mut heads = StreamHeads::default();
    heads.record(stream("a"), head(2, 5));
    for (id, expected, covered) in
        [("a", 2, true), ("a", 1, false), ("a", 0, false), ("b", 0, true), ("b", 3, false)]
    {
        assert_eq!(heads.cover(&[append(id, expected, 1, vec![])]), covered, "{id} {expected}");
    }
    let appends = [append("a", 2, 1, vec![]), append("b", 0, 1, vec![])];
    assert_eq!(heads.unknown(&appends), [&stream("b")]);
    assert_eq!((heads.of(&stream("a")), heads.of(&stream("b"))), (head(2, 5), StreamHead::NONE));
}

#[test]
fn too_many_cached_heads_are_all_forgotten() {
    let mut heads = StreamHeads::default();
    for number in 0..=StreamHeads::MAX {
        heads.record(stream(&number.to_string()), head(1, 5));
    }
    heads.bound();
    assert!(!heads.cover(&[append("0", 1, 1, vec![])]));
}
