//! `PUT /v1/entities/{id}`: replaces each named member and keeps the others.

use actix_web::{HttpRequest, HttpResponse, web};
use stateward_domain::access::Role;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::body::Body;
use crate::change_request::ChangeRequest;
use crate::change_response::{self, ChangeOrPlan, ChangeReply};
use crate::dto::manifest::ChangeBody;
use crate::headers;
use crate::params::Params;
use crate::problem::Problem;
use crate::routes::id;
use crate::schema::params::{ChangeHeaders, MatchHeader, PlanParams, ReplaceParams, WaitHeader};
use crate::schema::problems::{Missing, Refused, RefusedBody, RefusedChange};

#[utoipa::path(
    put,
    path = "/v1/entities/{id}",
    operation_id = "replace_entity",
    tag = "entities",
    summary = "Replace the members that are named",
    params(("id" = String, Path, description = "Id"), PlanParams, ReplaceParams, MatchHeader, ChangeHeaders, WaitHeader),
    request_body = ChangeBody,
    responses((status = 200, description = "The plan, or done", body = ChangeOrPlan<'static>), (status = 202, description = "Accepted; the operation says how it goes", body = ChangeReply<'static>), Refused, Missing, RefusedBody, RefusedChange),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    path: web::Path<String>,
    mut params: Params,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&path)?;
    let dry_run = params.value("dry_run")?.unwrap_or(false);
    let replace = params.value("replace")?.unwrap_or(false);
    params.finish()?;
    let entity = caller.entity(&app.engine, id, Role::Operator).await?;
    let namespace = &entity.manifest.namespace;
    let change = || {
        let revisions = headers::if_match(&request)?;
        Ok::<_, Problem>(body.json::<ChangeBody>()?.change(revisions, replace))
    };
    let change_request =
        ChangeRequest { app: &app, caller: &caller, request: &request, body: &body };
    if dry_run {
        change_request.check_plan(namespace)?;
        return change_response::plan(&app, id, &change()?).await;
    }
    let update = async |envelope| {
        let change = change()?;
        caller.answer(&app.engine, app.engine.update(envelope, id, change).await).await
    };
    change_request.execute(namespace, update).await
}
