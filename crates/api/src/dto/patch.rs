//! A JSON Patch, as the `OpenAPI` document describes it.

use utoipa::ToSchema;

/// One step of a JSON Patch (RFC 6902).
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct PatchStep {
    /// `add`, `remove`, `replace`, `move`, `copy` or `test`.
    op: String,
    /// JSON pointer.
    path: String,
    #[schema(nullable = false)]
    from: Option<String>,
    #[schema(required = false)]
    value: serde_json::Value,
}
