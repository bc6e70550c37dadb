//! `/metrics`: gauges are computed for each request, histograms are recorded as events happen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use stateward_domain::ports::cluster::Role;
use stateward_engine::backends::availability::Unavailable;

use super::resource;
use crate::app_state::AppState;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/metrics", &[Method::GET]).route(web::get().to(metrics)));
}

/// A gauge: formatted labels and their values. Names in labels contain no quotes; configuration and drivers ensure
/// that.
type Gauge = BTreeMap<String, f64>;

#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "probes",
    summary = "Metrics for Prometheus",
    security(()),
    responses((status = 200, description = "Text format 0.0.4", body = String, content_type = "text/plain")),
)]
pub(crate) async fn metrics(app: web::Data<AppState>) -> HttpResponse {
    let mut text = String::new();
    entities(&app, &mut text).await;
    backends(&app, &mut text).await;
    projections(&app, &mut text).await;
    store(&app, &mut text).await;
    let skew = app.engine.clock().moment().skew().as_secs_f64();
    write(&mut text, "stateward_clock_skew_seconds", &Gauge::from([(String::new(), skew)]));
    text.push_str(&(app.histograms)());
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text)
}

async fn entities(app: &AppState, text: &mut String) {
    let (mut all, mut blocked, mut dead) = (Gauge::new(), Gauge::new(), 0.0);
    for count in app.engine.views().counts().await.unwrap_or_default() {
        let (backend, kind, state) = (&count.backend, &count.kind, count.state.name());
        let number = as_number(count.count);
        let labels = format!("backend=\"{backend}\",kind=\"{kind}\",state=\"{state}\"");
        *all.entry(labels).or_default() += number;
        if let Some(reason) = &count.blocked {
            *blocked.entry(format!("backend=\"{backend}\",reason=\"{reason}\"")).or_default() +=
                number;
        }
        if count.dead {
            dead += number;
        }
    }
    write(text, "stateward_entities", &all);
    write(text, "stateward_blocked", &blocked);
    write(text, "stateward_dead_letters", &Gauge::from([(String::new(), dead)]));
}

async fn backends(app: &AppState, text: &mut String) {
    let (mut open, mut due, mut unknown) = (Gauge::new(), Gauge::new(), Gauge::new());
    for status in app.engine.backend_statuses() {
        let labels = format!("backend=\"{}\"", status.backend.name());
        let breaker = matches!(status.unavailable, Some(Unavailable::BreakerOpen));
        open.insert(labels.clone(), f64::from(u8::from(breaker)));
        let objects = status.backend.unknown_objects.load(Ordering::Relaxed);
        unknown.insert(labels.clone(), as_number(objects));
        due.insert(labels, 0.0);
    }
    for (backend, since) in app.engine.oldest_due().await.unwrap_or_default() {
        due.insert(format!("backend=\"{backend}\""), since.as_secs_f64());
    }
    write(text, "stateward_breaker_open", &open);
    write(text, "stateward_oldest_due_seconds", &due);
    write(text, "stateward_unknown_objects", &unknown);
}

async fn projections(app: &AppState, text: &mut String) {
    let (mut events, mut seconds) = (Gauge::new(), Gauge::new());
    let head = app.engine.log().head().await.unwrap_or_default();
    let now = app.engine.clock().now();
    for status in app.engine.projections().await {
        let labels = format!("name=\"{}\"", status.name);
        let Some(lag) = app.engine.store_lag(status.progress.position, head).await else {
            continue;
        };
        // Only a projection that is behind lags: without new events, the last one grows old by itself.
        let last = lag.since.or(status.progress.recorded_at).filter(|_| lag.events > 0);
        events.insert(labels.clone(), as_number(lag.events));
        seconds.insert(labels, last.map_or(0.0, |last| now.since(last).as_secs_f64()));
    }
    write(text, "stateward_projection_lag_events", &events);
    write(text, "stateward_projection_lag_seconds", &seconds);
}

/// The store, and the live processes that share it.
async fn store(app: &AppState, text: &mut String) {
    let up = app.engine.store_health().await.iter().all(|check| check.ok || !check.serious);
    let held_back = app.engine.log_held_back().as_secs_f64();
    let mut nodes = Gauge::new();
    for member in app.engine.membership().members() {
        let role = match member.role {
            Role::All => "all",
            Role::Api => "api",
            Role::Worker => "worker",
        };
        *nodes.entry(format!("role=\"{role}\"")).or_default() += 1.0;
    }
    let single = |value| Gauge::from([(String::new(), value)]);
    write(text, "stateward_store_up", &single(f64::from(u8::from(up))));
    write(text, "stateward_log_held_back_seconds", &single(held_back));
    write(text, "stateward_nodes", &nodes);
    if let Some(counters) = app.engine.store_counters() {
        let (name, failovers) = ("stateward_append_batch_events", "stateward_failovers_total");
        // Writing to a `String` never fails.
        let _ = writeln!(text, "# TYPE {name} summary");
        let _ = writeln!(text, "{name}_sum {}", counters.batch_events);
        let _ = writeln!(text, "{name}_count {}", counters.batches);
        let _ = writeln!(text, "# TYPE {failovers} counter");
        let _ = writeln!(text, "{failovers} {}", counters.failovers);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^53")]
const fn as_number(count: u64) -> f64 {
    count as f64
}

fn write(text: &mut String, name: &str, gauge: &Gauge) {
    // Writing to a `String` never fails.
    let _ = writeln!(text, "# TYPE {name} gauge");
    for (labels, value) in gauge {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}
