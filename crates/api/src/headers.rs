//! Request headers of changes.

use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest};
use sha2::{Digest, Sha256};
use stateward_domain::envelope::{Envelope, Idempotency};
use stateward_domain::id::{Namespace, Revision};

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::auth::token_digest::hexadecimal;
use crate::middleware::RequestId;
use crate::problem::Problem;

const REASON_CHARS_MAX: usize = 500;
const KEY_CHARS_MAX: usize = 255;
const WAIT_MAX: Duration = Duration::from_mins(1);

/// Text of a header; `None` if it is absent.
fn text<'a>(request: &'a HttpRequest, name: &str) -> Result<Option<&'a str>, Problem> {
    let Some(value) = request.headers().get(name) else { return Ok(None) };
    // Header values may contain UTF-8 beyond ASCII; reasons often do.
    let text = std::str::from_utf8(value.as_bytes()).ok();
    let text = text.filter(|text| !text.chars().any(char::is_control));
    text.map(Some)
        .ok_or_else(|| Problem::malformed("bad-header", format!("{name} is not valid text")))
}

/// A reason in a body, validated like the header.
///
/// # Errors
/// 422 if it is too long or has control characters.
pub(crate) fn reason(text: Option<String>) -> Result<Option<String>, Problem> {
    let fits = |text: &String| {
        text.chars().count() <= REASON_CHARS_MAX && !text.chars().any(char::is_control)
    };
    if text.as_ref().is_none_or(fits) {
        return Ok(text);
    }
    let detail = format!("has more than {REASON_CHARS_MAX} characters, or control characters");
    let problem = Problem::unprocessable("bad-document", "the document has 1 fault(s)");
    Err(problem.at("/reason", detail))
}

/// The envelope of a request in `namespace`; `None` = in no namespace. `body` is part of the fingerprint that detects
/// another request with the same idempotency key.
pub(crate) fn envelope(
    caller: &Caller,
    request: &HttpRequest,
    namespace: Option<&Namespace>,
    body: &[u8],
) -> Result<Envelope, Problem> {
    // An invalid header is refused before anything is written, even if only the response needs it.
    prefer_wait(request)?;
    let reason = text(request, "Stateward-Reason")?;
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

/// Refuses a change without a reason in a namespace that requires one.
pub(crate) fn check_reason(app: &AppState, envelope: &Envelope) -> Result<(), Problem> {
    let settings = app.engine.access().namespace(&envelope.namespace);
    let missing = envelope.reason.as_ref().is_none_or(|reason| reason.trim().is_empty());
    if missing && settings.is_some_and(|settings| settings.require_reason) {
        let detail = "changes in this namespace need a reason: send Stateward-Reason";
        return Err(Problem::unprocessable("reason-required", detail));
    }
    Ok(())
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

/// The time in `Prefer: wait=N`; `None` if the client does not wait.
pub(crate) fn prefer_wait(request: &HttpRequest) -> Result<Option<Duration>, Problem> {
    let Some(prefer) = text(request, "Prefer")? else { return Ok(None) };
    // Unknown preferences are ignored, as RFC 7240 requires.
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

/// `If-Match`: the acceptable current revisions; `None` = any.
pub(crate) fn if_match(request: &HttpRequest) -> Result<Option<Vec<Revision>>, Problem> {
    match entity_tags(request, "If-Match")? {
        None | Some(EntityTags::Any) => Ok(None),
        Some(EntityTags::Of(revisions)) => Ok(Some(revisions)),
    }
}

/// `If-None-Match`: whether the client has `revision` already.
pub(crate) fn if_none_match(request: &HttpRequest, revision: Revision) -> Result<bool, Problem> {
    Ok(match entity_tags(request, "If-None-Match")? {
        None => false,
        Some(EntityTags::Any) => true,
        Some(EntityTags::Of(revisions)) => revisions.contains(&revision),
    })
}

/// The entity tags of a condition (RFC 9110, 8.8.3).
#[derive(Debug, PartialEq, Eq)]
enum EntityTags {
    /// `*`
    Any,
    /// The tags of a list that are revisions; others are never ours.
    Of(Vec<Revision>),
}

fn entity_tags(request: &HttpRequest, name: &str) -> Result<Option<EntityTags>, Problem> {
    let lines: Vec<_> = request.headers().get_all(name).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    // Several header lines are one list.
    let lines: Option<Vec<_>> = lines.into_iter().map(|line| line.to_str().ok()).collect();
    let tags = lines.and_then(|lines| parse_entity_tags(&lines.join(",")));
    tags.map(Some).ok_or_else(|| {
        let detail =
            format!("{name} takes revisions in quotes, such as \"3\" or \"3\", \"4\", or *");
        Problem::malformed("bad-header", detail)
    })
}

/// Parses a list of tags; `None` if it is malformed. A weak tag equals a strong one: it identifies the stored revision,
/// and proxies that compress a response weaken its tag without changing that.
fn parse_entity_tags(text: &str) -> Option<EntityTags> {
    if text.trim() == "*" {
        return Some(EntityTags::Any);
    }
    let (mut revisions, mut count) = (Vec::new(), 0);
    let mut rest = text.trim_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (tag, after) =
            rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        count += 1;
        let revision = tag.parse().map(Revision).ok();
        revisions.extend(revision.filter(|revision| revision.to_string() == tag));
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start_matches([' ', '\t', ',']);
        }
    }
    (count > 0).then_some(EntityTags::Of(revisions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_the_standard_has_them() {
        let of = |revisions: &[u64]| {
            Some(EntityTags::Of(revisions.iter().copied().map(Revision).collect()))
        };
        for (text, tags) in [
            ("*", Some(EntityTags::Any)),
            (" * ", Some(EntityTags::Any)),
            ("\"3\"", of(&[3])),
            ("W/\"3\"", of(&[3])),
            ("\"1\", W/\"3\"", of(&[1, 3])),
            ("\"1\",\"3\" , ,\"4\",", of(&[1, 3, 4])),
            // Another server's tag: valid, but never ours.
            ("\"a,b\", \"3\"", of(&[3])),
            ("\"+3\", \"03\", \"3-gzip\", \"\", \"99999999999999999999\"", of(&[])),
            ("", None),
            (",", None),
            ("3", None),
            ("\"3", None),
            ("w/\"3\"", None),
            ("\"3\" \"4\"", None),
            ("*, \"3\"", None),
            ("\"3\", *", None),
        ] {
            assert_eq!(parse_entity_tags(text), tags, "{text:?}");
        }
    }
}
