//! `GET /v1/entities/{id}/operations`.

use actix_web::{HttpResponse, web};
use stateward_domain::access::Role;

use crate::app::App;
use crate::auth::Caller;
use crate::params::Params;
use crate::problem::Problem;
use crate::routes::{id, operations};

pub(super) async fn handler(
    app: web::Data<App>,
    caller: Caller,
    path: web::Path<String>,
    params: Params,
) -> Result<HttpResponse, Problem> {
    let id = id(&path)?;
    caller.entity(&app, id, Role::Viewer).await?;
    operations::page(&app, &caller, params, Some(id)).await
}
