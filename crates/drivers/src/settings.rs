//! Settings of a backend: its own keys in the TOML section, without those that every backend has.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A backend's own keys, without those that the engine reads (`driver`, `concurrency`, …).
pub type Settings = Map<String, Value>;

/// Why a backend cannot be connected; one line, for the author of the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No driver has that name.
    #[error("unknown driver `{name}`, expected one of {known}")]
    UnknownDriver {
        /// The name that was asked for.
        name: String,
        /// All known names, for the message.
        known: String,
    },
    /// A key is unknown, missing or malformed.
    #[error("driver `{driver}`: {message}")]
    Settings {
        /// The driver.
        driver: &'static str,
        /// The key, and what is wrong with it.
        message: String,
    },
    /// The settings are valid, but the backend cannot be used with them.
    #[error("driver `{driver}`: {message}")]
    Unusable {
        /// The driver.
        driver: &'static str,
        /// What failed.
        message: String,
    },
}

/// Reads the settings of `driver`; `T` has to deny unknown fields.
pub(crate) fn parse<T: DeserializeOwned>(
    driver: &'static str,
    settings: &Settings,
) -> Result<T, ConnectError> {
    serde_json::from_value(Value::Object(settings.clone()))
        .map_err(|error| ConnectError::Settings { driver, message: error.to_string() })
}

/// For `#[serde(deserialize_with)]`: a text such as `50ms`, `10s`, `5m` or `1h`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(source: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(source)?;
    duration_of(&text).ok_or_else(|| {
        serde::de::Error::custom(format!("`{text}` is no duration such as \"50ms\" or \"10s\""))
    })
}

/// A text such as `50ms`, `10s`, `5m` or `1h` as a duration; `None` = another text.
pub(crate) fn duration_of(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(duration_of("50ms"), Some(Duration::from_millis(50)));
        assert_eq!(duration_of("2h"), Some(Duration::from_hours(2)));
        for bad in
            ["", "5", "s", "-1s", "1.5s", "5 s", "99999999999999999999s", "99999999999999999d"]
        {
            assert_eq!(duration_of(bad), None, "{bad}");
        }
    }
}
