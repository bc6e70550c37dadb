//! The hash chain over a stream. It reveals edits, gaps and reordering. A cut tail, a removed stream or a rewritten
//! chain is revealed only by a checkpoint that is kept elsewhere.

use sha2::{Digest, Sha256};
use stateward_domain::envelope::{NewEvent, Recorded, StreamId};
use stateward_domain::id::{EventId, Version};
use stateward_domain::time::Timestamp;

/// SHA-256.
pub type Hash = [u8; 32];

/// Predecessor hash of the first event of a stream.
pub const GENESIS: Hash = [0; 32];

/// What is hashed besides the previous hash: every stored column but the position, so that a copied log keeps its
/// hashes.
struct Content<'a> {
    stream: &'a StreamId,
    version: Version,
    id: EventId,
    event_type: &'a str,
    schema_version: u32,
    recorded_at: Timestamp,
    payload: &'a str,
    metadata: &'a str,
}

/// Hash of an event that is about to be stored.
#[must_use]
pub fn of_new(
    previous: &Hash,
    stream: &StreamId,
    version: Version,
    recorded_at: Timestamp,
    event: &NewEvent,
) -> Hash {
    digest(
        previous,
        &Content {
            stream,
            version,
            id: event.id,
            event_type: &event.event_type,
            schema_version: event.schema_version,
            recorded_at,
            payload: &event.payload,
            metadata: &event.metadata,
        },
    )
}

/// The hash that a stored event must have, given that of its predecessor.
#[must_use]
pub fn of_recorded(previous: &Hash, event: &Recorded) -> Hash {
    digest(
        previous,
        &Content {
            stream: &event.stream,
            version: event.version,
            id: event.id,
            event_type: &event.event_type,
            schema_version: event.schema_version,
            recorded_at: event.recorded_at,
            payload: &event.payload,
            metadata: &event.metadata,
        },
    )
}

/// Every part is preceded by its length, so that no two contents have the same bytes.
fn digest(previous: &Hash, content: &Content<'_>) -> Hash {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    part(previous);
    part(content.stream.category.as_bytes());
    part(content.stream.id.as_bytes());
    part(&content.version.0.to_be_bytes());
    part(content.id.0.as_bytes());
    part(content.event_type.as_bytes());
    part(&content.schema_version.to_be_bytes());
    part(&content.recorded_at.0.to_be_bytes());
    part(content.payload.as_bytes());
    part(content.metadata.as_bytes());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recorded(version: u64, event_type: &str, payload: &str, metadata: &str) -> Recorded {
        Recorded {
            position: stateward_domain::id::Position::START,
            stream: StreamId { category: "entity".to_owned(), id: "a".to_owned() },
            version: Version(version),
            id: EventId(uuid::Uuid::from_u128(7)),
            event_type: event_type.to_owned(),
            schema_version: 1,
            recorded_at: Timestamp(5),
            payload: payload.into(),
            metadata: metadata.into(),
            hash: GENESIS,
        }
    }

    #[test]
    fn the_algorithm_is_pinned() {
        let hash = of_recorded(&GENESIS, &recorded(1, "entity.paused", "{}", "{}"));
        assert_eq!(
            crate::hex::encode(&hash),
            "f616f85ed6016b29b6a724cc732fbf61f21f4ee32aab1876f97135166bbec7f2"
        );
    }

    #[test]
    fn the_position_is_not_part_of_it() {
        let one = recorded(1, "t", "{}", "{}");
        let mut other = one.clone();
        other.position.minor = 99;
        assert_eq!(of_recorded(&GENESIS, &one), of_recorded(&GENESIS, &other));
    }

    proptest! {
        #[test]
        fn moving_bytes_between_neighbours_changes_it(text in "[a-z]{2,20}", at in 0_usize..20) {
            let at = at.min(text.len());
            let (left, right) = text.split_at(at);
            let one = of_recorded(&GENESIS, &recorded(1, "t", left, right));
            let other = of_recorded(&GENESIS, &recorded(1, "t", &text, ""));
            prop_assert_eq!(one == other, right.is_empty());
        }
    }
}
