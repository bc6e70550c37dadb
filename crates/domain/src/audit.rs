//! Results of audits: checkpoints to be kept elsewhere, and reports of verifications.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::envelope::StreamId;
use crate::id::{LogId, Position, Version};
use crate::time::Timestamp;

/// SHA-256 over the hashes of all events up to a point, in commit order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// The text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: 64 hexadecimal digits")]
pub struct BadDigest;

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 64 || !text.bytes().all(plain) {
            return Err(BadDigest);
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte =
                u8::from_str_radix(&text[place * 2..place * 2 + 2], 16).map_err(|_| BadDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The state of the log at a moment. Kept elsewhere, it later proves that nothing of that was cut off, removed or
/// rewritten. It stays valid as the log grows, and for copies of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The log's id.
    pub log_id: LogId,
    /// Position of its last event, in the epoch of that time.
    pub position: Position,
    /// Number of events.
    pub count: u64,
    /// Digest of the hashes of these events.
    pub digest: Digest,
    /// When it was taken.
    #[serde(with = "crate::time::rfc3339")]
    pub taken_at: Timestamp,
}

/// Sort of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The database file is damaged.
    File,
    /// The row is not one that the log writes: a value of another type, an invalid id or hash.
    Unreadable,
    /// Positions are not consecutive: an event was removed, added or moved.
    Position,
    /// Versions of the stream are not consecutive.
    Version,
    /// The event was moved to another stream.
    Stream,
    /// The hash does not follow from the event and its predecessor.
    Hash,
    /// The event was recorded no later than its predecessor.
    Time,
    /// The payload does not fit its type, or the type is unknown to this version.
    Payload,
    /// Claims (names, identities, objects, idempotency keys) differ from those that follow from the events.
    Claim,
    /// A derived row differs from what follows from the events.
    View,
    /// The log is not the one of the checkpoint, or does not continue it.
    Checkpoint,
}

/// One fault, with its place as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// `category/id`; `None` = it concerns no stream, or the stream is unknown.
    pub stream: Option<String>,
    /// Version in the stream.
    pub version: Option<Version>,
    /// Position in the log.
    pub position: Option<Position>,
    /// Its sort.
    pub fault: FaultKind,
    /// Description for people.
    pub detail: String,
    /// The derived table; `None` = it concerns the log itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Primary key of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The column; `None` = the whole row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

impl Fault {
    /// A fault without a place.
    #[must_use]
    pub fn new(fault: FaultKind, detail: impl Into<String>) -> Self {
        Self {
            stream: None,
            version: None,
            position: None,
            fault,
            detail: detail.into(),
            table: None,
            key: None,
            column: None,
        }
    }

    /// Sets the stream.
    #[must_use]
    pub fn of(mut self, stream: &StreamId) -> Self {
        self.stream = Some(stream.to_string());
        self
    }

    /// Sets the version.
    #[must_use]
    pub const fn at_version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// Sets the row of a derived table, or one column of it.
    #[must_use]
    pub fn in_table(mut self, table: &str, key: &str, column: Option<&str>) -> Self {
        (self.table, self.key) = (Some(table.to_owned()), Some(key.to_owned()));
        self.column = column.map(str::to_owned);
        self
    }

    /// Sets the position.
    #[must_use]
    pub const fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stream) = &self.stream {
            write!(f, "{stream} ")?;
        }
        if let Some(version) = self.version {
            write!(f, "version {version} ")?;
        }
        if let Some(position) = self.position {
            write!(f, "at {position} ")?;
        }
        f.write_str(&self.detail)
    }
}

/// Report of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether there is no fault.
    pub ok: bool,
    /// Events that were read.
    pub events: u64,
    /// Streams that these events are of.
    pub streams: u64,
    /// Entities whose rows were compared with a fresh fold.
    pub entities: u64,
    /// The first faults.
    pub faults: Vec<Fault>,
    /// Number of all faults.
    pub fault_count: u64,
    /// Notes that are no faults: what was not compared, and which other files may hold lost events.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The log's checkpoint.
    pub checkpoint: Checkpoint,
    /// Duration, in milliseconds.
    pub elapsed_ms: u64,
}

/// Progress of a verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationProgress {
    /// Steps done.
    pub done: u64,
    /// Steps in all, as far as is known now.
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_from_its_text() {
        let checkpoint = Checkpoint {
            log_id: LogId(uuid::Uuid::from_u128(7)),
            position: Position { epoch: 1, major: 0, minor: 9 },
            count: 9,
            digest: Digest([0xab; 32]),
            taken_at: Timestamp(1_795_528_595_466_242),
        };
        let text = serde_json::to_string(&checkpoint).expect("plain data");
        assert!(text.contains("\"taken_at\":\"2026-11-24T"), "{text}");
        assert_eq!(serde_json::from_str::<Checkpoint>(&text).expect("JSON"), checkpoint);
        for bad in ["", "ab", &"g".repeat(64), &"é".repeat(32), &"AB".repeat(32)] {
            assert_eq!(bad.parse::<Digest>(), Err(BadDigest), "{bad}");
        }
    }
}
