//! `POST /v1/backends/{name}/actions/{pause|resume|test}`.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use stateward_domain::backend::Backend as Record;
use stateward_domain::envelope::Envelope;
use stateward_domain::id::BackendName;
use stateward_domain::time::Timestamp;

use super::BackendView;
use crate::app_state::AppState;
use crate::change_request::{ChangeRequest, IdempotencyCheck};
use crate::dto::time;
use crate::headers;
use crate::problem::Problem;
use crate::schema::params::ChangeHeaders;
use crate::schema::problems::{Missing, Refused, RefusedBody, Taken};

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
struct ActionBody {
    reason: Option<String>,
    until: Option<String>,
}

#[utoipa::path(
    post,
    path = "/v1/backends/{name}/actions/{action}",
    operation_id = "act_on_backend",
    tag = "backends",
    summary = "Pause, resume (confirm) or test a backend",
    params(("name" = String, Path, description = "Name"), ("action" = String, Path, description = "`pause`, `resume` or `test`"), ChangeHeaders),
    request_body = ActionBody,
    responses((status = 200, description = "The backend after it", body = BackendView), Refused, Missing, RefusedBody, Taken),
)]
pub(crate) async fn handler(
    change: ChangeRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (name, action) = path.into_inner();
    let name = BackendName(name);
    let record = match change.check_global().await? {
        IdempotencyCheck::First { envelope, turn: _turn } => {
            act(&change.app, &name, &action, *envelope, change.body.json_or_default()?).await?
        }
        IdempotencyCheck::Replay(first) => {
            change.app.engine.backend_at(&name, first.version).await?
        }
    };
    let backend = change.app.engine.backends().get(&name);
    Ok(HttpResponse::Ok().json(BackendView::recorded(&name, &record, backend.as_deref())))
}

/// Performs the action; returns the backend's record right after it.
async fn act(
    app: &AppState,
    name: &BackendName,
    action: &str,
    mut envelope: Envelope,
    asked: ActionBody,
) -> Result<Record, Problem> {
    if app.engine.backends().get(name).is_none() {
        return Err(Problem::not_found());
    }
    envelope.reason = envelope.reason.or(headers::reason(asked.reason)?);
    Ok(match action {
        "pause" => {
            let until = asked.until.as_deref().map(moment).transpose()?;
            app.engine.pause_backend(name, until, &envelope).await?
        }
        "resume" => app.engine.unpark(name, &envelope).await?,
        "test" => app.engine.test_backend(name, &envelope).await?,
        _ => return Err(Problem::not_found()),
    })
}

fn moment(text: &str) -> Result<Timestamp, Problem> {
    let bad = || Problem::unprocessable("bad-document", "until is no RFC 3339 time");
    time::parse(text).ok_or_else(|| bad().at("/until", "is no RFC 3339 time"))
}
