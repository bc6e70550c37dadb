//! `POST /v1/operations/{id}/cancel`.

use actix_web::{HttpRequest, HttpResponse, web};
use stateward_domain::access::Role;
use stateward_engine::requests::Verb;

use super::{find, id};
use crate::app::App;
use crate::auth::Caller;
use crate::body::Body;
use crate::headers;
use crate::params::Params;
use crate::problem::Problem;
use crate::reply;

pub(super) async fn handler(
    app: web::Data<App>,
    caller: Caller,
    path: web::Path<String>,
    params: Params,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    let row = find(&app, &caller, id(&path)?).await?;
    caller.needs(Role::Operator, &row.namespace)?;
    let namespace = Some(&row.namespace);
    let envelope = headers::envelope(&app, &caller, &request, namespace, &body.bytes)?;
    let verb = Verb::Cancel(row.id);
    let accepted = app.engine.act(envelope.clone(), row.entity_id, verb).await?;
    reply::changed(&app, &request, &envelope, accepted).await
}
