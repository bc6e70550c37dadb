//! Durations as texts: `50ms`, `10s`, `5m`, `1h 30m`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

fn parse(text: &str) -> Option<Duration> {
    let signed: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(signed).ok()
}

pub(super) fn required<'de, D: Deserializer<'de>>(source: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(source)?;
    parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no duration such as \"10s\"")))
}

pub(super) fn optional<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Duration>, D::Error> {
    required(source).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_a_number_and_a_unit() {
        assert_eq!(parse("50ms"), Some(Duration::from_millis(50)));
        assert_eq!(parse("10m"), Some(Duration::from_mins(10)));
        for bad in ["", "5", "s", "-1s", "soon"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
