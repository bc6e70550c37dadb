//! What audits say: checkpoints to be kept elsewhere, and what a verification found.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::envelope::StreamId;
use crate::id::{LogId, Position, Version};
use crate::time::Timestamp;

/// SHA-256 over the hashes of all events up to a point, in commit order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// The text is no digest.
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

/// What the log was at a moment. Kept elsewhere, it later proves that nothing of that was cut off, removed or
/// rewritten. It stays valid as the log grows, and for copies of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Which log.
    pub log_id: LogId,
    /// Its last event then, as a position of that life of the database.
    pub position: Position,
    /// Number of events then.
    pub count: u64,
    /// Over the hashes of these events.
    pub digest: Digest,
    /// When it was taken.
    #[serde(with = "crate::time::rfc3339")]
    pub taken_at: Timestamp,
}

/// What is wrong with an event, or with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The file itself is damaged.
    File,
    /// The row is none that was ever written: a value of another type, no id, no hash.
    Unreadable,
    /// Positions do not follow each other: something was removed, added or moved.
    Position,
    /// Versions of the stream do not follow each other.
    Version,
    /// The event was moved to another stream.
    Stream,
    /// The hash is not that of the event after its predecessor.
    Hash,
    /// The event was recorded before its predecessor.
    Time,
    /// The payload is not what its type says, or the type is unknown here.
    Payload,
    /// Names, identities or idempotency keys are not held as the events say.
    Claim,
    /// The read model does not say what the events say.
    View,
    /// The log is not the one that the checkpoint was taken of, or not a continuation of it.
    Checkpoint,
}

/// One thing that is wrong, as far as it is known where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// `category/id`; `None` = it concerns no stream, or nobody knows which.
    pub stream: Option<String>,
    /// Version in the stream.
    pub version: Option<Version>,
    /// Place in the log.
    pub position: Option<Position>,
    /// What sort.
    pub fault: FaultKind,
    /// What and why, in words.
    pub detail: String,
    /// The table that does not hold what follows from the log; `None` = it concerns the log itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The row's primary key in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The column; `None` = the whole row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

impl Fault {
    /// A fault of nothing in particular.
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

    /// Concerns `stream`.
    #[must_use]
    pub fn of(mut self, stream: &StreamId) -> Self {
        self.stream = Some(stream.to_string());
        self
    }

    /// Concerns this version of the stream.
    #[must_use]
    pub const fn at_version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// Concerns this row of a table that follows from the log, or one column of it.
    #[must_use]
    pub fn in_table(mut self, table: &str, key: &str, column: Option<&str>) -> Self {
        (self.table, self.key) = (Some(table.to_owned()), Some(key.to_owned()));
        self.column = column.map(str::to_owned);
        self
    }

    /// Concerns this place in the log.
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

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Events that were read.
    pub events: u64,
    /// Streams that they are of.
    pub streams: u64,
    /// Rows of the read model that were compared with a fresh fold.
    pub entities: u64,
    /// What is wrong, the first of it.
    pub faults: Vec<Fault>,
    /// How much is wrong.
    pub fault_count: u64,
    /// What is worth knowing and no fault: what could not be compared, and what else is there to look at.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What the log is now.
    pub checkpoint: Checkpoint,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// How far a verification is.
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
