//! `PUT /v1/entities/{id}`: replaces each named member and keeps the others.

use actix_web::{HttpResponse, web};
use stateward_domain::access::Role;

use crate::change_request::ChangeRequest;
use crate::change_response::{self, ChangeOrPlan, ChangeReply};
use crate::dto::manifest::ChangeBody;
use crate::headers;
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
    mut change: ChangeRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id(&path)?;
    let dry_run = change.params.value("dry_run")?.unwrap_or(false);
    let replace = change.params.value("replace")?.unwrap_or(false);
    change.params.finish()?;
    let entity = change.caller.entity(&change.app.engine, id, Role::Operator).await?;
    let namespace = &entity.manifest.namespace;
    let read = || {
        let revisions = headers::if_match(&change.request)?;
        Ok::<_, Problem>(change.body.json::<ChangeBody>()?.change(revisions, replace))
    };
    if dry_run {
        change.check_plan(namespace)?;
        return change_response::plan(&change.app, id, &read()?).await;
    }
    let update = async |envelope| {
        let update = read()?;
        change
            .caller
            .answer(&change.app.engine, change.app.engine.update(envelope, id, update).await)
            .await
    };
    change.execute(namespace, update).await
}
