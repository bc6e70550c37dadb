//! `DELETE /v1/entities/{id}`.

use actix_web::{HttpResponse, web};
use serde_json::Value;
use stateward_domain::access::Role;
use stateward_domain::entity::Entity;
use stateward_domain::entity::state::DeletionPolicy;
use stateward_domain::id::EntityId;

use crate::change_request::ChangeRequest;
use crate::change_response::{ChangeOrPlan, ChangeReply, Plan, PlanReply, PlannedChange};
use crate::headers;
use crate::problem::Problem;
use crate::routes::id;
use crate::schema::params::{ChangeHeaders, DeletionParams, MatchHeader, PlanParams, WaitHeader};
use crate::schema::problems::{Missing, Refused, RefusedBody, RefusedChange};

#[utoipa::path(
    delete,
    path = "/v1/entities/{id}",
    operation_id = "delete_entity",
    tag = "entities",
    summary = "End an entity",
    params(("id" = String, Path, description = "Id"), PlanParams, DeletionParams, MatchHeader, ChangeHeaders, WaitHeader),
    responses((status = 200, description = "The plan, or done", body = ChangeOrPlan<'static>), (status = 202, description = "Accepted; the operation says how it goes", body = ChangeReply<'static>), Refused, Missing, RefusedBody, RefusedChange),
)]
pub(crate) async fn handler(
    mut change: ChangeRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: EntityId = id(&path)?;
    let dry_run = change.params.value("dry_run")?.unwrap_or(false);
    let policy = match change.params.text("policy")?.as_deref() {
        None => None,
        Some("delete") => Some(DeletionPolicy::Delete),
        Some("orphan") => Some(DeletionPolicy::Orphan),
        Some(_) => {
            return Err(Problem::malformed("bad-parameter", "policy is delete or orphan"));
        }
    };
    change.params.finish()?;
    let entity = change.caller.entity(&change.app.engine, id, Role::Operator).await?;
    if dry_run {
        return Ok(plan(&entity, policy));
    }
    let delete = async |envelope| {
        let revisions = headers::if_match(&change.request)?;
        Ok(change.app.engine.delete(envelope, id, revisions, policy).await?)
    };
    change.execute(&entity.manifest.namespace, delete).await
}

fn plan(entity: &Entity, policy: Option<DeletionPolicy>) -> HttpResponse {
    let policy = policy.unwrap_or(entity.manifest.settings.deletion_policy);
    let object = entity.observed.attributes.clone().unwrap_or(Value::Null);
    let gone = PlannedChange { field: String::new(), from: object, to: Value::Null };
    let goes = entity.may_exist() && policy == DeletionPolicy::Delete;
    let plan = Plan {
        action: if entity.is_deleted() { "none" } else { "delete" },
        backend: entity.manifest.backend.to_string(),
        changes: if goes { vec![gone] } else { Vec::new() },
        replaces: Vec::new(),
        loses: None,
    };
    HttpResponse::Ok().json(PlanReply { plan })
}
