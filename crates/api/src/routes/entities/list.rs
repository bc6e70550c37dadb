//! `GET /v1/entities`.

use actix_web::{HttpResponse, web};
use stateward_domain::entity::State;
use stateward_domain::id::{BackendName, EntityName, KindName};
use stateward_domain::ports::read_model::EntityFilter;
use stateward_domain::selector::{REQUIREMENTS_MAX, Requirement, Selector};
use stateward_engine::QueryError;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::dto::entity::EntityView;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::routes::{ListReply, page_response, wait_for};
use crate::schema::params::{EntityParams, PageParams, WaitParams};
use crate::schema::problems::{Gone, Refused};

#[utoipa::path(
    get,
    path = "/v1/entities",
    operation_id = "list_entities",
    tag = "entities",
    summary = "Entities, oldest first",
    params(PageParams, WaitParams, EntityParams),
    responses((status = 200, description = "A page", body = ListReply<EntityView<'static>>), Refused, Gone),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    mut params: Params,
) -> Result<HttpResponse, Problem> {
    wait_for(&app, &mut params).await?;
    let size = params.page_size()?;
    let token = params.text("page_token")?;
    let filter = filter(&caller, &mut params)?;
    params.finish()?;
    let page = app.engine.views().entities(&filter, size, token.as_deref()).await;
    let page = page.map_err(QueryError::from)?;
    let items: Vec<_> = page.items.iter().map(|row| EntityView::from(&row.entity)).collect();
    Ok(page_response(items, page.next, page.as_of))
}

fn filter(caller: &Caller, params: &mut Params) -> Result<EntityFilter, Problem> {
    Ok(EntityFilter {
        namespaces: caller.visible(params.text("namespace")?),
        kind: params.text("kind")?.map(KindName),
        name: params.text("name")?.map(EntityName),
        backend: params.text("backend")?.map(BackendName),
        state: params.text("state")?.as_deref().map(state).transpose()?,
        drifted: params.value("drifted")?,
        selector: selector(params)?,
    })
}

/// The conjunction of all `label` (exact value of one label) and `selector` (kubectl's grammar) parameters; each may be
/// given several times.
fn selector(params: &mut Params) -> Result<Selector, Problem> {
    let mut all = Selector::default();
    for label in params.all("label") {
        let bad = || Problem::malformed("bad-parameter", "label is KEY=VALUE");
        let (key, value) = label.split_once('=').ok_or_else(bad)?;
        all.requirements.push(Requirement::equal(key, value));
    }
    for text in params.all("selector") {
        let bad = |error| Problem::malformed("bad-selector", format!("selector: {error}"));
        all.requirements.append(&mut text.parse::<Selector>().map_err(bad)?.requirements);
    }
    if all.requirements.len() > REQUIREMENTS_MAX {
        let detail = format!("more than {REQUIREMENTS_MAX} labels are asked for");
        return Err(Problem::malformed("bad-parameter", detail));
    }
    Ok(all)
}

fn state(name: &str) -> Result<State, Problem> {
    State::ALL.into_iter().find(|state| state.name() == name).ok_or_else(|| {
        let names: Vec<_> = State::ALL.iter().map(|state| state.name()).collect();
        Problem::malformed("bad-parameter", format!("state is one of {}", names.join(", ")))
    })
}
