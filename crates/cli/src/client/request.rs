//! A request before it is sent.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

/// A request. Everything but a GET is a change: every repetition has the same idempotency key.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    query: Vec<(String, String)>,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
    pub(super) accept: Option<&'static str>,
    /// Position after which an event stream continues.
    pub(super) last_seen: Option<String>,
    pub(super) wait: Option<Duration>,
    /// Idempotency key; `None` = the client makes one for each change.
    pub(super) key: Option<String>,
    pub(super) repeatable: bool,
    pub(super) without_timeout: bool,
}

impl Request {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            body: None,
            accept: None,
            last_seen: None,
            wait: None,
            key: None,
            repeatable: true,
            without_timeout: false,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds a parameter.
    pub(crate) fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a parameter, if there is one.
    pub(crate) fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a parameter for each of the values.
    pub(crate) fn each(self, name: &str, values: &[String]) -> Self {
        values.iter().fold(self, |request, value| request.query(name, &**value))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body)
    }

    pub(crate) fn merge_patch(self, body: &Value) -> Self {
        self.body("application/merge-patch+json", body)
    }

    fn body(mut self, media_type: &'static str, body: &Value) -> Self {
        self.body = Some((media_type, body.to_string().into_bytes()));
        self
    }

    /// Asks for another media type than JSON.
    pub(crate) fn accept(mut self, media_type: &'static str) -> Self {
        self.accept = Some(media_type);
        self
    }

    /// Continues after this position.
    pub(super) fn last_seen(mut self, position: Option<&str>) -> Self {
        self.last_seen = position.map(str::to_owned);
        self
    }

    /// `Prefer: wait`: the server answers once the operation is done, or after this time.
    pub(super) fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// A repetition would not be recognised: the request is sent again only when it certainly was not accepted.
    pub(crate) fn not_repeatable(mut self) -> Self {
        self.repeatable = false;
        self
    }

    /// The answer has no deadline.
    pub(crate) fn without_timeout(mut self) -> Self {
        self.without_timeout = true;
        self
    }

    pub(super) fn is_change(&self) -> bool {
        self.method != Method::GET
    }

    /// Path and query.
    pub(super) fn address(&self) -> String {
        let pairs: Vec<_> =
            self.query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let separator = if pairs.is_empty() { "" } else { "?" };
        format!("{}{separator}{}", self.path, pairs.join("&"))
    }
}

/// Percent-encodes everything but unreserved characters (RFC 3986), for a query or a path segment.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_break_out_of_their_place() {
        let request = Request::get("/v1/entities").query("name", "a&b=c/ü").maybe("kind", None);
        assert_eq!(request.address(), "/v1/entities?name=a%26b%3Dc%2F%C3%BC");
    }
}
