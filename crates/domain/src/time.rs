//! Time as a value: microseconds since the Unix epoch. Invariant: this crate never reads the machine's clocks; they
//! are passed in. [`LogClock`] derives log time and steady time from them.

mod log_clock;
mod manual;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use log_clock::{LogClock, Moment};
pub use manual::ManualClock;

/// A moment, in microseconds since the Unix epoch (UTC).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Never: work that is due then waits for a person.
    pub const NEVER: Self = Self(i64::MAX);

    /// This moment plus `duration`; saturates at the end of time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Moments as RFC 3339 texts.
pub mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Timestamp;

    /// Text with microseconds and `Z`; the latest representable time for a moment beyond the calendar.
    #[must_use]
    pub fn text(at: Timestamp) -> String {
        let moment = jiff::Timestamp::from_microsecond(at.0).unwrap_or(jiff::Timestamp::MAX);
        format!("{moment:.6}")
    }

    /// The moment of an RFC 3339 text; `None` when it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Timestamp> {
        text.parse::<jiff::Timestamp>().ok().map(|moment| Timestamp(moment.as_microsecond()))
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*at))
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// When the text is not RFC 3339.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(d)?;
        parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn comes_back_to_the_microsecond() {
            let at = Timestamp(1_795_500_000_123_456);
            assert_eq!(parse(&text(at)), Some(at));
            assert!(text(at).ends_with(".123456Z"), "{}", text(at));
        }
    }
}

/// The wall clock. The wiring passes the system's, tests a manual one.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// A clock for durations: it never goes back, and it counts while the machine is suspended.
pub trait SteadyClock: Send + Sync {
    /// Time since some fixed moment of this machine's life.
    fn elapsed(&self) -> Duration;
}
