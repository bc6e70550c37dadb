//! What a request that was no success means to this driver, and then to the engine.

use stateward_domain::failure::{Effect, ErrorClass, Failure};

use super::response::sanitized;
use crate::instrumented::not_sent;
use crate::openstack::service::Service;
use crate::resource_exhaustion::ResourceExhausted;

/// What the driver makes of it; finer than [`ErrorClass`], because a kind knows more than a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::openstack) enum ErrorKind {
    Transient,
    /// Retry after so many milliseconds.
    RateLimited(u64),
    Ambiguous,
    Conflict,
    /// The service itself says that there is none.
    NotFound,
    /// Something with the same natural identity is there.
    Exists,
    Invalid,
    Immutable,
    /// A name or id in the desired state leads nowhere.
    NoReference,
    /// Something else uses it or has to be there first; passes once that is done.
    Blocked,
    /// It is done already.
    AlreadyDone,
    /// The token is worn out, or the service could not check it.
    Unauthenticated,
    Unauthorized,
    Misconfigured,
    Quota,
    /// The role does not allow it; proves nothing.
    Forbidden,
    /// The cloud does not have the service, or not as it is asked for: too old, elsewhere, behind something that changes
    /// requests. The others may be well.
    Unsupported,
    /// This process ran out of something of its own; nothing was sent.
    Exhausted,
    Bug,
    NotSent,
}

/// A request without success.
#[derive(Clone, Debug)]
pub(in crate::openstack) struct ApiError {
    pub(in crate::openstack) kind: ErrorKind,
    pub(in crate::openstack) code: &'static str,
    pub(in crate::openstack) message: String,
    pub(in crate::openstack) request_id: Option<String>,
    pub(in crate::openstack) effect: Effect,
    service: Option<Service>,
}

impl ApiError {
    pub(in crate::openstack) fn harmless(
        kind: ErrorKind,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        Self { kind, code, message, request_id: None, effect: Effect::None, service: None }
    }

    /// The reply to a request that may have been carried out did not come.
    pub(super) fn ambiguous(code: &'static str, message: impl Into<String>) -> Self {
        Self { effect: Effect::Maybe, ..Self::harmless(ErrorKind::Ambiguous, code, message) }
    }

    /// A connection that was not begun because this process lacks something; `None` = it failed otherwise.
    pub(super) fn local_exhaustion(error: &reqwest::Error) -> Option<Self> {
        let exhausted = ResourceExhausted::of_connection(error)?;
        Some(Self::harmless(ErrorKind::Exhausted, exhausted.code, exhausted.message))
    }

    pub(super) fn not_sent() -> Self {
        let message = not_sent().message;
        Self::harmless(ErrorKind::NotSent, "not_sent", message)
    }

    pub(super) fn with_request(mut self, service: Service, request_id: Option<String>) -> Self {
        self.service = Some(service);
        self.request_id = request_id;
        self
    }

    /// Whether the service itself says that it has no object called `id`: its "not found" names it. Any other 404 proves
    /// nothing: a gateway's, a router's that does not know the path, or a policy's that hides what may not be seen.
    pub(in crate::openstack) fn proves_absence_of(&self, id: &str) -> bool {
        self.kind == ErrorKind::NotFound && names(&self.message, &sanitized(id))
    }

    /// The same, as a kind understands it.
    pub(in crate::openstack) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// After an earlier request of the same call changed something.
    pub(in crate::openstack) fn partial(mut self) -> Self {
        self.effect = Effect::Partial;
        self
    }

    fn class(&self) -> ErrorClass {
        match self.kind {
            // The engine knows no wait for something that is no entity; growing pauses come closest.
            ErrorKind::Transient | ErrorKind::Unauthenticated | ErrorKind::Blocked => {
                ErrorClass::Transient
            }
            ErrorKind::RateLimited(after_ms) => {
                let scope = self.service.map(Service::name).unwrap_or_default().to_owned();
                ErrorClass::RateLimited { after_ms, scope }
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

/// Whether `id` stands in `text` as a word of its own.
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
