//! Request bodies: bounded, JSON, without unknown members.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use stateward_domain::document::{self, ParsedExtent};
use stateward_engine::admission::compiled_schemas::Kinds;

use crate::app_state::AppState;
use crate::concurrency_limits::{BODIES_BYTES_EACH, Limits};
use crate::decompress::Coding;
use crate::fair_semaphore::{CallerId, FairPermit, units};
use crate::in_flight::InFlight;
use crate::json::{parse, typed};
use crate::problem::Problem;

/// Maximum bytes of a body, beside the largest text that a kind allows in it.
const REST_BYTES_MAX: usize = 1024 * 1024;
/// Maximum bytes of one character: a control character is escaped as `\u0001`; characters of more than three bytes in
/// UTF-8 need no escape.
const CHAR_BYTES_MAX: usize = 6;
/// Upper bound of a body, whatever the schemas allow.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Values of a body, at most: those of a desired state, and room for the rest of a manifest or the steps of a patch.
const VALUES_MAX: usize = document::Limits::DOCUMENT.values + 10_000;

/// Maximum bytes of a body.
#[derive(Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

impl BodyLimit {
    /// Every desired state that the schemas of `kinds` allow fits into the body, in any escaping.
    pub(crate) fn of(kinds: &Kinds) -> Self {
        let longest = kinds.iter().map(|kind| longest_text(&kind.schema)).max().unwrap_or_default();
        Self(longest.saturating_mul(CHAR_BYTES_MAX).saturating_add(REST_BYTES_MAX).min(BYTES_MAX))
    }
}

/// Characters of the longest text that a schema bounds.
fn longest_text(schema: &Value) -> usize {
    match schema {
        Value::Object(members) => {
            let own = members.get("maxLength").and_then(Value::as_u64);
            let own = own.and_then(|own| usize::try_from(own).ok()).unwrap_or_default();
            members.values().map(longest_text).max().unwrap_or_default().max(own)
        }
        Value::Array(items) => items.iter().map(longest_text).max().unwrap_or_default(),
        _ => 0,
    }
}

/// Time limit for receiving a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a refused body is read, so that its client receives the response.
const DRAIN_BYTES_MAX: usize = 2 * BYTES_MAX;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A complete body with its media type.
pub(crate) struct Body {
    /// Media type in lower case without parameters; empty if the request has none.
    pub(crate) media_type: String,
    /// The decompressed body.
    pub(crate) bytes: web::Bytes,
    /// Memory of the body and of the value that is parsed from it, in bytes.
    size: usize,
    memory: RefCell<MemoryBudget>,
}

impl FromRequest for Body {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let media_type = request.content_type().to_ascii_lowercase();
        let limit = request.app_data::<BodyLimit>().map_or(BYTES_MAX, |limit| limit.0);
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let announced = header(CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0);
        let coding = Coding::of(header(CONTENT_ENCODING));
        let (app, in_flight) =
            (request.app_data::<web::Data<AppState>>().cloned(), InFlight::of(request));
        let mut payload = payload.take();
        Box::pin(async move {
            let unknown = || Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "who asks?");
            // The body of an unauthenticated request is not read.
            let (app, who) = app.zip(in_flight.caller()).ok_or_else(unknown)?;
            let mut memory = MemoryBudget::of(app.limits.clone(), who)?;
            let received = async {
                if announced > limit {
                    return Err(too_large(limit));
                }
                let coding = coding?;
                let received = receive(&mut payload, limit, &mut memory);
                let received =
                    tokio::time::timeout(BODY_TIMEOUT, received).await.map_err(|_| {
                        let detail = "the body did not come in time";
                        Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", detail)
                    })??;
                Ok((coding, received))
            };
            let (coding, received) = match received.await {
                Ok(received) => received,
                Err(problem) => {
                    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drain(&mut payload)).await;
                    return Err(problem);
                }
            };
            let bytes = if coding == Coding::Identity {
                received.freeze()
            } else {
                let mut left = limit;
                let charge = |bytes| {
                    left = left.checked_sub(bytes).ok_or_else(|| too_large(limit))?;
                    memory.grow(bytes)
                };
                coding.decode(&received, charge)?.into()
            };
            let parsed = parsed_bytes(&bytes)?;
            memory.grow(parsed)?;
            let size = bytes.len() + parsed;
            Ok(Self { media_type, bytes, size, memory: RefCell::new(memory) })
        })
    }
}

/// Reads and drops what a refused request still sends: a connection that is closed with unread bytes is reset, and its
/// client may lose the response.
async fn drain(payload: &mut Payload) {
    let mut left = DRAIN_BYTES_MAX;
    while let Some(Ok(piece)) = payload.next().await {
        match left.checked_sub(piece.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

async fn receive(
    payload: &mut Payload,
    limit: usize,
    memory: &mut MemoryBudget,
) -> Result<web::BytesMut, Problem> {
    let mut bytes = web::BytesMut::new();
    while let Some(piece) = payload.next().await {
        let unread = |_| Problem::malformed("bad-body", "the body could not be read");
        let piece = piece.map_err(unread)?;
        if bytes.len() + piece.len() > limit {
            return Err(too_large(limit));
        }
        memory.grow(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Memory of what is parsed from `body`, in bytes, before it is parsed.
///
/// # Errors
/// 413 if it has more values than any request needs.
fn parsed_bytes(body: &[u8]) -> Result<usize, Problem> {
    let ParsedExtent { values, bytes } = document::parsed_extent(body);
    if values > VALUES_MAX {
        let detail = format!("a body has {VALUES_MAX} values at most");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
    }
    Ok(bytes)
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("a body has {limit} bytes at most");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

/// The memory of a request's body and of the values parsed from it; bounded for all callers and for each.
///
/// A request that needs more than the share of one caller takes the whole share: it is served while the caller has no
/// other request with a body. Its need is bounded by the bytes and values of a body and of a document.
struct MemoryBudget {
    limits: Arc<Limits>,
    share: FairPermit,
    /// Bytes; the permit has whole units.
    taken: usize,
    granted: u32,
}

impl MemoryBudget {
    fn of(limits: Arc<Limits>, who: CallerId) -> Result<Self, Problem> {
        let share = limits.bodies.take(who, 0).ok_or_else(no_memory)?;
        Ok(Self { limits, share, taken: 0, granted: 0 })
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        self.taken += bytes;
        let more = units(self.taken.min(BODIES_BYTES_EACH)).saturating_sub(self.granted);
        if !self.limits.bodies.grow(&mut self.share, more) {
            return Err(no_memory());
        }
        self.granted += more;
        Ok(())
    }
}

fn no_memory() -> Problem {
    Problem::unavailable("too many large requests are under way")
}

impl Body {
    /// Releases the memory of values made with the body, beside the one that is parsed from it: the next values take
    /// its place.
    pub(crate) fn reset_charge(&self) {
        self.memory.borrow_mut().taken = self.size;
    }

    /// Charges `bytes` for values made with the body, until the response is sent.
    ///
    /// # Errors
    /// 503 if too much memory is in use.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Problem> {
        self.memory.borrow_mut().grow(bytes)
    }

    /// The body as a `T`.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.require_media_type(&["application/json"])?;
        parse(&self.bytes)
    }

    /// The body, an object, as a `T`; the default of `T` if there is no body. An empty list is no empty object.
    pub(crate) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.bytes.is_empty() {
            return Ok(T::default());
        }
        let object: Map<String, Value> = self.json()?;
        typed(Value::Object(object))
    }

    /// Refuses media types other than `accepted`.
    pub(crate) fn require_media_type(&self, accepted: &[&str]) -> Result<(), Problem> {
        if accepted.contains(&self.media_type.as_str()) {
            return Ok(());
        }
        let detail = format!("send {}", accepted.join(" or "));
        Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_with_more_values_than_any_request_needs_is_refused_before_it_is_parsed() {
        let list = |items: usize| format!("[{}]", vec!["{\"\":0}"; items].join(","));
        assert!(
            parsed_bytes(list(VALUES_MAX / 2 - 1).as_bytes()).is_ok_and(|bytes| bytes > 40_000_000)
        );
        let problem = parsed_bytes(list(VALUES_MAX / 2 + 1).as_bytes()).expect_err("refused");
        assert!(problem.to_string().contains("110000 values at most"), "{problem}");
    }

    #[test]
    fn the_longest_text_counts_wherever_a_schema_has_it() {
        let schema = json!({
            "properties": {
                "a": { "type": "string", "maxLength": 7 },
                "b": { "items": { "anyOf": [{ "maxLength": 9 }, { "maxLength": 3 }] } },
                "maxLength": { "type": "integer" },
            },
        });
        assert_eq!(longest_text(&schema), 9);
        assert_eq!(longest_text(&json!(true)), 0);
    }
}
