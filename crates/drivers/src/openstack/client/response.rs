//! Error bodies, reduced to their name and one safe sentence.

use serde_json::Value;

use crate::http::sanitized;

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
}
