//! Moments as RFC 3339 texts.

use stateward_domain::time::Timestamp;

/// Text with microseconds and `Z`; the end of time for what no calendar has.
pub(crate) fn text(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_microsecond(at.0).unwrap_or(jiff::Timestamp::MAX);
    format!("{moment:.6}")
}

/// The moment that a text names; `None` when it is no RFC 3339 text.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|moment| Timestamp(moment.as_microsecond()))
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
