//! A request to JIRA.

use reqwest::Method;
use serde_json::Value;

/// The body of a request.
#[derive(Clone)]
pub(in crate::jira) enum Body {
    None,
    Json(Value),
}

/// A request; the path is relative to `rest/api/N`.
#[derive(Clone)]
pub(in crate::jira) struct Request {
    pub(super) method: Method,
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Body,
    /// Whether a POST only searches.
    reads: bool,
}

impl Request {
    fn new(method: Method, path: &[&str], body: Body) -> Self {
        let path = path.iter().map(|&segment| segment.to_owned()).collect();
        Self { method, path, query: Vec::new(), body, reads: false }
    }

    pub(in crate::jira) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path, Body::None)
    }

    pub(in crate::jira) fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, path, Body::None)
    }

    pub(in crate::jira) fn post(path: &[&str], body: Value) -> Self {
        Self::new(Method::POST, path, Body::Json(body))
    }

    pub(in crate::jira) fn put(path: &[&str], body: Value) -> Self {
        Self::new(Method::PUT, path, Body::Json(body))
    }

    pub(in crate::jira) fn query(mut self, key: &str, value: &str) -> Self {
        self.query.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A POST that changes nothing.
    pub(in crate::jira) fn reading(mut self) -> Self {
        self.reads = true;
        self
    }

    /// Whether the request may change something.
    pub(super) fn changes(&self) -> bool {
        self.method != Method::GET && !self.reads
    }
}
