//! What can go wrong between an entity and its backend, as a value that fits in an event.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::entity::target::Target;
use crate::id::{EntityId, ExternalId};

/// Class of an error; it alone decides what the engine does next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// Passes by itself: retried with backoff until the kind's budget is used up.
    Transient,
    /// The backend asked for a pause: the scope rests, the entity keeps its budget.
    RateLimited {
        /// How long to wait, in milliseconds.
        after_ms: u64,
        /// What has to wait, in the backend's words; empty = the whole backend.
        scope: String,
    },
    /// Sent, but the reply was lost: observe or find before any further change.
    Ambiguous,
    /// Somebody else changed it at the same time: observe and plan again.
    Conflict,
    /// Something answered "not found". It proves no absence: the object is observed again, after the kind's settle time.
    NotFound,
    /// The identity is taken in the backend.
    AlreadyExists {
        /// The object that has it.
        external_id: ExternalId,
    },
    /// The backend refuses the desired state; only a new one helps.
    Invalid,
    /// The change touches a field that cannot change.
    Immutable,
    /// The backend does not let this be done to this object: a permission, a read-only file system, a service that it
    /// does not have. The backend itself is well; retried slowly.
    Refused,
    /// This process ran out of something of its own, such as file descriptors: nothing was sent, and nothing is said of
    /// the backend or the object. All work on the backend rests for a moment, the entity keeps its budget.
    Exhausted,
    /// The credentials are refused: parks the backend.
    Unauthorized,
    /// The backend's configuration is wrong: parks the backend.
    Misconfigured,
    /// No room: retried slowly.
    QuotaExceeded,
    /// Another entity has to be there first.
    DependencyNotReady {
        /// The one that is waited for.
        on: EntityId,
    },
    /// An entity that the desired state refers to has to be there first, or to show what is referred to. It need not
    /// be declared yet.
    ReferenceNotReady {
        /// The one that is waited for.
        on: Box<Target>,
    },
    /// Another entity refers to this one, so it cannot be deleted yet.
    InUse {
        /// The one that does.
        by: EntityId,
    },
    /// A fault of a driver or of ours: dead letter until somebody looks.
    Bug,
    /// The driver gave up because it was told to.
    Cancelled,
}

impl ErrorClass {
    /// Whether a failure of this class uses up the retry budget. What is waited for elsewhere does not: once it
    /// is there, the entity has all its tries.
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
            Self::Bug => "bug",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a failed call may have done to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Certainly nothing.
    None,
    /// Perhaps all of it.
    Maybe,
    /// Certainly some of it.
    Partial,
}

/// One failure, fit for users, logs and events: it holds no secret.
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
    /// The code of a search that found nothing, which proves nothing yet: the backend answers again since a moment.
    pub const SEARCH_SETTLING: &'static str = "search_settling";

    /// Whether it says only that it is too early to know: the backend is well, and nothing was tried.
    #[must_use]
    pub fn is_settling(&self) -> bool {
        self.code == Self::SEARCH_SETTLING
    }

    /// A failure that certainly changed nothing.
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

    /// A failure after which the backend may have been changed.
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
