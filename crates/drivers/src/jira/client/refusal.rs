//! Maps a refused request to an [`ErrorKind`] and a message, from status, headers and JIRA's error body.
//!
//! Invariant: no answer about one object concerns the whole backend. Only refused credentials do (401, and a CAPTCHA
//! that JIRA asks for after wrong passwords), which JIRA answers to every request of an account.

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::http::{ErrorKind, sanitized};

/// Pauses without a length.
const PAUSE_MS: u64 = 5_000;
/// Pauses are bounded: a longer one is cut, and asked for again.
const PAUSE_MS_MAX: u64 = 300_000;

/// What a refused request is classified by.
pub(super) struct Refusal<'a> {
    pub(super) status: u16,
    pub(super) changes: bool,
    /// Whether the token can be renewed.
    pub(super) renewable: bool,
    pub(super) headers: &'a HeaderMap,
    /// `Null` if the body was empty or no JSON.
    pub(super) body: &'a Value,
}

/// Kind, code and message.
pub(super) type Classified = (ErrorKind, &'static str, String);

/// Classifies a refusal.
pub(super) fn classify(refusal: &Refusal<'_>) -> Classified {
    let Refusal { status, changes, renewable, headers, body } = *refusal;
    let said = error_text(body);
    let message = match &said {
        Some(said) => format!("JIRA answers {status}: {said}"),
        None => format!("JIRA answers {status}"),
    };
    let (kind, code) = match status {
        401 if renewable => (ErrorKind::Unauthenticated, "unauthenticated"),
        401 => (ErrorKind::Unauthorized, "credentials_refused"),
        403 if asks_for_captcha(headers) => {
            let message =
                "JIRA wants a CAPTCHA solved after failed logins: log in once in a browser";
            return (ErrorKind::Unauthorized, "captcha_required", message.to_owned());
        }
        403 if said.is_none() => (ErrorKind::Transient, "blocked_on_the_way"),
        403 => (ErrorKind::Forbidden, "forbidden"),
        // A proxy or gateway does not know the path; that proves no absence.
        404 if said.is_none() => (ErrorKind::Transient, "not_routed"),
        404 => (ErrorKind::NotFound, "not_found"),
        409 => (ErrorKind::Conflict, "conflict"),
        413 => (ErrorKind::Invalid, "too_large"),
        429 | 503 if status == 429 || headers.contains_key("Retry-After") => {
            (ErrorKind::RateLimited(pause_ms(headers)), "rate_limited")
        }
        500.. if changes => (ErrorKind::Ambiguous, "server_error"),
        500.. => (ErrorKind::Transient, "server_error"),
        400.. => (ErrorKind::Invalid, "refused"),
        _ => {
            let message =
                format!("{message}: a redirect, as of a login page; `url` has to be JIRA's own");
            return (ErrorKind::Unsupported, "redirected", message);
        }
    };
    (kind, code, message)
}

/// Whether a 429 limits the writes of one issue.
pub(super) fn is_per_issue(headers: &HeaderMap) -> bool {
    let reason = headers.get("RateLimit-Reason").and_then(|value| value.to_str().ok());
    reason.is_some_and(|reason| reason.contains("per-issue"))
}

/// The messages of an error body, as one sentence; `None` = the body has none of JIRA's formats.
pub(super) fn error_text(body: &Value) -> Option<String> {
    let members = body.as_object()?;
    if !["errorMessages", "errors", "message"].iter().any(|name| members.contains_key(*name)) {
        return None;
    }
    let mut said: Vec<String> = Vec::new();
    said.extend(body["message"].as_str().map(str::to_owned));
    let general = body["errorMessages"].as_array().into_iter().flatten();
    said.extend(general.filter_map(Value::as_str).map(str::to_owned));
    for (field, message) in body["errors"].as_object().into_iter().flatten() {
        said.push(format!("{field}: {}", message.as_str().unwrap_or_default()));
    }
    Some(sanitized(&said.join("; ")))
}

fn asks_for_captcha(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("X-Authentication-Denied-Reason").is_some_and(|reason| reason.contains("CAPTCHA"))
        || text("X-Seraph-LoginReason").is_some_and(|reason| reason == "AUTHENTICATION_DENIED")
}

fn pause_ms(headers: &HeaderMap) -> u64 {
    let text = headers.get("Retry-After").and_then(|value| value.to_str().ok());
    let seconds = text.and_then(|text| text.trim().parse::<f64>().ok());
    let Some(seconds) = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0) else {
        return PAUSE_MS;
    };
    let pause = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(pause.as_millis()).unwrap_or(PAUSE_MS_MAX).clamp(100, PAUSE_MS_MAX)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    #[test]
    fn every_refusal_has_its_kind() {
        use ErrorKind::{
            Ambiguous, Conflict, Forbidden, Invalid, NotFound, RateLimited, Transient,
            Unauthorized, Unsupported,
        };
        let said = json!({"errorMessages": ["m"], "errors": {"duedate": "no"}});
        let none = Value::Null;
        let captcha = ("x-authentication-denied-reason", "CAPTCHA_CHALLENGE; login-url=x");
        for (status, changes, header, body, kind) in [
            (400, true, None, &said, Invalid),
            (400, true, None, &none, Invalid),
            (401, false, None, &none, Unauthorized),
            (403, false, Some(captcha), &none, Unauthorized),
            (403, true, None, &said, Forbidden),
            (403, false, None, &none, Transient),
            (404, false, None, &said, NotFound),
            (404, false, None, &none, Transient),
            (409, true, None, &said, Conflict),
            (413, true, None, &none, Invalid),
            (429, true, Some(("retry-after", "7")), &none, RateLimited(7_000)),
            (429, true, None, &none, RateLimited(PAUSE_MS)),
            (429, true, Some(("retry-after", "99999")), &none, RateLimited(PAUSE_MS_MAX)),
            (429, true, Some(("retry-after", "-1")), &none, RateLimited(PAUSE_MS)),
            (503, true, Some(("retry-after", "1")), &none, RateLimited(1_000)),
            (503, true, None, &none, Ambiguous),
            (502, false, None, &none, Transient),
            (302, false, None, &none, Unsupported),
        ] {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = header {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let refusal = Refusal { status, changes, renewable: false, headers: &headers, body };
            let (found, _, message) = classify(&refusal);
            assert_eq!(found, kind, "{status} {body}: {message}");
        }
    }

    #[test]
    fn messages_of_every_format_are_one_sentence() {
        let both = json!({"errorMessages": ["a"], "errors": {"x": "b"}});
        assert_eq!(error_text(&both).as_deref(), Some("a; x: b"));
        assert_eq!(error_text(&json!({"message": "m", "status-code": 404})).as_deref(), Some("m"));
        assert_eq!(error_text(&json!({"id": "1"})), None);
        assert_eq!(error_text(&Value::Null), None);
    }

    #[test]
    fn a_limit_of_one_issue_is_no_limit_of_the_others() {
        for (reason, per_issue) in
            [("jira-per-issue-on-write", true), ("jira-burst-based", false), ("", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert("RateLimit-Reason", HeaderValue::from_static(reason));
            assert_eq!(is_per_issue(&headers), per_issue, "{reason}");
        }
    }
}
