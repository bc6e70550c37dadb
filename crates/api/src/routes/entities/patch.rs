//! `PATCH /v1/entities/{id}`: patches the document that PUT replaces members of.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use stateward_domain::access::Role;
use stateward_domain::entity::{Entity, Refusal};
use stateward_domain::id::EntityId;
use stateward_engine::Error;
use stateward_engine::requests::{Change, Preview};

use crate::app::App;
use crate::auth::Caller;
use crate::body::Body;
use crate::dto::manifest::ChangeBody;
use crate::headers;
use crate::json::parse;
use crate::openapi::PatchStep;
use crate::openapi::params::{ChangeHeaders, MatchHeader, PlanParams, ReplaceParams, WaitHeader};
use crate::openapi::problems::{Missing, Refused, RefusedBody, RefusedChange};
use crate::params::Params;
use crate::problem::Problem;
use crate::reply::{self, Plan, PlanReply, PlannedChange};
use crate::reply::{ChangeOrPlan, ChangeReply};
use crate::routes::id;

const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
/// A patch is made on what was read; so often it is made anew when somebody was faster.
const TRIES: u32 = 10;

#[utoipa::path(
    patch,
    path = "/v1/entities/{id}",
    operation_id = "patch_entity",
    tag = "entities",
    summary = "Patch the document that PUT replaces members of",
    params(("id" = String, Path, description = "Id"), PlanParams, ReplaceParams, MatchHeader, ChangeHeaders, WaitHeader),
    request_body(content((ChangeBody = "application/merge-patch+json"), (Vec<PatchStep> = "application/json-patch+json"))),
    responses((status = 200, description = "The plan, or done", body = ChangeOrPlan<'static>), (status = 202, description = "Accepted; the operation says how it goes", body = ChangeReply<'static>), Refused, Missing, RefusedBody, RefusedChange),
)]
pub(crate) async fn handler(
    app: web::Data<App>,
    caller: Caller,
    path: web::Path<String>,
    mut params: Params,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id: EntityId = id(&path)?;
    let dry_run = params.value("dry_run")?.unwrap_or(false);
    let replace = params.value("replace")?.unwrap_or(false);
    params.finish()?;
    body.is(&[MERGE_PATCH, JSON_PATCH])?;
    let wanted = headers::if_match(&request)?;
    let entity = caller.entity(&app, id, Role::Operator).await?;
    let namespace = Some(&entity.manifest.namespace);
    let envelope = headers::envelope(&app, &caller, &request, namespace, &body.bytes)?;
    for _ in 0..TRIES {
        let entity = app.engine.entity(id).await?;
        let revision = wanted.unwrap_or(entity.revision);
        let change = patched(&entity, &body)?.change(Some(revision), replace);
        if dry_run {
            return plan(&app, id, &change).await;
        }
        match app.engine.update(envelope.clone(), id, change).await {
            Err(Error::Refused(Refusal::RevisionMismatch { .. })) if wanted.is_none() => {}
            Ok(accepted) => return reply::changed(&app, &request, &envelope, accepted).await,
            Err(error) => return Err(caller.refusal(&app, error).await),
        }
    }
    Err(Problem::unavailable("the entity changes too fast"))
}

fn patched(entity: &Entity, body: &Body) -> Result<ChangeBody, Problem> {
    let before = serde_json::to_value(ChangeBody::of(entity))
        .map_err(|error| Problem::unavailable(error.to_string()))?;
    let mut document = before.clone();
    if body.media_type == MERGE_PATCH {
        json_patch::merge(&mut document, &parse::<Value>(&body.bytes)?);
    } else {
        let patch: json_patch::Patch = parse(&body.bytes)?;
        json_patch::patch(&mut document, &patch)
            .map_err(|error| Problem::unprocessable("patch-failed", error.to_string()))?;
    }
    // A member that is taken away would be left as it is, which is not what was asked for.
    let members = before.as_object().into_iter().flatten();
    if let Some((gone, _)) = members.into_iter().find(|(name, _)| document.get(name).is_none()) {
        let problem = Problem::unprocessable("bad-document", "a member cannot be taken away");
        return Err(problem.at(format!("/{gone}"), "give it its empty or default value"));
    }
    serde_json::from_value(document)
        .map_err(|error| Problem::unprocessable("bad-document", error.to_string()))
}

/// What a change of the desired state would change, field by field.
pub(super) async fn plan(
    app: &App,
    id: EntityId,
    change: &Change,
) -> Result<HttpResponse, Problem> {
    let Preview { entity, differences, replaces } = app.engine.preview_update(id, change).await?;
    let changes: Vec<_> = differences
        .into_iter()
        .map(|d| PlannedChange { field: d.field, from: d.observed, to: d.desired })
        .collect();
    let action = match (changes.is_empty(), replaces.is_empty()) {
        (true, _) => "none",
        (false, true) => "update",
        (false, false) => "replace",
    };
    let backend = entity.manifest.backend.to_string();
    let plan = Plan { action, backend, changes, replaces };
    Ok(HttpResponse::Ok().json(PlanReply { plan }))
}
