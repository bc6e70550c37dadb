//! `POST /v1/entities`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use stateward_domain::access::Role;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::body::Body;
use crate::change_request::ChangeRequest;
use crate::change_response::{ChangeOrPlan, ChangeReply, Plan, PlanReply, PlannedChange};
use crate::dto::manifest::ManifestBody;
use crate::params::Params;
use crate::problem::Problem;
use crate::schema::params::{ChangeHeaders, PlanParams, WaitHeader};
use crate::schema::problems::{Refused, RefusedBody, RefusedChange};

#[utoipa::path(
    post,
    path = "/v1/entities",
    operation_id = "create_entity",
    tag = "entities",
    summary = "Declare an entity",
    params(PlanParams, ChangeHeaders, WaitHeader),
    request_body = ManifestBody,
    responses((status = 200, description = "The plan, or done", body = ChangeOrPlan<'static>), (status = 202, description = "Accepted; the operation says how it goes", body = ChangeReply<'static>), Refused, RefusedBody, RefusedChange),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    mut params: Params,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let dry_run = params.value("dry_run")?.unwrap_or(false);
    params.finish()?;
    let manifest: ManifestBody = body.json()?;
    let namespace = manifest.namespace();
    if caller.can(Role::Viewer, &namespace) {
        caller.require(Role::Operator, &namespace)?;
    } else {
        // A namespace that the caller may not read is answered like one that does not exist.
        return Err(Problem::unknown_namespace());
    }
    let change_request =
        ChangeRequest { app: &app, caller: &caller, request: &request, body: &body };
    if dry_run {
        let declaration = manifest.declaration(&app.engine)?;
        change_request.check_plan(&namespace)?;
        let (backend, desired) = app.engine.preview(&declaration).await?;
        let whole = PlannedChange { field: String::new(), from: Value::Null, to: desired };
        let backend = backend.name().to_string();
        let plan = Plan { action: "create", backend, changes: vec![whole], replaces: Vec::new() };
        return Ok(HttpResponse::Ok().json(PlanReply { plan }));
    }
    let create = async |envelope| {
        let declaration = manifest.declaration(&app.engine)?;
        caller.answer(&app.engine, app.engine.create(envelope, declaration).await).await
    };
    change_request.execute(&namespace, create).await
}
