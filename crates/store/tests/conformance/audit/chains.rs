//! The chain checker alone, without a database.

use proptest::collection::vec;
use proptest::prelude::*;
use stateward_domain::audit::FaultKind;
use stateward_domain::envelope::{NewEvent, Recorded, StreamId};
use stateward_domain::id::{EventId, LogId, Position, Version};
use stateward_domain::time::Timestamp;
use stateward_store::audit::{ChainChecker, Chains, Identity, RawRow};
use stateward_store::hash;
use uuid::Uuid;

const IDENTITY: Identity = Identity { log_id: LogId(Uuid::from_u128(9)), epoch: 3, dense: true };

/// A log of several streams: `turns` = the stream of each event.
fn log(turns: &[u8]) -> Vec<Recorded> {
    let mut heads = std::collections::HashMap::new();
    let event = |(place, turn): (usize, &u8)| {
        let number = place as u64 + 1;
        let stream = StreamId::entity(stateward_domain::id::EntityId(Uuid::from_u128(
            u128::from(*turn) + 1,
        )));
        let (version, previous) =
            heads.get(&stream).copied().unwrap_or((Version(0), hash::GENESIS));
        let new = NewEvent {
            id: EventId(Uuid::from_u128(u128::from(number))),
            event_type: "entity.paused".to_owned(),
            schema_version: 1,
            payload: format!("{{\"paused\":{{\"at\":{number}}}}}").into(),
            metadata: "{\"actor_id\":\"é\"}".into(),
        };
        let (version, recorded_at) = (version.next(), Timestamp(i64::try_from(number).unwrap()));
        let hash = hash::of_new(&previous, &stream, version, recorded_at, &new);
        heads.insert(stream.clone(), (version, hash));
        Recorded {
            position: Position { epoch: 3, major: 0, minor: number },
            stream,
            version,
            id: new.id,
            event_type: new.event_type,
            schema_version: 1,
            recorded_at,
            payload: new.payload,
            metadata: new.metadata,
            hash,
        }
    };
    turns.iter().enumerate().map(event).collect()
}

fn check(events: Vec<Recorded>) -> Chains {
    check_as(IDENTITY, events)
}

fn check_as(identity: Identity, events: Vec<Recorded>) -> Chains {
    let mut checker = ChainChecker::new(identity, None);
    for event in events {
        let row: RawRow = Ok(event);
        checker.take(&row);
    }
    checker.finish(Timestamp(1))
}

fn flipped(text: &str, bit: usize) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    bytes[bit / 8 % text.len()] ^= 1 << (bit % 8);
    String::from_utf8(bytes).ok()
}

/// Changes one bit of one member; `None` when the result is not valid text.
fn change(event: &mut Recorded, member: u8, bit: usize) -> Option<()> {
    match member {
        0 => event.payload = flipped(&event.payload, bit)?.into(),
        1 => event.metadata = flipped(&event.metadata, bit)?.into(),
        2 => event.event_type = flipped(&event.event_type, bit)?,
        3 => event.stream.id = flipped(&event.stream.id, bit)?,
        4 => event.stream.category = flipped(&event.stream.category, bit)?,
        5 => event.hash[bit / 8 % 32] ^= 1 << (bit % 8),
        6 => event.version.0 ^= 1 << (bit % 63),
        7 => event.schema_version ^= 1 << (bit % 32),
        8 => event.recorded_at.0 ^= 1 << (bit % 63),
        _ => event.id.0 = Uuid::from_u128(event.id.0.as_u128() ^ (1 << (bit % 128))),
    }
    Some(())
}

proptest! {
    #[test]
    fn a_sound_log_has_no_fault(turns in vec(0_u8..5, 0..60)) {
        let chains = check(log(&turns));
        prop_assert_eq!(chains.faults.count(), 0, "{:?}", chains.faults.first());
        prop_assert_eq!(chains.checkpoint.count, turns.len() as u64);
    }

    #[test]
    fn one_changed_bit_is_found_and_the_stream_named(
        turns in vec(0_u8..5, 1..40), at in any::<prop::sample::Index>(), member in 0_u8..10,
        bit in 0_usize..4_096,
    ) {
        let mut events = log(&turns);
        let at = at.index(events.len());
        let stream = events[at].stream.to_string();
        prop_assume!(change(&mut events[at], member, bit).is_some());
        let chains = check(events);
        let named = chains.faults.first().iter().any(|fault| fault.stream.as_ref() == Some(&stream));
        prop_assert!(named, "{} of {stream}: {:?}", member, chains.faults.first());
        prop_assert!(chains.faults.count() <= 3, "one fault looks like many");
    }

    #[test]
    fn a_removed_event_is_found(
        turns in vec(0_u8..5, 2..40), at in any::<prop::sample::Index>(),
    ) {
        let mut events = log(&turns);
        let last = events.len() - 1;
        let removed = events.remove(at.index(last));
        let chains = check(events.clone());
        let kinds: Vec<_> = chains.faults.first().iter().map(|fault| fault.fault).collect();
        prop_assert!(kinds.contains(&FaultKind::Position));
        let goes_on = events.iter().any(|event| {
            event.stream == removed.stream && event.version > removed.version
        });
        prop_assert_eq!(kinds.contains(&FaultKind::Version), goes_on);
    }

    #[test]
    fn two_events_of_a_stream_in_each_other_s_place_are_found(
        turns in vec(0_u8..3, 4..40), one in any::<prop::sample::Index>(),
    ) {
        let mut events = log(&turns);
        let one = one.index(events.len());
        let same = |(place, event): &(usize, &Recorded)| {
            *place != one && event.stream == events[one].stream
        };
        let other = events.iter().enumerate().find(same).map(|(place, _)| place);
        prop_assume!(other.is_some());
        let other = other.unwrap();
        events.swap(one, other);
        let (here, there) = (events[other].position, events[one].position);
        (events[one].position, events[other].position) = (here, there);
        let stream = events[one].stream.to_string();
        let chains = check(events);
        prop_assert!(chains.faults.first().iter().all(|f| f.stream.as_ref() == Some(&stream)));
        prop_assert!(chains.faults.count() > 0);
    }

    #[test]
    fn where_positions_only_rise_a_gap_is_none_and_a_removed_event_shows_in_its_stream(
        turns in vec(0_u8..5, 2..40), at in any::<prop::sample::Index>(),
        steps in vec(1_u64..1_000, 40),
    ) {
        let rising = Identity { dense: false, ..IDENTITY };
        let mut events = log(&turns);
        let mut minor = 0;
        for (event, step) in events.iter_mut().zip(steps) {
            minor += step;
            event.position.minor = minor;
        }
        let sound = check_as(rising, events.clone());
        prop_assert_eq!(sound.faults.count(), 0, "{:?}", sound.faults.first());
        prop_assert_eq!(sound.checkpoint.position, events[events.len() - 1].position);
        let removed = events.remove(at.index(events.len() - 1));
        let goes_on = events.iter().any(|event| {
            event.stream == removed.stream && event.version > removed.version
        });
        let chains = check_as(rising, events.clone());
        prop_assert_eq!(chains.faults.count() > 0, goes_on);
        let last = events.len() - 1;
        events[last].position = Position::START;
        let chains = check_as(rising, events);
        let kinds: Vec<_> = chains.faults.first().iter().map(|fault| fault.fault).collect();
        prop_assert!(kinds.contains(&FaultKind::Position));
    }
}
