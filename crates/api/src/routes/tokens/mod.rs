//! `/v1/tokens`: access tokens. Their values are shown once and not stored.

pub(crate) mod issue;
pub(crate) mod revoke;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use stateward_domain::access::{Grant, Role, Token};
use stateward_domain::id::TokenId;

use super::{ListReply, resource};
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::dto::time;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::schema::problems::Refused;

#[derive(Serialize, utoipa::ToSchema)]
struct TokenView {
    id: String,
    actor: String,
    #[schema(value_type = Vec<crate::schema::objects::GrantSchema>)]
    grants: Vec<Grant>,
    expires_at: Option<String>,
    /// Only in the answer to its making.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl TokenView {
    fn new(id: TokenId, token: Token, value: Option<String>) -> Self {
        let expires_at = token.expires_at.map(time::text);
        Self { id: id.to_string(), actor: token.actor, grants: token.grants, expires_at, value }
    }
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            resource("/v1/tokens", &[Method::GET, Method::POST])
                .route(web::get().to(list))
                .route(web::post().to(issue::handler)),
        )
        .service(
            resource("/v1/tokens/{id}", &[Method::DELETE]).route(web::delete().to(revoke::handler)),
        );
}

#[utoipa::path(
    get,
    path = "/v1/tokens",
    operation_id = "list_tokens",
    tag = "access",
    summary = "Who may come in",
    responses((status = 200, description = "All of them, without their values", body = ListReply<TokenView>), Refused),
)]
pub(crate) async fn list(
    app: web::Data<AppState>,
    caller: Caller,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    caller.require_global(Role::Admin)?;
    let all = app.engine.access().tokens().into_iter();
    let items: Vec<_> = all.map(|(id, token)| TokenView::new(id, token, None)).collect();
    Ok(HttpResponse::Ok().json(ListReply { items, next_page_token: None }))
}
