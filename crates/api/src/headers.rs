//! Request headers that mean something to a change.

use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest};
use sha2::{Digest, Sha256};
use stateward_domain::envelope::{Envelope, Idempotency};
use stateward_domain::id::{Namespace, Revision};

use crate::app::App;
use crate::auth::{Caller, hexadecimal};
use crate::observe::RequestId;
use crate::problem::Problem;

pub(crate) const REASON_CHARS_MAX: usize = 500;
const KEY_CHARS_MAX: usize = 255;
const WAIT_MAX: Duration = Duration::from_mins(1);

/// Text of a header; `None` when it is not there.
fn text<'a>(request: &'a HttpRequest, name: &str) -> Result<Option<&'a str>, Problem> {
    let Some(value) = request.headers().get(name) else { return Ok(None) };
    // Header values may be UTF-8 beyond ASCII; reasons often are.
    let text = std::str::from_utf8(value.as_bytes()).ok();
    let text = text.filter(|text| !text.chars().any(char::is_control));
    text.map(Some)
        .ok_or_else(|| Problem::malformed("bad-header", format!("{name} is not valid text")))
}

/// Who, why, from where, and under which idempotency key, for a change in `namespace`; `None` = beside all
/// namespaces. `body` tells another request under the same key.
pub(crate) fn envelope(
    app: &App,
    caller: &Caller,
    request: &HttpRequest,
    namespace: Option<&Namespace>,
    body: &[u8],
) -> Result<Envelope, Problem> {
    // A header that is not valid is refused before anything is written, also one that only the answer needs.
    wait(request)?;
    let reason = text(request, "Stateward-Reason")?;
    let settings = namespace.and_then(|name| app.engine.access().namespace(name));
    let missing = reason.is_none_or(|reason| reason.trim().is_empty());
    if missing && settings.is_some_and(|settings| settings.require_reason) {
        let detail = "changes in this namespace need a reason: send Stateward-Reason";
        return Err(Problem::unprocessable("reason-required", detail));
    }
    if reason.is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX) {
        let detail = format!("a reason has {REASON_CHARS_MAX} characters at most");
        return Err(Problem::malformed("bad-header", detail));
    }
    Ok(Envelope {
        namespace: namespace.cloned().unwrap_or_default(),
        actor: caller.actor.clone(),
        reason: reason.map(str::to_owned),
        change: text(request, "Stateward-Change")?.map(|text| shortened(text, KEY_CHARS_MAX)),
        request: request.extensions().get::<RequestId>().map(|id| id.0.clone()),
        trace: text(request, "traceparent")?.map(|text| shortened(text, KEY_CHARS_MAX)),
        client: request.peer_addr().map(|address| address.ip().to_string()),
        idempotency: idempotency(request, body)?,
        ..Envelope::default()
    })
}

fn shortened(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

fn idempotency(request: &HttpRequest, body: &[u8]) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = text(request, "Idempotency-Key")? else { return Ok(None) };
    if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
        let detail = format!("an idempotency key has 1 to {KEY_CHARS_MAX} characters");
        return Err(Problem::malformed("bad-header", detail));
    }
    let mut hasher = Sha256::new();
    for part in [request.method().as_str(), request.path(), request.query_string()] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.update(body);
    let fingerprint = hexadecimal(&hasher.finalize());
    Ok(Some(Idempotency { key: hexadecimal(&Sha256::digest(key)), fingerprint }))
}

/// `Prefer: wait=N`; `None` when the client does not want to wait.
pub(crate) fn wait(request: &HttpRequest) -> Result<Option<Duration>, Problem> {
    let Some(prefer) = text(request, "Prefer")? else { return Ok(None) };
    // Preferences that are not known are ignored, as RFC 7240 wants it.
    let wait = prefer
        .split([',', ';'])
        .filter_map(|preference| preference.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"));
    let Some((_, seconds)) = wait else { return Ok(None) };
    let seconds: u64 = seconds
        .trim()
        .trim_matches('"')
        .parse()
        .map_err(|_| Problem::malformed("bad-header", "wait is a number of seconds"))?;
    Ok(Some(Duration::from_secs(seconds).min(WAIT_MAX)))
}

/// `If-Match: "REVISION"`; `None` when it is absent or `*`.
pub(crate) fn if_match(request: &HttpRequest) -> Result<Option<Revision>, Problem> {
    let Some(tag) = text(request, "If-Match")?.map(str::trim).filter(|tag| *tag != "*") else {
        return Ok(None);
    };
    let number = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let revision = number.and_then(|number| number.parse().ok()).map(Revision);
    revision.map(Some).ok_or_else(|| {
        Problem::malformed("bad-header", "If-Match takes one revision in quotes, such as \"3\"")
    })
}
