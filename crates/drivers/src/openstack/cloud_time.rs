//! Times as the services write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The time in `text`; `None` = it is none. Cinder omits the time zone, as does Keystone for a token that ends with its
/// application credential: it is UTC.
pub(super) fn parsed(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let local: DateTime = text.parse().ok()?;
    local.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_utc() {
        let expected: Timestamp = "2026-11-25T04:00:00.5Z".parse().unwrap();
        for text in
            ["2026-11-25T04:00:00.500000Z", "2026-11-25T04:00:00.5", "2026-11-25T05:00:00.5+01:00"]
        {
            assert_eq!(parsed(text), Some(expected), "{text}");
        }
        for text in ["", "soon", "2026-11-25T"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
