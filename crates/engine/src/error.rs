//! Errors of the engine, one for each group of its methods: a signature says what a caller can meet.
//!
//! Each holds those of the groups that it uses: a control change is a command, a command admits a document, and all of
//! them read.

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

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// It does not exist, or is not visible to the caller.
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
    /// There is more than an answer is made from.
    #[error("there are too many")]
    TooMany,
    /// The log holds an event that this binary cannot decode.
    #[error("the log holds an event that cannot be read here")]
    Unreadable(#[from] DecodeError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Temporary; the caller may try again.
    #[error("not available: {0}")]
    Unavailable(String),
}

/// Why a document is not admitted. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
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
    #[error("{kind} has no action {action}: {}", own_actions(.has))]
    UnknownAction {
        /// The kind.
        kind: KindName,
        /// The requested action.
        action: ActionName,
        /// Actions that the kind has.
        has: Vec<ActionName>,
    },
    /// What the document is checked against could not be read.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// Why a command was not carried out. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The aggregate refuses the command.
    #[error("the command is refused")]
    Refused(#[from] Refusal),
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
    /// An event of this request would exceed the size limit.
    #[error("the event {0}")]
    TooLarge(#[from] Excess),
    /// Too many conflicts with concurrent changes of the same stream.
    #[error("the entity changes too fast")]
    Contended,
    /// The document is not admitted.
    #[error(transparent)]
    Admission(AdmissionError),
    /// What the command is decided on could not be read, or the log did not take the events.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// Why a change of namespaces, tokens, backends or the system was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
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
    /// The request was carried out before, and its reply is not stored: a token's value is shown only once.
    #[error(
        "token {0} was issued for this request, and its value shown; revoke it and ask with another key"
    )]
    ShownOnce(TokenId),
    /// The events of the change were not appended.
    #[error(transparent)]
    Command(CommandError),
}

impl QueryError {
    /// Whether the same call may succeed later without a person's help.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Store(error) => error.is_temporary(),
            _ => false,
        }
    }
}

impl AdmissionError {
    /// See [`QueryError::is_temporary`].
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Query(error) if error.is_temporary())
    }
}

impl CommandError {
    /// See [`QueryError::is_temporary`].
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Contended => true,
            Self::Query(error) => error.is_temporary(),
            Self::Admission(error) => error.is_temporary(),
            _ => false,
        }
    }
}

impl ControlError {
    /// See [`QueryError::is_temporary`].
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Command(error) if error.is_temporary())
    }
}

/// The kind's own actions, for a message.
fn own_actions(actions: &[ActionName]) -> String {
    if actions.is_empty() {
        return "it has none of its own".to_owned();
    }
    let names: Vec<_> = actions.iter().map(ActionName::as_str).collect();
    format!("its own are {}", names.join(", "))
}

impl From<QueueError> for QueryError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Store(error) => Self::Store(error),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<ReadError> for QueryError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::PositionGone { head } => Self::PositionGone { head },
            ReadError::Store(error) => Self::Store(error),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<ModelError> for QueryError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::BadPageToken => Self::BadPageToken,
            ModelError::Store(error) => Self::Store(error),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<AppendError> for CommandError {
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
            AppendError::Store(error) => QueryError::Store(error).into(),
            other => QueryError::Unavailable(other.to_string()).into(),
        }
    }
}

/// One way for each error: that of an admission which could not read is the command's own.
impl From<AdmissionError> for CommandError {
    fn from(error: AdmissionError) -> Self {
        match error {
            AdmissionError::Query(error) => Self::Query(error),
            refused => Self::Admission(refused),
        }
    }
}

/// Errors of ports and of inner groups, for `?`.
macro_rules! passed_on {
    ($($source:ty => $between:ty => $target:ty),+ $(,)?) => {
        $(impl From<$source> for $target {
            fn from(error: $source) -> Self {
                <$between>::from(error).into()
            }
        })+
    };
}

passed_on! {
    ModelError => QueryError => AdmissionError,
    ReadError => QueryError => CommandError,
    StoreError => QueryError => CommandError,
    DecodeError => QueryError => CommandError,
    QueueError => QueryError => CommandError,
    StoreError => CommandError => ControlError,
    ReadError => CommandError => ControlError,
    ModelError => QueryError => ControlError,
    DecodeError => QueryError => ControlError,
    AppendError => CommandError => ControlError,
    Excess => CommandError => ControlError,
    QueryError => CommandError => ControlError,
    AdmissionError => CommandError => ControlError,
}

impl From<CommandError> for ControlError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}
