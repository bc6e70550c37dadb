//! Why the engine did not do what it was asked.

use stateward_domain::document::Excess;
use stateward_domain::entity::Refusal;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::DecodeError;
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{ActionName, BackendName, EntityId, KindName, Position, TokenId};
use stateward_domain::ports::event_store::{AppendError, ReadError};
use stateward_domain::ports::read_model::ModelError;
use stateward_domain::ports::sync_queue::QueueError;

/// Why a command or a query was not carried out. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The aggregate refuses.
    #[error("the command is refused")]
    Refused(#[from] Refusal),
    /// The desired state is not acceptable.
    #[error("the desired state has {} fault(s)", .0.len())]
    Invalid(Vec<FieldError>),
    /// Something beside the desired state is not acceptable; pointers are into the document.
    #[error("the document has {} fault(s)", .0.len())]
    BadDocument(Vec<FieldError>),
    /// A field was changed that cannot change.
    #[error("immutable fields cannot change")]
    Immutable(Vec<FieldError>),
    /// No driver has this kind.
    #[error("there is no kind {0}")]
    UnknownKind(KindName),
    /// No such backend is configured, or it does not serve the kind or the namespace.
    #[error("no backend {0} serves this kind and namespace")]
    UnknownBackend(BackendName),
    /// None was named, and not exactly one fits.
    #[error("name a backend: {} fit", .0.len())]
    AmbiguousBackend(Vec<BackendName>),
    /// The kind has no such action of its own.
    #[error("{kind} has no action {action}: {}", said(.has))]
    UnknownAction {
        /// Which kind.
        kind: KindName,
        /// What was asked for.
        action: ActionName,
        /// What there is.
        has: Vec<ActionName>,
    },
    /// There is one of that name already.
    #[error("it exists already")]
    Exists,
    /// It comes from the configuration, where it has to be removed.
    #[error("it is configured; remove it from the configuration")]
    Configured,
    /// Something lives in it.
    #[error("{count} entities live in it")]
    InUse {
        /// How many.
        count: u64,
    },
    /// Something lives on a backend that a new configuration leaves out.
    #[error("backend {name} is left out, and {count} entities live on it")]
    BackendInUse {
        /// Which.
        name: BackendName,
        /// How many.
        count: u64,
    },
    /// The configuration cannot be used; everything goes on as it was.
    #[error("the configuration is not valid: {0}")]
    BadConfiguration(String),
    /// There is no room for more.
    #[error("there are too many")]
    TooMany,
    /// The name belongs to another entity.
    #[error("the name is taken")]
    NameTaken {
        /// Whose it is.
        holder: Option<EntityId>,
    },
    /// The identity, or the object, belongs to another entity of the same backend, in whatever namespace.
    #[error("the object is taken: another entity manages it")]
    IdentityTaken {
        /// Whose it is.
        holder: Option<EntityId>,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The request was carried out before, and the value that it was answered with is kept nowhere.
    #[error(
        "token {0} was issued for this request, and its value shown; revoke it and ask with another key"
    )]
    ShownOnce(TokenId),
    /// There is no such entity, or not for this caller.
    #[error("there is no such entity")]
    NotFound,
    /// The position is of another log, or ahead of this one.
    #[error("the position is gone")]
    PositionGone {
        /// Where the log stands.
        head: Position,
    },
    /// The page token is not one of ours.
    #[error("the page token is not valid")]
    BadPageToken,
    /// The log holds something that this version cannot read.
    #[error("the log holds an event that cannot be read here")]
    Unreadable(#[from] DecodeError),
    /// The request would make an event that is larger than any may be.
    #[error("the event {0}")]
    TooLarge(#[from] Excess),
    /// Too many others change the same entity.
    #[error("the entity changes too fast")]
    Contended,
    /// Try later.
    #[error("not available: {0}")]
    Unavailable(String),
}

/// What a kind can do beside what every kind can.
fn said(actions: &[ActionName]) -> String {
    if actions.is_empty() {
        return "it has none of its own".to_owned();
    }
    let names: Vec<_> = actions.iter().map(ActionName::as_str).collect();
    format!("its own are {}", names.join(", "))
}

impl From<QueueError> for Error {
    fn from(error: QueueError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::PositionGone { head } => Self::PositionGone { head },
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::BadPageToken => Self::BadPageToken,
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
            other => Self::Unavailable(other.to_string()),
        }
    }
}
