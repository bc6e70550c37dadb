//! `POST /v1/tokens`.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use serde::Deserialize;
use stateward_domain::access::{Grant, Token};
use stateward_engine::admission::names;

use super::TokenView;
use crate::app_state::AppState;
use crate::auth::token_digest::digest;
use crate::change_request::{ChangeRequest, IdempotencyCheck};
use crate::dto::time;
use crate::problem::Problem;
use crate::schema::params::ChangeHeaders;
use crate::schema::problems::{Refused, RefusedBody, Taken};

const GRANTS_MAX: usize = 100;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    #[schema(min_length = 1, max_length = 253, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    actor: String,
    #[schema(value_type = Vec<crate::schema::objects::GrantSchema>, min_items = 1, max_items = 100)]
    grants: Vec<Grant>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

#[utoipa::path(
    post,
    path = "/v1/tokens",
    operation_id = "issue_token",
    tag = "access",
    summary = "Let somebody in; the value is shown this once",
    params(ChangeHeaders),
    request_body = TokenBody,
    responses((status = 201, description = "Issued", body = TokenView), Refused, RefusedBody, Taken),
)]
pub(crate) async fn handler(change: ChangeRequest) -> Result<HttpResponse, Problem> {
    let (envelope, _turn) = match change.check_global().await? {
        IdempotencyCheck::First { envelope, turn } => (envelope, turn),
        IdempotencyCheck::Replay(first) => {
            return Err(change.app.engine.access().shown_once(first.version).await.into());
        }
    };
    let value = change.app.engine.clock().secret();
    let token = checked(&change.app, change.body.json()?, &value)?;
    let id = change.app.engine.access().issue(&envelope, token.clone()).await?;
    if let Err(error) = change.app.engine.in_force_everywhere().await {
        // The value is shown this once, whatever the other nodes do.
        tracing::warn!(%error, "other nodes may not know the token yet");
    }
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("/v1/tokens/{id}")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(TokenView::new(id, token, Some(value))))
}

fn checked(app: &AppState, asked: TokenBody, value: &str) -> Result<Token, Problem> {
    let bad = |pointer: &str, detail: &str| {
        let problem = Problem::unprocessable("bad-document", "the document has 1 fault(s)");
        Err(problem.at(pointer, detail))
    };
    if !names::is_name(&asked.actor) {
        return bad("/actor", "is no name: letters, digits, . _ - and at most 253");
    }
    if asked.grants.is_empty() || asked.grants.len() > GRANTS_MAX {
        return bad("/grants", "has 1 to 100 grants");
    }
    let exists = |grant: &Grant| {
        grant.namespace.as_ref().is_none_or(|name| app.engine.access().namespace(name).is_some())
    };
    if let Some(number) = asked.grants.iter().position(|grant| !exists(grant)) {
        return bad(&format!("/grants/{number}/namespace"), "is not known");
    }
    let expires_at = match asked.expires_at.as_deref() {
        None => None,
        Some(text) => {
            match time::parse(text).filter(|end| *end > app.engine.clock().moment().wall) {
                Some(end) => Some(end),
                None => return bad("/expires_at", "is no RFC 3339 time to come"),
            }
        }
    };
    let (actor, grants) = (asked.actor, asked.grants);
    Ok(Token { digest: digest(value), actor, grants, expires_at })
}
