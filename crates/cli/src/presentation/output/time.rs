//! Times as people read and write them: ages, durations, relative times.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::exit::CliError;

/// The time since `since`: `12s`, `5m`, `3h`, `4d`; empty when it is no time.
pub(crate) fn age(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return String::new() };
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 120 {
        format!("{minutes}m")
    } else if hours < 48 {
        format!("{hours}h")
    } else {
        format!("{days}d")
    }
}

/// A time to the second, in UTC; the text itself when it is no time.
pub(crate) fn moment(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |moment| format!("{moment:.0}"))
}

/// A duration such as `90s`, `5m` or `1h30m`.
///
/// # Errors
/// A message for the command line.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no duration such as 90s, 5m or 1h30m");
    let signed: SignedDuration = text.parse().map_err(|_| bad())?;
    Duration::try_from(signed).map_err(|_| bad())
}

/// A time in the past (`10m` = ten minutes ago) or an RFC 3339 time, as RFC 3339.
///
/// # Errors
/// A usage error.
pub(crate) fn past(text: &str, now: Timestamp) -> anyhow::Result<String> {
    relative(text, now, Timestamp::checked_sub)
}

/// A time in the future (`2h` = in two hours) or an RFC 3339 time, as RFC 3339.
///
/// # Errors
/// A usage error.
pub(crate) fn future(text: &str, now: Timestamp) -> anyhow::Result<String> {
    relative(text, now, Timestamp::checked_add)
}

fn relative(
    text: &str,
    now: Timestamp,
    apply: impl Fn(Timestamp, SignedDuration) -> Result<Timestamp, jiff::Error>,
) -> anyhow::Result<String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.to_string());
    }
    let duration = text.parse().ok().filter(|duration: &SignedDuration| !duration.is_negative());
    let moment = duration.and_then(|duration| apply(now, duration).ok());
    let bad =
        || CliError::usage(format!("`{text}` is no RFC 3339 time and no duration such as 10m"));
    moment.map(|moment| moment.to_string()).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-25T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn ages_are_short() {
        let ages = [
            "2026-11-25T11:59:01.5Z",
            "2026-11-25T11:55:00Z",
            "2026-11-24T12:00:00Z",
            "2026-11-01T12:00:00Z",
        ]
        .map(|since| age(since, now()));
        assert_eq!(ages, ["58s", "5m", "24h", "24d"]);
        assert_eq!(age("2026-11-25T12:00:09Z", now()), "0s", "clocks differ a little");
        assert_eq!(age("never", now()), "");
    }

    #[test]
    fn moments_may_be_relative() {
        assert_eq!(past("90m", now()).unwrap(), "2026-11-25T10:30:00Z");
        assert_eq!(future("1h", now()).unwrap(), "2026-11-25T13:00:00Z");
        assert_eq!(past("2026-11-25T10:00:00+01:00", now()).unwrap(), "2026-11-25T09:00:00Z");
        assert!(past("yesterday", now()).is_err());
    }

    #[test]
    fn durations_are_texts() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert!(duration("-5s").is_err());
        assert!(future("-5s", now()).is_err() && past("-5s", now()).is_err());
        assert!(duration("5").is_err());
    }
}
