//! `POST /v1/entities`.

use actix_web::HttpResponse;
use serde_json::Value;
use stateward_domain::access::Role;

use crate::change_request::ChangeRequest;
use crate::change_response::{ChangeOrPlan, ChangeReply, Plan, PlanReply, PlannedChange};
use crate::dto::manifest::ManifestBody;
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
pub(crate) async fn handler(mut change: ChangeRequest) -> Result<HttpResponse, Problem> {
    let dry_run = change.params.value("dry_run")?.unwrap_or(false);
    change.params.finish()?;
    let manifest: ManifestBody = change.body.json()?;
    let namespace = manifest.namespace();
    if change.caller.can(Role::Viewer, &namespace) {
        change.caller.require(Role::Operator, &namespace)?;
    } else {
        // A namespace that the caller may not read is answered like one that does not exist.
        return Err(Problem::unknown_namespace());
    }
    if dry_run {
        let declaration = manifest.declaration(&change.app.engine)?;
        change.check_plan(&namespace)?;
        let (backend, desired) = change.app.engine.preview(&declaration).await?;
        let whole = PlannedChange { field: String::new(), from: Value::Null, to: desired };
        let backend = backend.name().to_string();
        let plan = Plan {
            action: "create",
            backend,
            changes: vec![whole],
            replaces: Vec::new(),
            loses: None,
        };
        return Ok(HttpResponse::Ok().json(PlanReply { plan }));
    }
    let create = async |envelope| {
        let declaration = manifest.declaration(&change.app.engine)?;
        change
            .caller
            .answer(&change.app.engine, change.app.engine.create(envelope, declaration).await)
            .await
    };
    change.execute(&namespace, create).await
}
