//! Words of the domain, as the document names them. They exist for the document alone: `words_are_those_of_the_domain`
//! holds them to what is really sent.

use utoipa::ToSchema;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($word:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(ToSchema)]
        #[schema(rename_all = "snake_case")]
        #[expect(dead_code, reason = "only its schema is used")]
        pub(crate) enum $name { $($word),* }
    )*};
}

words! {
    /// Where an entity stands.
    StateWord {
        CreationScheduled, Creating, Ok, UpdateScheduled, Updating, DeletionScheduled, Deleting, Deleted, Erred,
    }
    /// What happens to the object when its entity is deleted.
    DeletionWord { Delete, Orphan }
    /// What happens when the object differs by itself.
    DriftWord { Correct, Report, Ignore }
    /// Whether the object may be changed at all.
    ManagementWord { Full, ObserveOnly }
    /// Whether the object may go for another when a field has to change that cannot change in place.
    ReplaceWord { Never, Allowed }
    /// Whether the object is there.
    PresenceWord { Absent, Unknown, Present }
    /// What a failed call may have done.
    EffectWord { None, Maybe, Partial }
    /// Where an operation stands.
    OperationWord { Pending, Running, Succeeded, Failed, Superseded, Cancelled }
    /// What a grant allows.
    RoleWord { Viewer, Operator, Admin }
    /// What a new configuration means for a backend.
    ChangeWord { Added, Changed, Removed, Unchanged }
    /// What happens when an object is gone.
    LostWord { Ask, Recreate, Report }
    /// What is wrong with an event, or with the log.
    FaultWord {
        File, Unreadable, Position, Version, Stream, Hash, Time, Payload, Claim, View, Checkpoint,
    }
}

/// Who did it, as opaque ids.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ActorShape {
    /// `user`, `system` or `worker`.
    #[schema(rename = "type")]
    kind: String,
    id: String,
    #[schema(nullable = false)]
    token_id: Option<String>,
}

/// One differing field.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct DifferenceShape {
    /// JSON pointer.
    field: String,
    desired: serde_json::Value,
    observed: serde_json::Value,
}

/// A role in one namespace, or in all.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct GrantShape {
    role: RoleWord,
    #[schema(nullable = false)]
    namespace: Option<String>,
}

/// A verb of a kind.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ActionShape {
    name: String,
    /// JSON Schema of its input.
    input: serde_json::Value,
    /// Whether it may be repeated when nobody knows whether it was done.
    idempotent: bool,
}

/// What can be declared.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct KindShape {
    name: String,
    summary: String,
    /// JSON Schema of the desired state.
    schema: serde_json::Value,
    schema_version: u32,
    immutable: Vec<String>,
    write_only: Vec<String>,
    identity: Option<String>,
    owner_key: bool,
    actions: Vec<ActionShape>,
    /// Milliseconds.
    settle: u64,
    retry_budget: u32,
    on_lost: LostWord,
}

/// A stream that a read model set aside.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct QuarantineShape {
    stream: String,
    position: String,
    message: String,
}

/// What the log was at a moment.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct CheckpointShape {
    #[schema(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    log_id: String,
    #[schema(pattern = "^[0-9a-f]{40}$")]
    position: String,
    count: u64,
    /// SHA-256 over the hashes of all events, in hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    digest: String,
    #[schema(format = DateTime)]
    taken_at: String,
}

/// One thing that is wrong, as far as it is known where.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct AuditFaultShape {
    /// `category/id`.
    #[schema(required = true)]
    stream: Option<String>,
    #[schema(required = true)]
    version: Option<u64>,
    #[schema(required = true)]
    position: Option<String>,
    fault: FaultWord,
    detail: String,
    /// The table that does not hold what follows from the log, where it is one of those.
    table: Option<String>,
    /// The row's primary key in it.
    key: Option<String>,
    /// The column; absent when the row is missing, or one that the events do not make.
    column: Option<String>,
}

/// What a verification found.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ReportShape {
    ok: bool,
    events: u64,
    streams: u64,
    /// Rows of the read model that were compared with a fresh fold.
    entities: u64,
    /// The first 100.
    faults: Vec<AuditFaultShape>,
    fault_count: u64,
    /// What is no fault and worth knowing: what could not be compared, and what else is there to look at.
    notes: Vec<String>,
    checkpoint: CheckpointShape,
    elapsed_ms: u64,
}
