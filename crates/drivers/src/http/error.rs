//! Errors of requests, and their mapping to failures.

use stateward_domain::failure::{Effect, ErrorClass, Failure};

use super::body::{BodyError, sanitized};
use crate::instrumented::not_sent;
use crate::resource_exhaustion::ResourceExhausted;

/// The kind of an error; finer than [`ErrorClass`], because the kinds of objects treat some of them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Transient,
    /// Retry after this many milliseconds.
    RateLimited(u64),
    Ambiguous,
    Conflict,
    /// The service itself reports that the object does not exist.
    NotFound,
    /// An object with the same natural identity exists.
    Exists,
    Invalid,
    Immutable,
    /// A name or id in the desired state refers to nothing.
    NoReference,
    /// Another object uses it; resolves itself once that is gone.
    Blocked,
    /// Another object has to exist first; resolves itself once that is there.
    Missing,
    /// The change was already made.
    AlreadyDone,
    /// The token expired, or the service could not check it.
    Unauthenticated,
    Unauthorized,
    Misconfigured,
    Quota,
    /// The role does not permit it; proves nothing about the object.
    Forbidden,
    /// The cloud does not offer the service, or not in the required version, region or unmodified form (a proxy drops
    /// headers). Other services may be well.
    Unsupported,
    /// This process ran out of a resource; nothing was sent.
    Exhausted,
    Bug,
    NotSent,
}

/// A failed request.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) kind: ErrorKind,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) request_id: Option<String>,
    pub(crate) effect: Effect,
    /// The part of the backend that a rate limit concerns; empty = all of it.
    pub(crate) scope: String,
}

impl ApiError {
    pub(crate) fn harmless(
        kind: ErrorKind,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        Self { kind, code, message, request_id: None, effect: Effect::None, scope: String::new() }
    }

    /// The reply was lost; the request may have been carried out.
    pub(crate) fn ambiguous(code: &'static str, message: impl Into<String>) -> Self {
        Self { effect: Effect::Maybe, ..Self::harmless(ErrorKind::Ambiguous, code, message) }
    }

    /// The error of a connection that this process had no resources for; `None` = it failed for another reason.
    pub(crate) fn local_exhaustion(error: &reqwest::Error) -> Option<Self> {
        let exhausted = ResourceExhausted::of_connection(error)?;
        Some(Self::harmless(ErrorKind::Exhausted, exhausted.code, exhausted.message))
    }

    pub(crate) fn not_sent() -> Self {
        let message = not_sent().message;
        Self::harmless(ErrorKind::NotSent, "not_sent", message)
    }

    /// The error of a request that went to a backend whose `peer` is called so in messages, and did not get its reply.
    /// If no connection was made, nothing was sent; otherwise a change may have been carried out.
    pub(crate) fn without_reply(peer: &str, request: &str, changes: bool, connected: bool) -> Self {
        if !connected {
            let message = format!("no connection to {peer}");
            return Self::harmless(ErrorKind::Transient, "no_connection", message);
        }
        let message = format!("no reply from {peer} to request {request}");
        if changes {
            Self::ambiguous("no_reply", message)
        } else {
            Self::harmless(ErrorKind::Transient, "no_reply", message)
        }
    }

    /// The error of a reply whose body could not be read.
    pub(crate) fn unread(unread: BodyError, changes: bool) -> Self {
        let message = match unread {
            BodyError::TooLarge => "the reply is too large",
            BodyError::Broken => "the reply broke off",
        };
        if changes {
            Self::ambiguous("reply_lost", message)
        } else {
            Self::harmless(ErrorKind::Transient, "reply_lost", message)
        }
    }

    /// The error of a request in `scope`, the part of the backend that a rate limit concerns.
    pub(crate) fn with_request(
        mut self,
        scope: impl Into<String>,
        request_id: Option<String>,
    ) -> Self {
        self.scope = scope.into();
        self.request_id = request_id;
        self
    }

    /// Whether the service itself reports that no object `id` exists: its "not found" names the id. Any other 404
    /// proves nothing: it may come from a gateway, a router that does not know the path, or a policy that hides the
    /// object.
    pub(crate) fn proves_absence_of(&self, id: &str) -> bool {
        self.kind == ErrorKind::NotFound && names(&self.message, &sanitized(id))
    }

    /// The same error, reclassified.
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same error, after an earlier request of the same call changed something.
    pub(crate) fn partial(mut self) -> Self {
        self.effect = Effect::Partial;
        self
    }

    fn class(&self) -> ErrorClass {
        match self.kind {
            ErrorKind::Transient | ErrorKind::Unauthenticated => ErrorClass::Transient,
            ErrorKind::Blocked => ErrorClass::InUseOutside,
            ErrorKind::Missing => ErrorClass::MissingOutside,
            ErrorKind::RateLimited(after_ms) => {
                ErrorClass::RateLimited { after_ms, scope: self.scope.clone() }
            }
            ErrorKind::Ambiguous => ErrorClass::Ambiguous,
            ErrorKind::Conflict | ErrorKind::AlreadyDone => ErrorClass::Conflict,
            ErrorKind::NotFound => ErrorClass::NotFound,
            ErrorKind::Exists | ErrorKind::Invalid | ErrorKind::NoReference => ErrorClass::Invalid,
            ErrorKind::Forbidden | ErrorKind::Unsupported => ErrorClass::Refused,
            ErrorKind::Exhausted => ErrorClass::Exhausted,
            ErrorKind::Immutable => ErrorClass::Immutable,
            ErrorKind::Unauthorized => ErrorClass::Unauthorized,
            ErrorKind::Misconfigured => ErrorClass::Misconfigured,
            ErrorKind::Quota => ErrorClass::QuotaExceeded,
            ErrorKind::Bug => ErrorClass::Bug,
            ErrorKind::NotSent => ErrorClass::Cancelled,
        }
    }
}

/// Whether `text` contains `id` as a whole word.
fn names(text: &str, id: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    !id.is_empty()
        && text.match_indices(id).any(|(at, _)| {
            !text[..at].ends_with(inside) && !text[at + id.len()..].starts_with(inside)
        })
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self {
            class: error.class(),
            code: error.code.to_owned(),
            message: error.message,
            request_id: error.request_id,
            effect: error.effect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_not_found_that_names_the_object_denies_it() {
        let id = "4f0c-1";
        for (kind, message, denies) in [
            (ErrorKind::NotFound, "nova answers 404: Instance 4f0c-1 could not be found.", true),
            (ErrorKind::NotFound, "keystone answers 404: Could not find project: 4f0c-1.", true),
            (ErrorKind::NotFound, "glance answers 404: No image found with ID 4f0c-1", true),
            (ErrorKind::NotFound, "nova answers 404: Instance 4f0c-12 could not be found.", false),
            (ErrorKind::NotFound, "nova answers 404: Instance a4f0c-1 could not be found.", false),
            (ErrorKind::NotFound, "neutron answers 404: The resource could not be found.", false),
            (ErrorKind::NotFound, "nova answers 404", false),
            (ErrorKind::Transient, "nova answers 404: Instance 4f0c-1 could not be found.", false),
        ] {
            let error = ApiError::harmless(kind, "not_found", message);
            assert_eq!(error.proves_absence_of(id), denies, "{message}");
        }
        let keypair = ApiError::harmless(
            ErrorKind::NotFound,
            "not_found",
            "Keypair a b not found for user u",
        );
        assert!(keypair.proves_absence_of("a  b"), "messages have single blanks");
        assert!(!keypair.proves_absence_of(""));
    }
}
