//! `/v1/nodes`: the processes that share the store.

use std::collections::BTreeMap;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use stateward_domain::access::Role;
use stateward_domain::ports::cluster::{self, Member};
use stateward_domain::ports::member_report::ObserveOnlyCause;

use super::{ListReply, resource};
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::schema::problems::Refused;

/// What a process runs.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum NodeRole {
    All,
    Api,
    Worker,
}

/// Why a process changes nothing: it was started with `--observe-only`, or the restore hold is set for all.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum ObserveOnlyBy {
    Argument,
    RestoreHold,
}

#[derive(Serialize, utoipa::ToSchema)]
struct NodeView {
    /// Of one life of one process
    id: String,
    name: String,
    role: NodeRole,
    version: String,
    /// The newest catalogue of event types that it reads
    catalogue: u32,
    /// Everything up to here is in force there
    seen: String,
    /// Digests of its backends' configurations
    backends: BTreeMap<String, String>,
    /// Whether it changes nothing on any backend
    observe_only: bool,
    /// Why; null = it may change them, or does not say
    observe_only_cause: Option<ObserveOnlyBy>,
    /// Whether it answers this request
    answers: bool,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/v1/nodes", &[Method::GET]).route(web::get().to(list)));
}

#[utoipa::path(
    get,
    path = "/v1/nodes",
    operation_id = "list_nodes",
    tag = "nodes",
    summary = "The processes that share the store and live, in the order in which they joined",
    responses((status = 200, description = "All of them", body = ListReply<NodeView>), Refused),
)]
pub(crate) async fn list(
    app: web::Data<AppState>,
    caller: Caller,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    caller.require_global(Role::Viewer)?;
    let membership = app.engine.membership();
    let view = |member: Member| NodeView {
        id: member.id.0.to_string(),
        name: member.name,
        role: match member.role {
            cluster::Role::All => NodeRole::All,
            cluster::Role::Api => NodeRole::Api,
            cluster::Role::Worker => NodeRole::Worker,
        },
        version: member.version,
        catalogue: member.knows,
        seen: member.seen.to_string(),
        backends: member.backends.into_iter().map(|(name, digest)| (name.0, digest)).collect(),
        observe_only: member.observe_only,
        observe_only_cause: match member.report.observe_only {
            Some(ObserveOnlyCause::Argument) => Some(ObserveOnlyBy::Argument),
            Some(ObserveOnlyCause::RestoreHold) => Some(ObserveOnlyBy::RestoreHold),
            Some(ObserveOnlyCause::Unknown) | None => None,
        },
        answers: member.id == membership.id(),
    };
    let items: Vec<_> = membership.members().into_iter().map(view).collect();
    Ok(HttpResponse::Ok().json(ListReply { items, next_page_token: None }))
}
