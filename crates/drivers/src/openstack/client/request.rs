//! A request to a service.

use reqwest::{Method, Url};
use serde_json::Value;

use crate::http::{ApiError, joined};
use crate::openstack::service::Service;

/// The body of a request.
#[derive(Clone)]
pub(in crate::openstack) enum Body {
    None,
    Json(Value),
    /// JSON under another media type.
    Typed(&'static str, Value),
    Bytes(Vec<u8>),
}

/// A request; the path is relative to the service's endpoint.
#[derive(Clone)]
pub(in crate::openstack) struct Request {
    pub(super) service: Service,
    pub(super) method: Method,
    path: Vec<String>,
    query: Vec<(String, String)>,
    pub(super) body: Body,
}

impl Request {
    pub(in crate::openstack) fn new(service: Service, method: Method, path: &[&str]) -> Self {
        Self {
            service,
            method,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            query: Vec::new(),
            body: Body::None,
        }
    }

    pub(in crate::openstack) fn get(service: Service, path: &[&str]) -> Self {
        Self::new(service, Method::GET, path)
    }

    pub(in crate::openstack) fn delete(service: Service, path: &[&str]) -> Self {
        Self::new(service, Method::DELETE, path)
    }

    pub(in crate::openstack) fn post(service: Service, path: &[&str], body: Value) -> Self {
        Self::new(service, Method::POST, path).with(Body::Json(body))
    }

    pub(in crate::openstack) fn put(service: Service, path: &[&str], body: Value) -> Self {
        Self::new(service, Method::PUT, path).with(Body::Json(body))
    }

    pub(in crate::openstack) fn with(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub(in crate::openstack) fn query(mut self, key: &str, value: &str) -> Self {
        self.query.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Whether the request may change something.
    pub(super) fn changes(&self) -> bool {
        self.method != Method::GET && self.method != Method::HEAD
    }

    /// The URL.
    ///
    /// # Errors
    /// `Invalid` for a segment that would lead to another path.
    pub(super) fn url(&self, endpoint: &Url) -> Result<Url, ApiError> {
        joined(endpoint, &self.path, &self.query)
    }
}
