//! `POST /v1/backends/{name}/actions/{pause|resume|test}`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use stateward_domain::access::Role;
use stateward_domain::id::BackendName;
use stateward_domain::time::Timestamp;

use super::BackendView;
use super::view;
use crate::app::App;
use crate::auth::Caller;
use crate::body::Body;
use crate::dto::time;
use crate::headers;
use crate::openapi::params::ChangeHeaders;
use crate::openapi::problems::{Missing, Refused, RefusedBody, Taken};
use crate::params::Params;
use crate::problem::Problem;

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
    app: web::Data<App>,
    caller: Caller,
    path: web::Path<(String, String)>,
    params: Params,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    caller.everywhere(Role::Admin)?;
    let (name, action) = path.into_inner();
    let name = BackendName(name);
    if app.engine.backends().get(&name).is_none() {
        return Err(Problem::not_found());
    }
    let asked: ActionBody = body.json_or_default()?;
    let mut envelope = headers::envelope(&app, &caller, &request, None, &body.bytes)?;
    envelope.reason = envelope.reason.or(asked.reason);
    match action.as_str() {
        "pause" => {
            let until = asked.until.as_deref().map(moment).transpose()?;
            app.engine.pause_backend(&name, until, &envelope).await?;
        }
        "resume" => app.engine.unpark(&name, &envelope).await?,
        "test" => app.engine.test_backend(&name).await?,
        _ => return Err(Problem::not_found()),
    }
    let statuses = app.engine.backend_statuses();
    let found = statuses.iter().find(|status| *status.backend.name() == name);
    Ok(HttpResponse::Ok().json(view(found.ok_or_else(Problem::not_found)?)))
}

fn moment(text: &str) -> Result<Timestamp, Problem> {
    let bad = || Problem::unprocessable("bad-document", "until is no RFC 3339 time");
    time::parse(text).ok_or_else(|| bad().at("/until", "is no RFC 3339 time"))
}
