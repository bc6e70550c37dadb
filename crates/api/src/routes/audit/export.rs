//! `GET /v1/audit/export`: a copy of the log.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use stateward_domain::access::Role;
use stateward_domain::envelope::Envelope;
use stateward_domain::id::Namespace;
use stateward_engine::QueryError;
use stateward_engine::service::export::Selection;

use super::LINES;
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::headers;
use crate::middleware::is_head_request;
use crate::position_parser;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::schema::params::ExportParams;
use crate::schema::problems::{Gone, Refused};

#[utoipa::path(
    get,
    path = "/v1/audit/export",
    operation_id = "export_log",
    tag = "audit",
    summary = "The log as CloudEvents, a JSON event a line; that it was taken is recorded first",
    params(ExportParams),
    responses((status = 200, description = "The events", body = String, content_type = "application/x-ndjson"), Refused, Gone),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    mut params: Params,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    caller.require_global(Role::Admin)?;
    let selection = Selection {
        after: position_parser::parameter(&app, &mut params, "after").await?.unwrap_or_default(),
        until: position_parser::parameter(&app, &mut params, "until").await?,
        namespaces: params.all("namespace").into_iter().map(Namespace).collect(),
        types: params.all("type"),
    };
    params.finish()?;
    if is_head_request(&request) {
        // A HEAD request makes no copy.
        return Ok(HttpResponse::Ok()
            .content_type(LINES)
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish());
    }
    // Each export is recorded, so none is a repetition of another.
    let envelope = headers::envelope(&caller, &request, None, &[])?;
    let envelope = Envelope { idempotency: None, ..envelope };
    let export = app.engine.export(&envelope, selection).await?;
    let lines = futures_util::stream::unfold(export, |mut export| async {
        // An error aborts the connection, so that a partial export cannot be taken for a complete one.
        let lines = export.lines().await.map(|lines| lines.map(Bytes::from));
        lines.transpose().map(|lines: Result<Bytes, QueryError>| (lines, export))
    });
    let lines = futures_util::TryStreamExt::map_err(lines, Problem::from);
    Ok(HttpResponse::Ok()
        .content_type(LINES)
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(lines))
}
