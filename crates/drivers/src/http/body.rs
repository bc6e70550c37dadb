//! Bodies of replies: bounded; a message is reduced to one safe sentence.

use reqwest::Response;
use serde_json::Value;

/// A page of 200 servers with all their members has about 1 MiB.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longer messages are cut.
const MESSAGE_CHARS_MAX: usize = 300;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    Broken,
    TooLarge,
}

/// Reads the body.
///
/// # Errors
/// It broke off, or is larger than 16 MiB.
pub(crate) async fn bytes(mut response: Response) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| BodyError::Broken)? {
        if bytes.len() + chunk.len() > BYTES_MAX {
            return Err(BodyError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads the body as JSON, whatever its media type; `Null` if it is empty or no JSON.
///
/// # Errors
/// As [`bytes`].
pub(crate) async fn json(response: Response) -> Result<Value, BodyError> {
    Ok(serde_json::from_slice(&bytes(response).await?).unwrap_or(Value::Null))
}

/// Reduces a message to one line of bounded length, without markup and without values that the user sent, which could
/// be secrets.
pub(crate) fn sanitized(message: &str) -> String {
    let mut plain = String::new();
    let mut in_tag = false;
    for character in message.chars() {
        match character {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            _ if in_tag => {}
            other => plain.push(if other.is_control() { ' ' } else { other }),
        }
    }
    // Nova and Neutron repeat refused values after this word.
    let plain = plain.split("Value:").next().unwrap_or_default();
    let words: Vec<_> = plain.split_whitespace().collect();
    words.join(" ").chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_short_line_without_what_was_sent() {
        let message = "Invalid input for field/attribute user_data. Value: hunter2. 'hunter2' is";
        assert_eq!(sanitized(message), "Invalid input for field/attribute user_data.");
        assert_eq!(sanitized("<h1>a\nb\t c</h1>"), "a b c");
        assert_eq!(sanitized(&"x".repeat(5_000)).len(), MESSAGE_CHARS_MAX);
    }
}
