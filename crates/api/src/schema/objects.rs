//! Objects of the domain, as the `OpenAPI` document describes them. They exist for the document alone.

use utoipa::ToSchema;

use super::enums::{DriftSchema, FaultSchema, LostSchema, RoleSchema};

/// Who did it, as opaque ids.
#[derive(ToSchema)]
#[schema(as = ActorShape)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ActorSchema {
    /// `user`, `system` or `worker`.
    #[schema(rename = "type")]
    kind: String,
    id: String,
    #[schema(nullable = false)]
    token_id: Option<String>,
}

/// One differing field.
#[derive(ToSchema)]
#[schema(as = DifferenceShape)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct DifferenceSchema {
    /// JSON pointer.
    field: String,
    desired: serde_json::Value,
    observed: serde_json::Value,
    /// Others added it; it is left as it is, whatever the policy. Absent = false.
    #[schema(required = false)]
    addition: bool,
}

/// A role in one namespace, or in all.
#[derive(ToSchema)]
#[schema(as = GrantShape)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct GrantSchema {
    role: RoleSchema,
    #[schema(nullable = false)]
    namespace: Option<String>,
}

/// A verb of a kind.
#[derive(ToSchema)]
#[schema(as = ActionShape)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ActionSchema {
    name: String,
    /// JSON Schema of its input.
    input: serde_json::Value,
    /// Whether it may be repeated when nobody knows whether it was done.
    idempotent: bool,
}

/// What can be declared.
#[derive(ToSchema)]
#[schema(as = KindShape)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct KindSchema {
    name: String,
    summary: String,
    /// JSON Schema of the desired state.
    schema: serde_json::Value,
    schema_version: u32,
    immutable: Vec<String>,
    write_only: Vec<String>,
    identity: Option<String>,
    owner_key: bool,
    actions: Vec<ActionSchema>,
    /// Milliseconds.
    settle: u64,
    retry_budget: u32,
    on_lost: LostSchema,
    /// The `drift_policy` of an entity that declares none; absent = `correct`.
    #[schema(nullable = false)]
    drift_policy: Option<DriftSchema>,
    /// What is lost when the object is replaced.
    #[schema(nullable = false)]
    loses: Option<String>,
}

/// A stream that a read model set aside.
#[derive(ToSchema)]
#[schema(as = QuarantineShape)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct QuarantineSchema {
    stream: String,
    position: String,
    message: String,
}

/// What the log was at a moment.
#[derive(ToSchema)]
#[schema(as = CheckpointShape)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct CheckpointSchema {
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
#[schema(as = AuditFaultShape)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct AuditFaultSchema {
    /// `category/id`.
    #[schema(required = true)]
    stream: Option<String>,
    #[schema(required = true)]
    version: Option<u64>,
    #[schema(required = true)]
    position: Option<String>,
    fault: FaultSchema,
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
#[schema(as = ReportShape)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ReportSchema {
    ok: bool,
    events: u64,
    streams: u64,
    /// Rows of the read model that were compared with a fresh fold.
    entities: u64,
    /// The first 100.
    faults: Vec<AuditFaultSchema>,
    fault_count: u64,
    /// What is no fault and worth knowing: what could not be compared, and what else is there to look at.
    notes: Vec<String>,
    checkpoint: CheckpointSchema,
    elapsed_ms: u64,
}
