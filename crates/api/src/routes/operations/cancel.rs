//! `POST /v1/operations/{id}/cancel`.

use actix_web::{HttpResponse, web};
use stateward_domain::access::Role;
use stateward_engine::service::Verb;

use super::{find, id};
use crate::change_request::ChangeRequest;
use crate::change_response::ChangeReply;
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
    change: ChangeRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    change.params.finish()?;
    let row = find(&change.app, &change.caller, id(&path)?).await?;
    change.caller.require(Role::Operator, &row.namespace)?;
    let cancel = async |envelope| {
        Ok(change.app.engine.act(envelope, row.entity_id, Verb::Cancel(row.id)).await?)
    };
    change.execute(&row.namespace, cancel).await
}
