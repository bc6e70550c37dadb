//! The rate of durable creates, compared with an echo of the same bodies over as many connections.

use std::path::Path;
use std::time::Duration;

use super::load::{self, LoadEnd, Template};
use super::process_usage::{self, Process};
use super::report::CreateThroughput;
use super::{rate, report_progress};

/// The manifest that is created, and echoed.
const MANIFEST: &str = r#"{"kind": "fake.thing", "name": "{name}-{number}", "backend": "sandbox",
 "labels": {"team": "storage", "stage": "production"},
 "desired": {desired}}"#;
/// Its desired state.
pub(super) const DESIRED: &str = r#"{"size_gib": 20, "zone": "zone-1", "encrypted": true,
 "description": "a volume as people declare them", "tags": ["backup", "daily"]}"#;

/// Measures the echo, then creates, over so many connections. The creates go to an empty server, which processes them
/// meanwhile.
pub(super) async fn measure(
    folder: &Path,
    connections: usize,
    time: Duration,
) -> anyhow::Result<CreateThroughput> {
    report_progress(&format!("requests over {connections} connections"));
    let echo = Process::echo().await?;
    let template = Template::post("/", "", &manifest("volume"));
    let echoed =
        load::run(&[echo.address], connections, LoadEnd::After(time), &template, 200).await?;
    echo.kill().await?;

    let server = Process::serve(folder).await?;
    let template = create(folder, "volume", "")?;
    let cpu = server.cpu()?;
    let created =
        load::run(&[server.address], connections, LoadEnd::After(time), &template, 202).await?;
    let server_cpu = server.cpu()?.saturating_sub(cpu);
    server.kill().await?;
    std::fs::remove_dir_all(folder)?;

    let echo_rate = rate(echoed.requests, echoed.took);
    let create_rate = rate(created.requests, created.took);
    Ok(CreateThroughput {
        connections,
        echoes_per_second: echo_rate,
        echo_client_cpus: echoed.client_cpus,
        creates_per_second: create_rate,
        create_client_cpus: created.client_cpus,
        create_server_cpus: server_cpu.as_secs_f64() / created.took.as_secs_f64(),
        create_p50_ms: created.times.quantile(500).as_secs_f64() * 1e3,
        create_p99_ms: created.times.quantile(990).as_secs_f64() * 1e3,
        ratio: create_rate / echo_rate.max(f64::EPSILON),
    })
}

/// The request that creates an entity called `name` and a number; `headers` are further ones, each with its line end.
pub(super) fn create(folder: &Path, name: &str, headers: &str) -> anyhow::Result<Template> {
    Ok(create_as(&process_usage::token(folder)?, name, headers))
}

/// As [`create`], with this token.
pub(super) fn create_as(token: &str, name: &str, headers: &str) -> Template {
    let headers = format!("authorization: Bearer {token}\r\n{headers}");
    Template::post("/v1/entities", &headers, &manifest(name))
}

fn manifest(name: &str) -> String {
    MANIFEST.replace("{name}", name).replace("{desired}", DESIRED)
}
