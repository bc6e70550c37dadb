//! `PATCH /v1/entities/{id}`: patches the document whose members PUT replaces.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value};
use stateward_domain::access::Role;
use stateward_domain::document;
use stateward_domain::entity::{Entity, Refusal};
use stateward_domain::envelope::Envelope;
use stateward_domain::id::EntityId;
use stateward_engine::CommandError;
use stateward_engine::service::{Accepted, EntityChange};

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::body::Body;
use crate::change_request::ChangeRequest;
use crate::change_response::{self, ChangeOrPlan, ChangeReply};
use crate::dto::manifest::ChangeBody;
use crate::dto::patch::PatchStep;
use crate::json::parse;
use crate::problem::Problem;
use crate::routes::id;
use crate::schema::params::{ChangeHeaders, MatchHeader, PlanParams, ReplaceParams, WaitHeader};
use crate::schema::problems::{Missing, Refused, RefusedBody, RefusedChange};
use crate::{bounded_patch, headers};

const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
/// A patch applies to the revision that was read; it is applied again this often if another change was faster.
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
    mut change: ChangeRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: EntityId = id(&path)?;
    let dry_run = change.params.value("dry_run")?.unwrap_or(false);
    let replace = change.params.value("replace")?.unwrap_or(false);
    change.params.finish()?;
    let entity = change.caller.entity(&change.app.engine, id, Role::Operator).await?;
    let namespace = &entity.manifest.namespace;
    let patch_request = Patch {
        app: &change.app,
        caller: &change.caller,
        id,
        request: &change.request,
        body: &change.body,
        replace,
    };
    if dry_run {
        change.check_plan(namespace)?;
        return change_response::plan(&change.app, id, &patch_request.change(&entity)?).await;
    }
    change
        .execute(namespace, async |envelope| patch_request.apply_with_retries(envelope).await)
        .await
}

/// A requested patch.
struct Patch<'a> {
    app: &'a AppState,
    caller: &'a Caller,
    id: EntityId,
    request: &'a HttpRequest,
    body: &'a Body,
    replace: bool,
}

impl Patch<'_> {
    async fn apply_with_retries(&self, envelope: Envelope) -> Result<Accepted, Problem> {
        for _ in 0..TRIES {
            let entity = self.app.engine.entity(self.id).await?;
            let change = self.change(&entity)?;
            // The patch was made from this revision, even if the client accepts others.
            let pinned = change.if_revision.as_deref() == Some(&[entity.revision]);
            match self.app.engine.update(envelope.clone(), self.id, change).await {
                Err(CommandError::Refused(Refusal::RevisionMismatch { .. })) if pinned => {}
                outcome => return self.caller.answer(&self.app.engine, outcome).await,
            }
        }
        Err(Problem::unavailable("the entity changes too fast"))
    }

    /// The change that the patch makes of `entity`, for this revision only; for none, if the client does not accept it.
    fn change(&self, entity: &Entity) -> Result<EntityChange, Problem> {
        self.body.require_media_type(&[MERGE_PATCH, JSON_PATCH])?;
        let mut revisions = vec![entity.revision];
        if let Some(wanted) = headers::if_match(self.request)? {
            revisions.retain(|revision| wanted.contains(revision));
        }
        Ok(patched(entity, self.body)?.change(Some(revisions), self.replace))
    }
}

fn patched(entity: &Entity, body: &Body) -> Result<ChangeBody, Problem> {
    body.reset_charge();
    body.charge(document::Extent::of(&entity.manifest.desired).memory())?;
    let mut document = serde_json::to_value(ChangeBody::of(entity))
        .map_err(|error| Problem::unavailable(error.to_string()))?;
    let members: Vec<String> =
        document.as_object().into_iter().flat_map(Map::keys).cloned().collect();
    if body.media_type == MERGE_PATCH {
        let patch = parse::<Value>(&body.bytes)?;
        // What is merged is copied.
        body.charge(document::Extent::of(&patch).memory())?;
        json_patch::merge(&mut document, &patch);
    } else {
        let patch: json_patch::Patch = parse(&body.bytes)?;
        bounded_patch::apply(&mut document, &patch, |bytes| body.charge(bytes))?;
    }
    // Removing a member would leave it unchanged, which the client does not expect.
    if let Some(gone) = members.iter().find(|name| document.get(name.as_str()).is_none()) {
        let problem = Problem::unprocessable("bad-document", "a member cannot be taken away");
        return Err(problem.at(format!("/{gone}"), "give it its empty or default value"));
    }
    serde_json::from_value(document)
        .map_err(|error| Problem::unprocessable("bad-document", error.to_string()))
}
