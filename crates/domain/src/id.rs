//! Newtypes for every identifier and counter, so that they cannot be confused.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

uuid_id! {
    /// Id of an entity, never reused; also the id of its stream.
    EntityId,
    /// Id of a change request, from acceptance to its end.
    OperationId,
    /// Id of an event; `UUIDv7`. The log recognises a repeated append by it.
    EventId,
    /// Id of a token; not its value.
    TokenId,
    /// Id of a log, never reused; its copies have the same one.
    LogId,
}

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    )*};
}

text_id! {
    /// Scope of names and access.
    Namespace,
    /// `driver.noun`, such as `local.file`.
    KindName,
    /// Key of a configured backend.
    BackendName,
    /// The user's name of an entity, unique per namespace and kind.
    EntityName,
    /// The backend's own name of the managed object.
    ExternalId,
    /// Name of an action.
    ActionName,
}

macro_rules! counter {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The counter's next value.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

counter! {
    /// Number of events in a stream; the sequence of its last event. 0 = no such stream.
    Version,
    /// Number of the desired state, from 1.
    Generation,
    /// Number of changes by users: desired state, labels, policies.
    Revision,
    /// Number of an attempt to sync an entity; the fencing token.
    Attempt,
    /// Number of creations of the external object of one entity. 0 = none was intended.
    Incarnation,
}

/// The owner key: a driver writes it into the backend's object where that has a place for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerKey(pub String);

impl OwnerKey {
    /// Constant marker beside the key, by which `list` recognises managed objects.
    pub const MARKER: &'static str = "managed-entity";

    /// The key of one incarnation of one entity: `<entity id>-<incarnation>`.
    #[must_use]
    pub fn new(entity: EntityId, incarnation: Incarnation) -> Self {
        Self(format!("{entity}-{incarnation}"))
    }

    /// Entity and incarnation of this key; `None` when it is not one of ours.
    #[must_use]
    pub fn parse(&self) -> Option<(EntityId, Incarnation)> {
        let (entity, incarnation) = self.0.rsplit_once('-')?;
        Some((entity.parse().ok()?, Incarnation(incarnation.parse().ok()?)))
    }
}

impl fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Position in the log. Only the server orders positions; to clients they are opaque tokens.
///
/// `epoch` identifies one life of a database, so that a position of another log, or of the same log before a restore,
/// is recognised; `major` and `minor` order commits within it (`SQLite` uses `minor` alone: the rowid).
///
/// Positions of different epochs are not ordered: neither is behind the other. [`Position::START`] alone is before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Epoch of the database.
    pub epoch: u32,
    /// Commit order where the database has one apart from the row order, else 0.
    pub major: u64,
    /// Row order.
    pub minor: u64,
}

impl Position {
    /// The start of the log: before every event.
    pub const START: Self = Self { epoch: 0, major: 0, minor: 0 };

    /// Whether everything up to `other` is included in what was read up to this position. False across epochs.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self >= other
    }

    /// The one that is further in the log. `other` where they are of different epochs: the newer knowledge replaces that of
    /// an earlier life of the log.
    #[must_use]
    pub fn furthest(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (*self == Self::START, *other == Self::START) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) if self.epoch != other.epoch => None,
            (false, false) => Some((self.major, self.minor).cmp(&(other.major, other.minor))),
        }
    }
}

/// Fixed width, so that the text sorts as the value does.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:016x}{:016x}", self.epoch, self.major, self.minor)
    }
}

/// The text is not a position token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position of this log")]
pub struct BadPosition;

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |range: std::ops::Range<usize>| text.get(range).ok_or(BadPosition);
        let plain = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() != 40 || !plain {
            return Err(BadPosition);
        }
        Ok(Self {
            epoch: u32::from_str_radix(hex(0..8)?, 16).map_err(|_| BadPosition)?,
            major: u64::from_str_radix(hex(8..24)?, 16).map_err(|_| BadPosition)?,
            minor: u64::from_str_radix(hex(24..40)?, 16).map_err(|_| BadPosition)?,
        })
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_text_sorts_like_the_value_and_comes_back() {
        let small = Position { epoch: 1, major: 2, minor: 255 };
        let large = Position { epoch: 1, major: 2, minor: 256 };
        assert!(small.to_string() < large.to_string());
        assert_eq!(large.to_string().parse(), Ok(large));
        assert_eq!("+1".parse::<Position>(), Err(BadPosition));
    }

    #[test]
    fn positions_of_different_epochs_are_not_ordered() {
        let at = |epoch, minor| Position { epoch, major: 0, minor };
        let pairs = [
            (at(1, 1), at(1, 2), Some(Ordering::Less)),
            (at(1, 2), at(1, 2), Some(Ordering::Equal)),
            (Position { epoch: 1, major: 1, minor: 0 }, at(1, 9), Some(Ordering::Greater)),
            (at(1, 9), at(2, 1), None),
            (at(2, 1), at(1, 9), None),
            (Position::START, at(2, 1), Some(Ordering::Less)),
            (at(2, 1), Position::START, Some(Ordering::Greater)),
            (Position::START, Position::START, Some(Ordering::Equal)),
        ];
        for (one, other, order) in pairs {
            assert_eq!(one.partial_cmp(&other), order, "{one} {other}");
            let includes = matches!(order, Some(Ordering::Equal | Ordering::Greater));
            assert_eq!(one.includes(other), includes, "{one} {other}");
        }
        assert_eq!(at(1, 2).furthest(at(1, 1)), at(1, 2));
        assert_eq!(at(1, 1).furthest(at(1, 2)), at(1, 2));
        assert_eq!(at(1, 9).furthest(at(2, 1)), at(2, 1), "of the newer life");
    }

    #[test]
    fn owner_key_comes_back() {
        let id = EntityId(Uuid::from_u128(7));
        assert_eq!(OwnerKey::new(id, Incarnation(3)).parse(), Some((id, Incarnation(3))));
        assert_eq!(OwnerKey("someone else's".to_owned()).parse(), None);
    }
}
