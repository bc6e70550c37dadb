//! Limits on the size of a driver's answers, so that they fit into events. Backends may answer with deeply nested
//! attributes, messages of megabytes, or documents as ids. Every answer passes through here, after secrets were
//! scrubbed ([`redacting`](super::redacting)), before it is compared, recorded or shown.
//!
//! Attributes and texts are cut, and the cut is marked ([`document::OMITTED`], a condition of the entity). What the
//! engine has to give back to the driver (ids, handles, cursors) cannot be cut: the answer becomes a failure.

use serde_json::Value;
use stateward_domain::document::{self, Limits};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::{Object, Outcome};

/// Maximum characters of a message, a proof or a reason.
pub(crate) const MESSAGE_CHARS_MAX: usize = 1_000;
/// Maximum characters of a code, a scope or a request id.
const CODE_CHARS_MAX: usize = 200;
/// Maximum characters of an object's id, an identity or a cursor; the longest of these is a path.
const ID_CHARS_MAX: usize = 4_096;
/// Maximum bytes of all attributes in one answer: objects beyond it keep only their ids.
const OBJECTS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// `text`, or its start followed by an ellipsis.
pub(crate) fn shortened(text: String, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text,
        Some(_) => text.chars().take(chars_max - 1).chain(['…']).collect(),
    }
}

/// # Errors
/// For an id that the log cannot hold or no call can name: empty, or too long.
pub(crate) fn external_id(id: &ExternalId) -> Result<(), Failure> {
    if (1..=ID_CHARS_MAX).contains(&id.as_str().chars().count()) {
        return Ok(());
    }
    let message = "the backend's id of the object is empty or too long";
    Err(Failure::doubtful(ErrorClass::Bug, "unusable_id", message))
}

pub(super) fn failure(failure: Failure) -> Failure {
    let class = match failure.class {
        ErrorClass::AlreadyExists { external_id: id } if external_id(&id).is_err() => {
            ErrorClass::Bug
        }
        ErrorClass::RateLimited { after_ms, scope } => {
            ErrorClass::RateLimited { after_ms, scope: shortened(scope, CODE_CHARS_MAX) }
        }
        other => other,
    };
    Failure {
        class,
        code: shortened(failure.code, CODE_CHARS_MAX),
        message: shortened(failure.message, MESSAGE_CHARS_MAX),
        request_id: failure.request_id.map(|id| shortened(id, CODE_CHARS_MAX)),
        effect: failure.effect,
    }
}

pub(super) fn object(object: Object) -> Result<Object, Failure> {
    external_id(&object.external_id)?;
    Ok(Object { attributes: document::cut(object.attributes, &Limits::DOCUMENT), ..object })
}

pub(super) fn objects(found: Vec<Object>) -> Result<Vec<Object>, Failure> {
    let mut left = OBJECTS_BYTES_MAX;
    let bounded = |one: Object| {
        let mut one = object(one)?;
        let weight = document::weight(&one.attributes);
        if weight > left {
            one.attributes =
                Value::String(format!("{}: the answer is too large", document::OMITTED));
        }
        left = left.saturating_sub(weight);
        Ok(one)
    };
    found.into_iter().map(bounded).collect()
}

pub(super) fn outcome(outcome: Outcome) -> Result<Outcome, Failure> {
    match outcome {
        Outcome::Done { external_id: id, attributes } => {
            id.iter().try_for_each(external_id)?;
            let attributes = document::cut(attributes, &Limits::DOCUMENT);
            Ok(Outcome::Done { external_id: id, attributes })
        }
        Outcome::Pending { handle, poll_after_ms } => {
            document::measure(&handle, &Limits::HANDLE).map_err(|excess| {
                let message = format!("what is needed to ask for the pending work {excess}");
                Failure::doubtful(ErrorClass::Bug, "handle_too_large", message)
            })?;
            Ok(Outcome::Pending { handle, poll_after_ms })
        }
    }
}

/// # Errors
/// For a text that is too long and would change its meaning if it were cut.
pub(super) fn check_length(text: &str, what: &str) -> Result<(), Failure> {
    if text.chars().count() <= ID_CHARS_MAX {
        return Ok(());
    }
    let message = format!("{what} has more than {ID_CHARS_MAX} characters");
    Err(Failure::harmless(ErrorClass::Bug, "answer_too_large", message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_shortened_between_characters() {
        assert_eq!(shortened("ééé".to_owned(), 3), "ééé");
        assert_eq!(shortened("éééé".to_owned(), 3), "éé…");
    }

    #[test]
    fn a_failure_is_small_whatever_the_backend_said() {
        let long = "x".repeat(100_000);
        let class = ErrorClass::AlreadyExists { external_id: ExternalId(long.clone()) };
        let mut said = Failure::harmless(class, &long, long.clone());
        said.request_id = Some(long.clone());
        let bounded = failure(said);
        assert_eq!(bounded.class, ErrorClass::Bug);
        assert!(serde_json::to_string(&bounded).expect("JSON").len() < 2_000);
        let class = ErrorClass::RateLimited { after_ms: 1, scope: long };
        let bounded = failure(Failure::harmless(class, "c", "m"));
        assert!(serde_json::to_string(&bounded).expect("JSON").len() < 500);
    }

    #[test]
    fn what_the_driver_needs_again_is_refused_rather_than_cut() {
        let deep = (0..125).fold(json!(1), |inner, _| json!([inner]));
        for handle in [deep, json!("x".repeat(100_000))] {
            let pending = Outcome::Pending { handle, poll_after_ms: 1 };
            assert_eq!(outcome(pending).expect_err("refused").class, ErrorClass::Bug);
        }
        let id = Some(ExternalId("x".repeat(5_000)));
        let done = Outcome::Done { external_id: id, attributes: Value::Null };
        assert_eq!(outcome(done).expect_err("refused").code, "unusable_id");
    }

    #[test]
    fn objects_beyond_the_bytes_of_an_answer_keep_their_names() {
        let one = |number: usize| Object {
            external_id: ExternalId(number.to_string()),
            attributes: json!({ "text": "x".repeat(7 * 1024 * 1024) }),
            owner_key: None,
        };
        let found = objects((0..8).map(one).collect()).expect("usable names");
        let bytes: usize = found.iter().map(|object| document::weight(&object.attributes)).sum();
        assert!(found.len() == 8 && bytes <= OBJECTS_BYTES_MAX + 8 * 100, "{bytes}");
    }
}
