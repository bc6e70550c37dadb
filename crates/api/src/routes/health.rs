//! `/livez` and `/readyz`: probes, which need no token.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use stateward_domain::access::Role;
use stateward_domain::ports::cluster;
use stateward_engine::service::BackendStatus;

use super::resource;
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::server_proof;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/livez", &[Method::GET]).route(web::get().to(livez)))
        .service(resource("/readyz", &[Method::GET]).route(web::get().to(readyz)));
}

#[derive(Serialize, utoipa::ToSchema)]
struct Check {
    name: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Readiness {
    ready: bool,
    observe_only: bool,
    checks: Vec<Check>,
}

#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "livez",
    tag = "probes",
    summary = "Whether the process lives",
    security(()),
    params(("Stateward-Challenge" = Option<String>, Header, description = "32 random bytes in hexadecimal: the answer's `Stateward-Proof` shows that this server knows the first administrator's token")),
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")),
)]
pub(crate) async fn livez(app: web::Data<AppState>, request: HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    let challenge =
        request.headers().get(server_proof::CHALLENGE).and_then(|text| text.to_str().ok());
    if let Some(challenge) = challenge.filter(|text| server_proof::is_challenge(text)) {
        response.insert_header((server_proof::PROOF, app.admin.proof(challenge)));
    }
    response.content_type("text/plain; charset=utf-8").body("ok\n")
}

/// How long the store may take to say how far the projections are.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// A wall clock that lags more than this is reported; it delays nothing.
const SKEW_MAX: Duration = Duration::from_secs(1);
/// Characters of a name that another program may have chosen.
const NAME_MAX: usize = 100;

fn clock(skew: Duration) -> Check {
    let ok = skew < SKEW_MAX;
    let seconds = skew.as_secs();
    let detail = format!("the wall clock is {seconds} s behind the newest time in the log");
    Check { name: "clock".to_owned(), ok, detail: (!ok).then_some(detail) }
}

fn queue(app: &AppState) -> Check {
    let without_work = |status: &BackendStatus| {
        status.backend.queue_fault().map(|_| status.backend.name().to_string())
    };
    let faults: Vec<_> = app.engine.backend_statuses().iter().filter_map(without_work).collect();
    let detail = (!faults.is_empty()).then(|| format!("no work comes for: {}", faults.join(", ")));
    Check { name: "queue".to_owned(), ok: faults.is_empty(), detail }
}

/// Whether this process knows what the others did, and whether all have configured the same backends alike; `None` = no
/// other process can share the store.
fn nodes(app: &AppState) -> Option<Check> {
    let membership = app.engine.membership();
    if !membership.is_shared() {
        return None;
    }
    if !membership.is_current() {
        let detail = "what other nodes did is not known here: issued tokens are refused";
        return Some(Check {
            name: "nodes".to_owned(),
            ok: false,
            detail: Some(detail.to_owned()),
        });
    }
    if membership.members().iter().all(|member| member.role == cluster::Role::Api) {
        let detail = "no live node runs projections and rounds: what is asked for is not done";
        return Some(Check {
            name: "nodes".to_owned(),
            ok: false,
            detail: Some(detail.to_owned()),
        });
    }
    let differing: Vec<_> =
        app.engine.differing_backends().iter().map(ToString::to_string).collect();
    let names = differing.join(", ");
    let detail = (!differing.is_empty()).then(|| format!("configured differently: {names}"));
    Some(Check { name: "nodes".to_owned(), ok: differing.is_empty(), detail })
}

/// Why a projection is stopped. Of an event that this version does not know, stream and type are named: a newer version
/// or another program wrote it, and the service waits for a person.
fn stop(unknown: Option<(String, String)>) -> String {
    let Some((stream, event_type)) = unknown else {
        return "stopped: /v1/projections says why".to_owned();
    };
    // Another program may have put any text there.
    let short = |text: String| text.chars().take(NAME_MAX).collect::<String>();
    let (stream, event_type) = (short(stream), short(event_type));
    format!(
        "stopped: {stream} has an event that is unknown here, {event_type}; /v1/projections says more"
    )
}

/// Ready once every projection reached the head that the log had at the start, while the store can serve. Backends that are closed,
/// streams that were set aside and a wall clock that was set back are shown, but do not make the service unready: the rest of it works.
/// What the store says of itself (hosts, processes, times) is shown to global operators only.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "probes",
    summary = "Whether every read model is where the log was at the start, and what is wrong; to a global operator also what the store says of itself",
    security((), ("token" = [])),
    responses((status = 200, description = "Ready", body = Readiness), (status = 503, description = "Not yet", body = Readiness)),
)]
pub(crate) async fn readyz(app: web::Data<AppState>, caller: Option<Caller>) -> HttpResponse {
    let operates = caller.is_some_and(|caller| caller.require_global(Role::Operator).is_ok());
    let mut checks = Vec::new();
    let mut ready = true;
    // Without a token, a class of fault and no text of the store: that stands in `/v1/projections` and in the log.
    let projections = tokio::time::timeout(ANSWER_MAX, app.engine.projections()).await;
    if projections.is_err() {
        ready = false;
        let detail = Some("the store does not answer".to_owned());
        checks.push(Check { name: "projection".to_owned(), ok: false, detail });
    }
    for status in projections.unwrap_or_default() {
        let reached = status.progress.position.includes(app.head_at_start);
        let ok = reached && status.progress.stopped.is_none();
        ready &= ok;
        let detail = match (status.progress.stopped, status.quarantined.len()) {
            (Some(stopped), _) => Some(stop(stopped.unknown)),
            (None, 0) if !reached => Some("replaying".to_owned()),
            (None, 0) => None,
            (None, count) => Some(format!("{count} stream(s) set aside")),
        };
        checks.push(Check { name: format!("projection/{}", status.name), ok, detail });
    }
    // A node that answers requests only never speaks to a backend.
    let works = app.engine.membership().role() != cluster::Role::Api;
    for status in app.engine.backend_statuses().into_iter().filter(|_| works) {
        let detail =
            status.unavailable.as_ref().and_then(|closed| serde_json::to_string(closed).ok());
        let name = format!("backend/{}", status.backend.name());
        checks.push(Check { name, ok: status.unavailable.is_none(), detail });
    }
    checks.push(queue(&app));
    for fact in app.engine.store_health().await {
        ready &= fact.ok || !fact.serious;
        let detail = fact.detail.filter(|_| operates);
        checks.push(Check { name: fact.name.to_owned(), ok: fact.ok, detail });
    }
    ready &= app.engine.membership().is_current();
    checks.extend(nodes(&app));
    checks.push(clock(app.engine.clock().moment().skew()));
    let observe_only = app.engine.is_observe_only();
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(Readiness { ready, observe_only, checks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_names_stream_and_type_of_an_unknown_event_and_nothing_else() {
        assert_eq!(stop(None), "stopped: /v1/projections says why");
        let unknown = ("account/a".to_owned(), "Opened".repeat(1_000));
        let said = stop(Some(unknown));
        assert!(
            said.starts_with("stopped: account/a has an event that is unknown here, OpenedOpened"),
            "{said}"
        );
        assert!(said.len() < 300, "{said}");
    }
}
