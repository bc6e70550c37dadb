//! Bodies of replies: bounded; an error body is reduced to its name and one safe sentence.

use reqwest::Response;
use serde_json::Value;

/// A page of 200 servers with all their members has about 1 MiB.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longer messages are cut.
const MESSAGE_CHARS_MAX: usize = 300;

/// Why a body was not read.
pub(super) enum BodyError {
    Broken,
    TooLarge,
}

/// Reads the body as JSON, whatever its media type; `Null` if it is empty or no JSON.
pub(super) async fn read(mut response: Response) -> Result<Value, BodyError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| BodyError::Broken)? {
        if bytes.len() + chunk.len() > BYTES_MAX {
            return Err(BodyError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// The content of an error body: its name (Neutron's `type`, the only key of Nova and Cinder) and its message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorBody {
    pub(super) name: String,
    pub(super) message: String,
}

/// Reads any of the error formats of the services; `None` = another format.
pub(super) fn error_body(body: &Value) -> Option<ErrorBody> {
    let members = body.as_object()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if members.contains_key("message") && members.contains_key("code") {
        let message = sanitized(&text(&body["message"]).unwrap_or_default());
        return Some(ErrorBody { name: text(&body["title"]).unwrap_or_default(), message });
    }
    let [(name, inner)] = members.iter().collect::<Vec<_>>()[..] else { return None };
    let message = match inner {
        Value::String(message) => message.clone(),
        inner => text(inner.get("message")?)?,
    };
    let name = inner.get("type").and_then(text).unwrap_or_else(|| name.clone());
    Some(ErrorBody { name, message: sanitized(&message) })
}

/// Reduces a message to one line of bounded length, without markup and without values that the user sent, which could
/// be secrets.
pub(super) fn sanitized(message: &str) -> String {
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
    use serde_json::json;

    use super::*;

    fn pair(body: Value) -> Option<(String, String)> {
        error_body(&body).map(|error_body| (error_body.name, error_body.message))
    }

    #[test]
    fn every_shape_of_an_error_is_read() {
        let of = |name: &str, message: &str| Some((name.to_owned(), message.to_owned()));
        let nova = json!({"itemNotFound": {"code": 404, "message": "Instance x"}});
        assert_eq!(pair(nova), of("itemNotFound", "Instance x"));
        let neutron =
            json!({"NeutronError": {"type": "NetworkInUse", "message": "m", "detail": ""}});
        assert_eq!(pair(neutron), of("NetworkInUse", "m"));
        let keystone = json!({"error": {"code": 404, "message": "m", "title": "Not Found"}});
        assert_eq!(pair(keystone), of("error", "m"));
        let glance = json!({"message": "gone<br /><br />\n\n\n", "code": "404 Not Found", "title": "Not Found"});
        assert_eq!(pair(glance), of("Not Found", "gone"));
        assert_eq!(pair(json!({"network": {"id": "x"}})), None);
        assert_eq!(pair(Value::Null), None);
    }

    #[test]
    fn messages_are_one_short_line_without_what_was_sent() {
        let message = "Invalid input for field/attribute user_data. Value: hunter2. 'hunter2' is";
        assert_eq!(sanitized(message), "Invalid input for field/attribute user_data.");
        assert_eq!(sanitized("<h1>a\nb\t c</h1>"), "a b c");
        assert_eq!(sanitized(&"x".repeat(5_000)).len(), MESSAGE_CHARS_MAX);
    }
}
