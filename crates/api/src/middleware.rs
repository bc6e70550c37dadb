//! Middleware of every request: request id, span, duration, and the limit of concurrent requests.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, web};
use tracing::Instrument;

use crate::app_state::AppState;
use crate::connections::{Busy, Connection};
use crate::in_flight::InFlight;
use crate::problem::Problem;

/// Bytes of a response body that fits into the buffers of the connection.
const BUFFERED_BYTES_MAX: u64 = 32 * 1024;
/// Sent to the client, and recorded as the request id of events.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Id of a request, for handlers.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Marks a HEAD request, which is routed as a GET, and answered without the body.
struct HeadRequest;

/// Whether only the headers of the response are wanted.
pub(crate) fn is_head_request(request: &HttpRequest) -> bool {
    request.extensions().get::<HeadRequest>().is_some()
}

/// An empty body that reports the size of the omitted one.
struct Bodiless(BodySize);

impl MessageBody for Bodiless {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}

/// Runs a request with its id and span, within the limit of concurrent requests.
pub(crate) async fn with_request_context(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(app) = request.app_data::<web::Data<AppState>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let began = Instant::now();
    let id = app.engine.clock().id().to_string();
    request.extensions_mut().insert(RequestId(id.clone()));
    let (method, path) = (request.method().clone(), request.match_pattern());
    let head = method == Method::HEAD;
    if head {
        request.extensions_mut().insert(HeadRequest);
        request.head_mut().method = Method::GET;
    }
    let pattern = path.unwrap_or_else(|| "unknown".to_owned());
    let trace = trace_id(request.headers());
    let span =
        tracing::info_span!("request", request.id = id, trace.id = trace, %method, path = pattern);
    let busy = request.conn_data::<Arc<Connection>>().map(Connection::busy);
    let probe = ["/livez", "/readyz", "/metrics"].contains(&pattern.as_str());
    let place = if probe { None } else { app.limits.in_flight.clone().try_acquire_owned().ok() };
    let mut response = if probe || place.is_some() {
        let in_flight = place.map(InFlight::new).unwrap_or_default();
        request.extensions_mut().insert(in_flight.clone());
        let answered = next.call(request).instrument(span.clone()).await;
        in_flight.release();
        match answered {
            Ok(response) => response.map_into_boxed_body(),
            Err(error) => return Err(error),
        }
    } else {
        let problem = Problem::unavailable("too many requests are under way");
        request.into_response(problem.error_response()).map_into_boxed_body()
    };
    if head {
        // The body is dropped here: the server would read an unsent body to its end, and a stream has none.
        response = response.map_body(|_, body| BoxBody::new(Bodiless(body.size())));
    } else if let Some(busy) = busy {
        response = response.map_body(|_, body| keep_busy_until_sent(body, busy));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    record_outcome(&span, &method, &pattern, response.status(), began);
    Ok(response)
}

/// A response body that keeps its connection busy until it is sent.
struct BodyKeepingBusy {
    body: BoxBody,
    _busy: Busy,
}

impl MessageBody for BodyKeepingBusy {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

/// Wraps long bodies only; a short one is sent in one piece.
fn keep_busy_until_sent(body: BoxBody, busy: Busy) -> BoxBody {
    match body.size() {
        BodySize::None => body,
        BodySize::Sized(length) if length <= BUFFERED_BYTES_MAX => body,
        _ => BoxBody::new(BodyKeepingBusy { body, _busy: busy }),
    }
}

/// The trace id in a W3C `traceparent` (version, trace id, parent id, flags in hexadecimal); `None` if there is none.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let (_version, trace) = (parts.next()?, parts.next()?);
    let sound = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
    sound.then(|| trace.to_owned())
}

/// The method as a metric label: names that clients invent must not create metrics.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn record_outcome(
    span: &tracing::Span,
    method: &Method,
    pattern: &str,
    status: StatusCode,
    began: Instant,
) {
    let took = began.elapsed();
    metrics::histogram!(
        "stateward_request_seconds",
        "method" => method_label(method),
        "path" => pattern.to_owned(),
        "status" => status.as_u16().to_string()
    )
    .record(took.as_secs_f64());
    let _entered = span.enter();
    let (status, elapsed_ms) = (status.as_u16(), took.as_millis());
    if status >= 500 {
        tracing::warn!(status, elapsed_ms, "answered");
    } else {
        tracing::debug!(status, elapsed_ms, "answered");
    }
}
