//! Query parameters and headers in the `OpenAPI` document.

use utoipa::IntoParams;

use super::enums::{DeletionSchema, OperationSchema, StateSchema};

/// Of every list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct PageParams {
    /// Items of a page, at most 1000.
    #[param(minimum = 1, default = 50, nullable = false)]
    page_size: Option<i64>,
    /// `next_page_token` of the page before. The last page has none; any other may be short or empty.
    #[param(nullable = false)]
    page_token: Option<String>,
}

/// Which objects of a backend.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct ObjectParams {
    /// Of this kind.
    kind: String,
    /// `next_page_token` of the page before.
    #[param(nullable = false, max_length = 1024)]
    page_token: Option<String>,
}

/// Read your writes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct WaitParams {
    /// Answer once the list shows what happened up to this position (at most 10 s, then 503). A position of another epoch
    /// of the log, or ahead of its head, is 410 at once.
    #[param(nullable = false)]
    wait_for: Option<String>,
}

/// Which entities.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct EntityParams {
    #[param(nullable = false)]
    namespace: Option<String>,
    #[param(nullable = false)]
    kind: Option<String>,
    #[param(nullable = false)]
    name: Option<String>,
    #[param(nullable = false)]
    backend: Option<String>,
    /// Deleted ones are only listed with `deleted`.
    #[param(inline, nullable = false)]
    state: Option<StateSchema>,
    #[param(nullable = false)]
    drifted: Option<bool>,
    /// `KEY=VALUE`, the value as it is; may be given several times.
    #[param(nullable = false, pattern = "^[A-Za-z0-9._/-]+=.*$")]
    label: Option<Vec<String>>,
    /// Labels in kubectl's grammar: `=`, `==`, `!=`, `in (…)`, `notin (…)`, `key`, `!key`, all of them where commas are in
    /// between. What only `!=`, `notin` and `!key` say is looked for in a bounded number of entities: such a page may be
    /// short, or empty, and still have a `next_page_token`.
    #[param(nullable = false, max_length = 4096, pattern = "^[ ]*(![ ]*)?[A-Za-z0-9._/-]+")]
    selector: Option<Vec<String>>,
}

/// Which operations.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct OperationParams {
    #[param(nullable = false)]
    namespace: Option<String>,
    #[param(inline, nullable = false)]
    state: Option<OperationSchema>,
}

/// Which events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct EventParams {
    /// Only what comes after this position.
    #[param(nullable = false)]
    after: Option<String>,
    /// May be given several times.
    #[param(nullable = false)]
    namespace: Option<Vec<String>>,
    /// Event types; may be given several times.
    #[param(nullable = false, rename = "type")]
    kind: Option<Vec<String>>,
    /// Ids of entities; may be given several times.
    #[param(nullable = false)]
    entity: Option<Vec<String>>,
}

/// Where a watcher goes on.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct LastSeenHeader {
    /// The `id` of the last event that was seen; it is newer than `after`. Only with Accept: text/event-stream.
    #[param(rename = "Last-Event-ID", nullable = false)]
    last_event_id: Option<String>,
}

/// Which part of the log.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct ExportParams {
    /// Only what comes after this position.
    #[param(nullable = false)]
    after: Option<String>,
    /// The last position; the end of the log when absent.
    #[param(nullable = false)]
    until: Option<String>,
    /// May be given several times.
    #[param(nullable = false)]
    namespace: Option<Vec<String>>,
    /// Event types; may be given several times.
    #[param(nullable = false, rename = "type")]
    kind: Option<Vec<String>>,
}

/// Of every change.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct ChangeHeaders {
    /// The same key with the same request is carried out once and gets the first reply again, whatever changed since,
    /// but for a token's value; also when it had no effect. Refusals and plans leave no key. Kept for at least seven
    /// days.
    #[param(
        rename = "Idempotency-Key",
        nullable = false,
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]+$"
    )]
    idempotency_key: Option<String>,
    /// Why, at most 500 characters; a namespace may require it.
    #[param(rename = "Stateward-Reason", nullable = false, max_length = 500, pattern = "^[ -~]*$")]
    reason: Option<String>,
}

/// Of a change that begins an operation.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct WaitHeader {
    /// `wait=N`: answer with 200 once the operation is done, else with 202 after N (at most 60) seconds.
    #[param(rename = "Prefer", nullable = false, pattern = "^wait=[0-9]{1,4}$")]
    prefer: Option<String>,
}

/// Of a change that depends on what was seen.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct MatchHeader {
    /// The revision, as `ETag` gave it, in quotes; or a list of which one has to be the present one. `W/"3"` means
    /// the same as `"3"`, and `*` any.
    #[param(
        rename = "If-Match",
        nullable = false,
        pattern = "^(\\*|(W/)?\"[0-9]{1,15}\"(, ?(W/)?\"[0-9]{1,15}\")*)$"
    )]
    if_match: Option<String>,
}

/// Of a reading that is only wanted when a user changed something.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct SeenHeader {
    /// Answer with 304 when the entity is at this revision, or at one of a list; its state may be another all the same.
    #[param(
        rename = "If-None-Match",
        nullable = false,
        pattern = "^(\\*|(W/)?\"[0-9]{1,15}\"(, ?(W/)?\"[0-9]{1,15}\")*)$"
    )]
    if_none_match: Option<String>,
}

/// Of a change that can be planned.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct PlanParams {
    /// Answer with the plan and write nothing.
    #[param(nullable = false)]
    dry_run: Option<bool>,
}

/// Of a change that the object may be replaced for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct ReplaceParams {
    /// Where a field has to change that cannot change in place: delete the object and make another, for this change.
    #[param(nullable = false)]
    replace: Option<bool>,
}

/// Of a deletion.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct DeletionParams {
    /// What becomes of the object; as the entity says when absent.
    #[param(inline, nullable = false)]
    policy: Option<DeletionSchema>,
}

/// Time travel.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct AtParams {
    /// A version, or a time (RFC 3339).
    #[param(nullable = false)]
    at: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) struct ImplicitParams {
    /// Whether `referenced_by` also has what comes after the entity by its kind alone, and has nothing else in its place.
    #[param(nullable = false)]
    implicit: Option<bool>,
}
