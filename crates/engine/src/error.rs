//! Errors of the engine.

use stateward_domain::document::Excess;
use stateward_domain::entity::Refusal;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::DecodeError;
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{ActionName, BackendName, EntityId, KindName, Position, TokenId};
use stateward_domain::ports::event_store::{AppendError, ReadError};
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::ports::sync_queue::QueueError;

/// Why a command or a query was not carried out. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The aggregate refuses the command.
    #[error("the command is refused")]
    Refused(#[from] Refusal),
    /// The desired state is not valid.
    #[error("the desired state has {} fault(s)", .0.len())]
    Invalid(Vec<FieldError>),
    /// Something outside the desired state is not valid; pointers are into the document.
    #[error("the document has {} fault(s)", .0.len())]
    BadDocument(Vec<FieldError>),
    /// An immutable field was changed.
    #[error("immutable fields cannot change")]
    Immutable(Vec<FieldError>),
    /// No driver has this kind.
    #[error("there is no kind {0}")]
    UnknownKind(KindName),
    /// No such backend is configured, or it does not serve the kind or the namespace.
    #[error("no backend {0} serves this kind and namespace")]
    UnknownBackend(BackendName),
    /// No backend was named, and not exactly one serves the kind.
    #[error("name a backend: {} fit", .0.len())]
    AmbiguousBackend(Vec<BackendName>),
    /// The kind has no such action.
    #[error("{kind} has no action {action}: {}", said(.has))]
    UnknownAction {
        /// The kind.
        kind: KindName,
        /// The requested action.
        action: ActionName,
        /// Actions that the kind has.
        has: Vec<ActionName>,
    },
    /// An item of this name exists already.
    #[error("it exists already")]
    Exists,
    /// It is defined in the configuration, and has to be removed there.
    #[error("it is configured; remove it from the configuration")]
    Configured,
    /// Entities are still in it.
    #[error("{count} entities live in it")]
    InUse {
        /// Number of entities.
        count: u64,
    },
    /// A new configuration removes a backend that still has entities.
    #[error("backend {name} is left out, and {count} entities live on it")]
    BackendInUse {
        /// The backend.
        name: BackendName,
        /// Number of entities.
        count: u64,
    },
    /// The configuration is not valid; the present one stays in force.
    #[error("the configuration is not valid: {0}")]
    BadConfiguration(String),
    /// The maximum number is reached.
    #[error("there are too many")]
    TooMany,
    /// Another entity has the name.
    #[error("the name is taken")]
    NameTaken {
        /// The entity that has it.
        holder: Option<EntityId>,
    },
    /// Another entity of the same backend, in any namespace, has the identity or manages the object.
    #[error("the object is taken: another entity manages it")]
    IdentityTaken {
        /// The entity that has it.
        holder: Option<EntityId>,
    },
    /// The idempotency key was used for a different request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The request was carried out before, and its reply is not stored: a token's value is shown only once.
    #[error(
        "token {0} was issued for this request, and its value shown; revoke it and ask with another key"
    )]
    ShownOnce(TokenId),
    /// The entity does not exist, or is not visible to the caller.
    #[error("there is no such entity")]
    NotFound,
    /// The position is of another log or epoch, or ahead of this one.
    #[error("the position is gone")]
    PositionGone {
        /// Head of the log.
        head: Position,
    },
    /// The page token is not valid.
    #[error("the page token is not valid")]
    BadPageToken,
    /// The log holds an event that this binary cannot decode.
    #[error("the log holds an event that cannot be read here")]
    Unreadable(#[from] DecodeError),
    /// An event of this request would exceed the size limit.
    #[error("the event {0}")]
    TooLarge(#[from] Excess),
    /// Too many conflicts with concurrent changes of the same entity.
    #[error("the entity changes too fast")]
    Contended,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Temporary; the caller may try again.
    #[error("not available: {0}")]
    Unavailable(String),
}

impl Error {
    /// Whether the same call may succeed later without a person's help.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Contended | Self::Unavailable(_) => true,
            Self::Store(error) => error.is_temporary(),
            _ => false,
        }
    }
}

/// The kind's own actions, for a message.
fn said(actions: &[ActionName]) -> String {
    if actions.is_empty() {
        return "it has none of its own".to_owned();
    }
    let names: Vec<_> = actions.iter().map(ActionName::as_str).collect();
    format!("its own are {}", names.join(", "))
}

impl From<QueueError> for Error {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Store(error) => Self::Store(error),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::PositionGone { head } => Self::PositionGone { head },
            ReadError::Store(error) => Self::Store(error),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::BadPageToken => Self::BadPageToken,
            ModelError::Store(error) => Self::Store(error),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::ClaimTaken { key, holder } => {
                let holder = holder.stream.entity_id();
                if key.0.starts_with(ClaimKey::NAME) {
                    Self::NameTaken { holder }
                } else {
                    Self::IdentityTaken { holder }
                }
            }
            AppendError::Conflict { .. } => Self::Contended,
            AppendError::Store(error) => Self::Store(error),
            other => Self::Unavailable(other.to_string()),
        }
    }
}
