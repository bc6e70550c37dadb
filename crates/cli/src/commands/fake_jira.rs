//! `stateward fake-jira`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use stateward_drivers::jira::fake::{Deployment, FakeJira, Options, RateLimit};

use crate::presentation::terminal;

#[derive(Args)]
#[command(after_help = "\
Example:
  stateward fake-jira --listen 127.0.0.1:8422

The first line is the address of the site, the others are its users. Tests find what exists, the log of requests and
faults to come below /_fake/.")]
pub(crate) struct FakeJiraCommand {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8422")]
    listen: SocketAddr,
    /// Be Data Center instead of Cloud: API v2, wiki text, users by name
    #[arg(long)]
    data_center: bool,
    /// Path below which everything is served, such as /jira
    #[arg(long, default_value = "")]
    context_path: String,
    /// Milliseconds until a search sees a write
    #[arg(long, default_value_t = 3_000, value_name = "MS")]
    search_lag_ms: u64,
    /// Milliseconds until a read sees a write
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    read_lag_ms: u64,
    /// Requests per second that are allowed in the long run; without it, all are
    #[arg(long, value_name = "RATE")]
    rate: Option<f64>,
    /// Requests that are allowed at once, with --rate
    #[arg(long, default_value_t = 20, requires = "rate")]
    burst: u32,
}

impl FakeJiraCommand {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let listen = self.listen;
        let deployment = if self.data_center { Deployment::DataCenter } else { Deployment::Cloud };
        let burst = self.burst;
        let options = Options {
            deployment,
            context_path: self.context_path,
            search_lag: Duration::from_millis(self.search_lag_ms),
            read_lag: Duration::from_millis(self.read_lag_ms),
            rate_limit: self.rate.map(|per_second| RateLimit { per_second, burst }),
            ..Options::default()
        };
        let jira = FakeJira::start_at(listen, options)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        terminal::print(&introduction(&jira, deployment))?;
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a signal handler only a kill ends it.
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

fn introduction(jira: &FakeJira, deployment: Deployment) -> String {
    let users = jira.accounts().into_iter().map(|user| match deployment {
        Deployment::Cloud => {
            format!("user {}: e-mail {}, API token {}", user.account_id, user.email, user.token)
        }
        Deployment::DataCenter => {
            format!("user {}: personal access token {}", user.name, user.token)
        }
    });
    let mut lines = vec![jira.url().to_owned()];
    lines.extend(users);
    if deployment == Deployment::Cloud {
        let (id, secret) = jira.oauth_client();
        let gateway = jira.gateway_url();
        lines.push(format!("OAuth client {id}, secret {secret}, at {gateway}"));
    }
    lines.join("\n")
}
