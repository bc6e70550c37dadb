//! The arguments of `append_v1`: a batch of appends as arrays. Streams and claims are in byte order, in which every
//! process locks them; events are in the order of their appends.

use std::collections::{BTreeMap, HashMap};

use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Encode, Postgres, Type};
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::StreamId;
use stateward_domain::ports::event_store::Append;
use stateward_domain::time::Timestamp;

use crate::shared::chain::{ClaimChanges, SealedEvent, StreamHead};

/// Places of a block of positions.
pub(super) const BLOCK: u64 = 1_024;

/// An append that fits, with the stream's head after it.
pub(super) type Accepted<'a> = (&'a Append, StreamHead);

/// Claims that are taken or, with sequence 0, shared: key, number of the stream from 1, sequence and value.
type Taken<'a> = BTreeMap<&'a ClaimKey, (i32, i64, &'a str)>;

/// The statement whose arguments [`arguments`] makes.
pub(super) const APPEND: &str = "SELECT append_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
     $17, $18, $19, $20, $21, $22)";

/// The arguments that append `sealed`, the events of `accepted`. Claims are taken at `now`.
///
/// # Errors
/// [`sqlx::Error::Encode`]: more than the protocol can carry.
pub(super) fn arguments(
    accepted: &[Accepted<'_>],
    sealed: &[SealedEvent<'_>],
    now: Timestamp,
) -> Result<PgArguments, sqlx::Error> {
    let mut streams: Vec<_> = accepted.iter().collect();
    streams.sort_by_key(|(append, _)| &append.stream);
    let numbers: HashMap<&StreamId, i32> =
        streams.iter().map(|(append, _)| &append.stream).zip(1..).collect();
    let of = |stream: &StreamId| numbers.get(stream).copied().unwrap_or_default();
    let (taken, freed) = claims(accepted, of);
    let mut values = Values::default();
    let streams = || streams.iter();
    values.add(streams().map(|(append, _)| append.stream.category.as_str()))?;
    values.add(streams().map(|(append, _)| append.stream.id.as_str()))?;
    values.add(streams().map(|(append, _)| append.expected.0.cast_signed()))?;
    values.add(streams().map(|(_, head)| head.version.0.cast_signed()))?;
    values.add(streams().map(|(_, head)| head.hash.as_slice()))?;
    values.add(streams().map(|(_, head)| head.recorded_at.0))?;
    let events = || sealed.iter();
    values.add(events().map(|event| of(event.stream)))?;
    values.add(events().map(|event| event.version.0.cast_signed()))?;
    values.add(events().map(|event| event.event.event_type.as_str()))?;
    values.add(events().map(|event| event.event.schema_version.to_string()))?;
    values.add(events().map(|event| &*event.event.payload))?;
    values.add(events().map(|event| &*event.event.metadata))?;
    values.add(events().map(|event| event.event.id.0))?;
    values.add(events().map(|event| event.recorded_at.0))?;
    values.add(events().map(|event| event.hash.as_slice()))?;
    values.add(taken.keys().map(|key| key.0.as_str()))?;
    values.add(taken.values().map(|(stream, ..)| *stream))?;
    values.add(taken.values().map(|(_, sequence, _)| *sequence))?;
    values.add(taken.values().map(|(.., value)| *value))?;
    values.0.add(now.0).map_err(sqlx::Error::Encode)?;
    values.add(freed.keys().map(|key| key.0.as_str()))?;
    values.add(freed.values().copied())?;
    Ok(values.0)
}

/// Arguments, most of which are arrays.
#[derive(Default)]
struct Values(PgArguments);

impl Values {
    fn add<T>(&mut self, values: impl Iterator<Item = T>) -> Result<(), sqlx::Error>
    where
        Vec<T>: for<'q> Encode<'q, Postgres> + Type<Postgres>,
    {
        self.0.add(values.collect::<Vec<T>>()).map_err(sqlx::Error::Encode)
    }
}

/// Claims that are taken or shared, and those that are freed with the number of their stream. A key that an append takes
/// and shares is taken.
fn claims<'a>(
    accepted: &[Accepted<'a>],
    of: impl Fn(&StreamId) -> i32,
) -> (Taken<'a>, BTreeMap<&'a ClaimKey, i32>) {
    let changes = ClaimChanges::of(accepted.iter().map(|(append, _)| *append));
    let shared = changes.shared.iter().map(|(key, stream)| (*key, (of(stream), 0, "")));
    let taken = changes
        .taken
        .iter()
        .map(|claim| (claim.key, (of(claim.stream), claim.version.0.cast_signed(), claim.value)));
    let freed = changes.freed.iter().map(|(key, stream)| (*key, of(stream)));
    (shared.chain(taken).collect(), freed.collect())
}

#[cfg(test)]
mod tests {
    use stateward_domain::entity::claims::Claim;
    use stateward_domain::id::Version;

    use super::*;

    #[test]
    fn claims_are_in_byte_order_and_taking_goes_before_sharing() {
        let key = |text: &str| ClaimKey(text.to_owned());
        let take = |text: &str| Claim::Take { key: key(text), value: "v".to_owned(), event: 1 };
        let append = |id: &str, claims| Append {
            stream: StreamId { category: "entity".to_owned(), id: id.to_owned() },
            expected: Version(4),
            events: Vec::new(),
            claims,
        };
        let share = |text: &str| Claim::Share { key: key(text) };
        let both = [
            append("b", vec![take("z"), share("é"), Claim::Free { key: key("f") }]),
            append("a", vec![share("k"), take("k"), take("Z")]),
        ];
        let accepted = both.each_ref().map(|append| (append, StreamHead::NONE));
        let number = |stream: &StreamId| if stream.id == "a" { 1 } else { 2 };
        let (taken, freed) = claims(&accepted, number);
        let taken: Vec<_> = taken.into_iter().map(|(key, row)| (key.0.as_str(), row)).collect();
        assert_eq!(
            taken,
            [("Z", (1, 6, "v")), ("k", (1, 6, "v")), ("z", (2, 6, "v")), ("é", (2, 0, ""))]
        );
        assert_eq!(freed.into_iter().collect::<Vec<_>>(), [(&key("f"), 2)]);
    }
}
