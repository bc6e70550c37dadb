//! Request bodies: bounded, JSON, and without members that nobody knows.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::json::{parse, typed};
use crate::problem::Problem;

/// Bytes of a body at most.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole body with its media type.
pub(crate) struct Body {
    /// Media type without parameters, lower case; empty when none is named.
    pub(crate) media_type: String,
    /// What was sent.
    pub(crate) bytes: web::Bytes,
}

impl FromRequest for Body {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let media_type = request.content_type().to_ascii_lowercase();
        let bytes = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            let bytes = tokio::time::timeout(BODY_TIMEOUT, bytes).await.map_err(|_| {
                let detail = "the body did not come in time";
                Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", detail)
            })?;
            let bytes = bytes.map_err(|error| {
                if error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE {
                    let detail = format!("a body has {BODY_BYTES_MAX} bytes at most");
                    return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail);
                }
                Problem::malformed("bad-body", "the body could not be read")
            })?;
            Ok(Self { media_type, bytes })
        })
    }
}

impl Body {
    /// The body as a `T`.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.is(&["application/json"])?;
        parse(&self.bytes)
    }

    /// The body, an object, as a `T`, or its default when there is none. An empty list is no empty object.
    pub(crate) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.bytes.is_empty() {
            return Ok(T::default());
        }
        let object: Map<String, Value> = self.json()?;
        typed(Value::Object(object))
    }

    /// Refuses other media types than `accepted`.
    pub(crate) fn is(&self, accepted: &[&str]) -> Result<(), Problem> {
        if accepted.contains(&self.media_type.as_str()) {
            return Ok(());
        }
        let detail = format!("send {}", accepted.join(" or "));
        Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail))
    }
}
