//! Failures of calls to a backend, as values that fit in an event.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::entity::reference_target::Target;
use crate::id::{EntityId, ExternalId};

/// Class of a failure; it alone decides what the engine does next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// Transient: retried with backoff until the kind's budget is used up.
    Transient,
    /// The backend asked for a pause: the scope is throttled, the entity keeps its budget.
    RateLimited {
        /// How long to wait, in milliseconds.
        after_ms: u64,
        /// The throttled scope, in the backend's words; empty = the whole backend.
        scope: String,
    },
    /// The request was sent and its reply lost: observe or find before any further change.
    Ambiguous,
    /// A concurrent change: observe and plan again.
    Conflict,
    /// Something answered "not found". That proves no absence: the object is observed again after a
    /// pause.
    NotFound,
    /// The identity is in use in the backend.
    AlreadyExists {
        /// The object that uses it.
        external_id: ExternalId,
    },
    /// The backend rejects the desired state; only a new one helps.
    Invalid,
    /// The change touches an immutable field.
    Immutable,
    /// The backend refuses this change of this object: a permission, a read-only file system, a missing service. The
    /// backend itself works; retried slowly.
    Refused,
    /// This process ran out of a resource, such as file descriptors: nothing was sent, and nothing is known of the
    /// backend or the object. All work on the backend pauses for a moment; the entity keeps its budget.
    Exhausted,
    /// The credentials are rejected: parks the backend.
    Unauthorized,
    /// The backend's configuration is wrong: parks the backend.
    Misconfigured,
    /// The quota is used up: retried slowly.
    QuotaExceeded,
    /// Another entity has to be present first.
    DependencyNotReady {
        /// That entity.
        on: EntityId,
    },
    /// A target of a reference has to be present first, or to have the referenced attribute. It need not be declared
    /// yet.
    ReferenceNotReady {
        /// The target.
        on: Box<Target>,
    },
    /// A dependent refers to this entity, so it cannot be deleted yet.
    InUse {
        /// The dependent.
        by: EntityId,
    },
    /// Something outside of this log uses the object, or is where the change needs room; the message names it. It ends
    /// without us: tried again, ever more slowly.
    InUseOutside,
    /// Something outside of this log has to be there first; as [`InUseOutside`](Self::InUseOutside).
    MissingOutside,
    /// A bug of a driver or of the engine: dead letter until a person acts.
    Bug,
    /// The driver aborted the call because it was cancelled.
    Cancelled,
}

impl ErrorClass {
    /// Whether a failure of this class counts against the retry budget. Waiting for something else does not: once
    /// that is there, the entity has all its attempts.
    #[must_use]
    pub const fn uses_budget(&self) -> bool {
        !matches!(
            self,
            Self::RateLimited { .. }
                | Self::Unauthorized
                | Self::Misconfigured
                | Self::QuotaExceeded
                | Self::Refused
                | Self::Exhausted
                | Self::DependencyNotReady { .. }
                | Self::ReferenceNotReady { .. }
                | Self::InUse { .. }
                | Self::InUseOutside
                | Self::MissingOutside
                | Self::AlreadyExists { .. }
        )
    }

    /// Stable name, as in configuration and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited { .. } => "rate_limited",
            Self::Ambiguous => "ambiguous",
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::AlreadyExists { .. } => "already_exists",
            Self::Invalid => "invalid",
            Self::Immutable => "immutable",
            Self::Refused => "refused",
            Self::Exhausted => "exhausted",
            Self::Unauthorized => "unauthorized",
            Self::Misconfigured => "misconfigured",
            Self::QuotaExceeded => "quota_exceeded",
            Self::DependencyNotReady { .. } => "dependency_not_ready",
            Self::ReferenceNotReady { .. } => "reference_not_ready",
            Self::InUse { .. } => "in_use",
            Self::InUseOutside => "in_use_outside",
            Self::MissingOutside => "missing_outside",
            Self::Bug => "bug",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Effect of a failed call on the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Certainly nothing.
    None,
    /// Perhaps the whole change.
    Maybe,
    /// Certainly a part of the change.
    Partial,
}

/// A failure, fit for users, logs and events: it contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// Decides what happens next.
    pub class: ErrorClass,
    /// Stable, `snake_case`, for programs.
    pub code: String,
    /// One sentence for people; never a secret, never a raw reply.
    pub message: String,
    /// The backend's own id of the request; `None` when it gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What the call may have done.
    pub effect: Effect,
}

impl Failure {
    /// Code of a search that found nothing while that proves nothing yet: the backend recovered a moment ago.
    pub const SEARCH_SETTLING: &'static str = "search_settling";
    /// Code of an abandoned creation whose request may still run in the backend: no object is made before it cannot.
    pub const CREATION_SETTLING: &'static str = "creation_settling";

    /// Whether it only says that it is too early to know: the backend works, and no change was tried.
    #[must_use]
    pub fn is_settling(&self) -> bool {
        self.code == Self::SEARCH_SETTLING
    }

    /// A failure that certainly had no effect.
    #[must_use]
    pub fn harmless(class: ErrorClass, code: &str, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.to_owned(),
            message: message.into(),
            request_id: None,
            effect: Effect::None,
        }
    }

    /// A failure that may have had an effect.
    #[must_use]
    pub fn doubtful(class: ErrorClass, code: &str, message: impl Into<String>) -> Self {
        Self { effect: Effect::Maybe, ..Self::harmless(class, code, message) }
    }

    /// How long the backend asked to wait; `None` when it did not.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.class {
            ErrorClass::RateLimited { after_ms, .. } => Some(Duration::from_millis(after_ms)),
            _ => None,
        }
    }
}
