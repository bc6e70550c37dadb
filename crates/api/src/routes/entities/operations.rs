//! `GET /v1/entities/{id}/operations`.

use actix_web::{HttpResponse, web};

use crate::app::App;
use crate::auth::Caller;
use crate::params::Params;
use crate::problem::Problem;
use crate::routes::{id, operations};

pub(super) async fn handler(
    app: web::Data<App>,
    _caller: Caller,
    path: web::Path<String>,
    params: Params,
) -> Result<HttpResponse, Problem> {
    let id = id(&path)?;
    app.engine.entity(id).await?;
    operations::page(&app, params, Some(id)).await
}
