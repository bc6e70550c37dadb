//! A request to the REST interface, its reply, and JIRA's form of an error.

use std::collections::BTreeMap;
use std::time::Instant;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value, json};

/// A request below `/rest/api/N`.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// 2 or 3.
    pub(crate) api: u8,
    pub(crate) is_cloud: bool,
    /// Decoded segments of the path behind the version.
    pub(crate) segments: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Name of the user; `None` = an anonymous caller.
    pub(crate) user: Option<String>,
    /// Address of the site with its context path.
    pub(crate) base: String,
    /// Address of the host that serves the contents of attachments.
    pub(crate) media: String,
    pub(crate) now: Instant,
    /// The server's clock.
    pub(crate) time: Timestamp,
    pub(crate) utc_offset_hours: i8,
}

impl Call {
    /// The JSON body.
    ///
    /// # Errors
    /// 400 when it is not JSON.
    pub(crate) fn json(&self) -> Result<Value, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Problem::message(400, &format!("There was an error parsing JSON. Check that your request body is valid. ({error})"))
        })
    }

    /// The first value of a query parameter.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A truth value in the query, in whatever case; `None` when it is not given.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.param(name).map(|text| text.eq_ignore_ascii_case("true"))
    }

    /// All values of a list parameter, which may be repeated or separated by commas.
    pub(crate) fn params(&self, name: &str) -> Vec<&str> {
        let values = self.query.iter().filter(|(key, _)| key == name);
        values.flat_map(|(_, value)| value.split(',')).filter(|value| !value.is_empty()).collect()
    }

    /// Whether `expand` names `what`.
    pub(crate) fn expands(&self, what: &str) -> bool {
        self.params("expand").contains(&what)
    }

    /// A number in the query, or `default`.
    ///
    /// # Errors
    /// 400 when it is not a number.
    pub(crate) fn number(&self, name: &str, default: usize) -> Result<usize, Problem> {
        let Some(text) = self.param(name) else { return Ok(default) };
        text.parse().map_err(|_| Problem::message(400, &format!("'{text}' is no valid {name}.")))
    }

    /// The address of a resource of this interface.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}/rest/api/{}/{path}", self.base, self.api)
    }

    /// A moment as JIRA writes it: with milliseconds, in the user's time zone.
    pub(crate) fn moment(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone()).strftime("%Y-%m-%dT%H:%M:%S.%3f%z").to_string()
    }

    /// The user's time zone.
    pub(crate) fn zone(&self) -> TimeZone {
        TimeZone::fixed(Offset::constant(self.utc_offset_hours))
    }

    /// A page of `items`, in the form of most lists: `values` with `startAt`, `maxResults`, `total`, `isLast`.
    ///
    /// # Errors
    /// 400 for a malformed `startAt` or `maxResults`.
    pub(crate) fn page(&self, items: Vec<Value>, largest: usize) -> Result<Value, Problem> {
        let (start, size) = (self.number("startAt", 0)?, self.number("maxResults", 50)?);
        let (total, size) = (items.len(), size.min(largest));
        let values: Vec<_> = items.into_iter().skip(start).take(size).collect();
        let is_last = start + values.len() >= total;
        Ok(
            json!({"startAt": start, "maxResults": size, "total": total, "isLast": is_last, "values": values}),
        )
    }
}

/// A reply.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

impl Reply {
    /// A reply with a JSON body.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content_type: "application/json;charset=UTF-8",
            body: Bytes::from(body.to_string()),
        }
    }

    /// 200 with a JSON body.
    pub(crate) fn ok(body: Value) -> Self {
        Self::json(200, &body)
    }

    /// A reply without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content_type: "", body: Bytes::new() }
    }

    /// A reply of another type.
    pub(crate) fn text(status: u16, content_type: &'static str, body: &str) -> Self {
        Self { content_type, body: Bytes::from(body.to_owned()), ..Self::empty(status) }
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) messages: Vec<String>,
    /// Messages by field.
    pub(crate) errors: BTreeMap<String, String>,
}

impl Problem {
    pub(crate) fn message(status: u16, text: &str) -> Self {
        Self { status, messages: vec![text.to_owned()], errors: BTreeMap::new() }
    }

    /// 400 for one field.
    pub(crate) fn field(name: &str, text: &str) -> Self {
        let errors = BTreeMap::from([(name.to_owned(), text.to_owned())]);
        Self { status: 400, messages: Vec::new(), errors }
    }

    /// 400 for several fields; `None` for none.
    pub(crate) fn fields(errors: BTreeMap<String, String>) -> Option<Self> {
        (!errors.is_empty()).then_some(Self { status: 400, messages: Vec::new(), errors })
    }

    pub(crate) fn no_issue() -> Self {
        Self::message(404, "Issue does not exist or you do not have permission to see it.")
    }

    pub(crate) fn no_project(name: &str) -> Self {
        Self::message(404, &format!("No project could be found with key '{name}'."))
    }

    pub(crate) fn unauthorized() -> Self {
        let text = "You are not authenticated. Authentication required to perform this operation.";
        Self::message(401, text)
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let body = json!({"errorMessages": problem.messages, "errors": problem.errors});
        Self::json(problem.status, &body)
    }
}

/// The answer to a call.
pub(crate) type Answer = Result<Reply, Problem>;

/// Decodes `%41` and, in a query, `+`. Bytes that are no UTF-8 become U+FFFD.
pub(crate) fn decoded(text: &str, is_query: bool) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, hex) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) if is_query => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The parameters of a query string, in order.
pub(crate) fn parameters(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name, true), decoded(value, true))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let found = parameters("jql=labels+%3D+%22a%2Bb%22&fields=a%2Cb&x");
        let expected = [("jql", "labels = \"a+b\""), ("fields", "a,b"), ("x", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, expected);
        assert_eq!(decoded("100%", false), "100%");
    }
}
