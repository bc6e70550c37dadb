//! `POST /v1/operations/{id}/cancel`.

use actix_web::{HttpRequest, HttpResponse, web};
use stateward_domain::access::Role;
use stateward_engine::service::Verb;

use super::{find, id};
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::body::Body;
use crate::change_request::ChangeRequest;
use crate::change_response::ChangeReply;
use crate::params::Params;
use crate::problem::Problem;
use crate::schema::params::{ChangeHeaders, WaitHeader};
use crate::schema::problems::{Missing, Refused, RefusedBody, RefusedChange};

#[utoipa::path(
    post,
    path = "/v1/operations/{id}/cancel",
    operation_id = "cancel_operation",
    tag = "operations",
    summary = "Take an operation back",
    params(("id" = String, Path, description = "Id"), ChangeHeaders, WaitHeader),
    responses((status = 200, description = "Done, or nothing had to be done on the backend", body = ChangeReply<'static>), (status = 202, description = "Accepted; the operation says how it goes", body = ChangeReply<'static>), Refused, Missing, RefusedBody, RefusedChange),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    path: web::Path<String>,
    params: Params,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    let row = find(&app, &caller, id(&path)?).await?;
    caller.require(Role::Operator, &row.namespace)?;
    let change_request =
        ChangeRequest { app: &app, caller: &caller, request: &request, body: &body };
    let cancel =
        async |envelope| Ok(app.engine.act(envelope, row.entity_id, Verb::Cancel(row.id)).await?);
    change_request.execute(&row.namespace, cancel).await
}
