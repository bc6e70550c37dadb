//! What a request that was no success means to this driver, and then to the engine.

use stateward_domain::failure::{Effect, ErrorClass, Failure};

use super::bodies::safe;
use super::catalogue::Service;
use crate::exhausted::Lack;
use crate::instrumented::not_sent;

/// What the driver makes of it; finer than [`ErrorClass`], because a kind knows more than a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::openstack) enum Verdict {
    Transient,
    /// Retry after so many milliseconds.
    RateLimited(u64),
    Ambiguous,
    Conflict,
    /// The service itself says that there is none.
    Gone,
    /// Something with the same natural identity is there.
    Taken,
    Invalid,
    Immutable,
    /// A name or id in the desired state leads nowhere.
    NoReference,
    /// Something else uses it or has to be there first; passes once that is done.
    Waits,
    /// It is done already.
    Already,
    /// The token is worn out, or the service could not check it.
    Unauthenticated,
    Unauthorized,
    Misconfigured,
    Quota,
    /// The role does not allow it; proves nothing.
    Forbidden,
    /// The cloud does not have the service, or not as it is asked for: too old, elsewhere, behind something that changes
    /// requests. The others may be well.
    NotOffered,
    /// This process ran out of something of its own; nothing was sent.
    Exhausted,
    Bug,
    NotSent,
}

/// A request without success.
#[derive(Clone, Debug)]
pub(in crate::openstack) struct Trouble {
    pub(in crate::openstack) verdict: Verdict,
    pub(in crate::openstack) code: &'static str,
    pub(in crate::openstack) message: String,
    pub(in crate::openstack) request_id: Option<String>,
    pub(in crate::openstack) effect: Effect,
    service: Option<Service>,
}

impl Trouble {
    pub(in crate::openstack) fn harmless(
        verdict: Verdict,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        Self { verdict, code, message, request_id: None, effect: Effect::None, service: None }
    }

    /// The reply to a request that may have been carried out did not come.
    pub(super) fn ambiguous(code: &'static str, message: impl Into<String>) -> Self {
        Self { effect: Effect::Maybe, ..Self::harmless(Verdict::Ambiguous, code, message) }
    }

    /// A connection that was not begun because this process lacks something; `None` = it failed otherwise.
    pub(super) fn of_ours(error: &reqwest::Error) -> Option<Self> {
        let lack = Lack::of_connection(error)?;
        Some(Self::harmless(Verdict::Exhausted, lack.code, lack.message))
    }

    pub(super) fn not_sent() -> Self {
        let message = not_sent().message;
        Self::harmless(Verdict::NotSent, "not_sent", message)
    }

    pub(super) fn of(mut self, service: Service, request_id: Option<String>) -> Self {
        self.service = Some(service);
        self.request_id = request_id;
        self
    }

    /// Whether the service itself says that it has no object called `id`: its "not found" names it. Any other 404 proves
    /// nothing: a gateway's, a router's that does not know the path, or a policy's that hides what may not be seen.
    pub(in crate::openstack) fn denies(&self, id: &str) -> bool {
        self.verdict == Verdict::Gone && names(&self.message, &safe(id))
    }

    /// The same, as a kind understands it.
    pub(in crate::openstack) fn judged(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    /// After an earlier request of the same call changed something.
    pub(in crate::openstack) fn partial(mut self) -> Self {
        self.effect = Effect::Partial;
        self
    }

    fn class(&self) -> ErrorClass {
        match self.verdict {
            // The engine knows no wait for something that is no entity; growing pauses come closest.
            Verdict::Transient | Verdict::Unauthenticated | Verdict::Waits => ErrorClass::Transient,
            Verdict::RateLimited(after_ms) => {
                let scope = self.service.map(Service::name).unwrap_or_default().to_owned();
                ErrorClass::RateLimited { after_ms, scope }
            }
            Verdict::Ambiguous => ErrorClass::Ambiguous,
            Verdict::Conflict | Verdict::Already => ErrorClass::Conflict,
            Verdict::Gone => ErrorClass::NotFound,
            Verdict::Taken | Verdict::Invalid | Verdict::NoReference => ErrorClass::Invalid,
            Verdict::Forbidden | Verdict::NotOffered => ErrorClass::Refused,
            Verdict::Exhausted => ErrorClass::Exhausted,
            Verdict::Immutable => ErrorClass::Immutable,
            Verdict::Unauthorized => ErrorClass::Unauthorized,
            Verdict::Misconfigured => ErrorClass::Misconfigured,
            Verdict::Quota => ErrorClass::QuotaExceeded,
            Verdict::Bug => ErrorClass::Bug,
            Verdict::NotSent => ErrorClass::Cancelled,
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

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self {
            class: trouble.class(),
            code: trouble.code.to_owned(),
            message: trouble.message,
            request_id: trouble.request_id,
            effect: trouble.effect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_not_found_that_names_the_object_denies_it() {
        let id = "4f0c-1";
        for (verdict, message, denies) in [
            (Verdict::Gone, "nova answers 404: Instance 4f0c-1 could not be found.", true),
            (Verdict::Gone, "keystone answers 404: Could not find project: 4f0c-1.", true),
            (Verdict::Gone, "glance answers 404: No image found with ID 4f0c-1", true),
            (Verdict::Gone, "nova answers 404: Instance 4f0c-12 could not be found.", false),
            (Verdict::Gone, "nova answers 404: Instance a4f0c-1 could not be found.", false),
            (Verdict::Gone, "neutron answers 404: The resource could not be found.", false),
            (Verdict::Gone, "nova answers 404", false),
            (Verdict::Transient, "nova answers 404: Instance 4f0c-1 could not be found.", false),
        ] {
            let trouble = Trouble::harmless(verdict, "not_found", message);
            assert_eq!(trouble.denies(id), denies, "{message}");
        }
        let keypair =
            Trouble::harmless(Verdict::Gone, "not_found", "Keypair a b not found for user u");
        assert!(keypair.denies("a  b"), "messages have single blanks");
        assert!(!keypair.denies(""));
    }
}
