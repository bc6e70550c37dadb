//! `stateward serve`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use secrecy::ExposeSecret;
use stateward_api::Tls;
use stateward_domain::envelope::Envelope;
use stateward_domain::id::{Namespace, Version};
use stateward_domain::ports::cluster;
use stateward_engine::Engine;
use stateward_engine::backends::BackendChange;
use stateward_engine::service::{FailedReload, HANGUP};
use stateward_store::Broken;
use tokio::signal::unix::{SignalKind, signal};

use crate::client::{ApplyOptions, Client, ServerConnection, apply_manifest};
use crate::manifests::{self, Document};
use crate::select::DEFAULT_NAMESPACE;
use crate::server::abort::abort;
use crate::server::admin_token;
use crate::server::banner;
use crate::server::config::{self, Config, ConfigSource};
use crate::server::discovery;
use crate::server::telemetry;
use crate::server::wiring::{self, RunningServer};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward serve\n  stateward serve --config stateward.toml --apply manifests/"
)]
pub(crate) struct Serve {
    /// Configuration file (TOML); a pipe is read once
    #[arg(long)]
    config: Option<PathBuf>,
    /// Directory of the embedded store; with a database, of this node's own files
    #[arg(long, default_value = "./data")]
    data: PathBuf,
    /// Address to listen on [default: 127.0.0.1:8420]
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Apply the manifests of this file, pipe or folder once ready
    #[arg(long, value_name = "PATH")]
    apply: Option<PathBuf>,
    /// What this process does, of those that share a database
    #[arg(long, value_enum, default_value_t = Role::All)]
    role: Role,
    /// Write logs as JSON, a line each
    #[arg(long)]
    log_json: bool,
    /// Only look: change nothing on any backend
    #[arg(long)]
    observe_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Answer requests and work
    All,
    /// Answer requests
    Api,
    /// Work
    Worker,
}

impl From<Role> for cluster::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::All => Self::All,
            Role::Api => Self::Api,
            Role::Worker => Self::Worker,
        }
    }
}

impl Serve {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let _logs = telemetry::logs(self.log_json);
        for name in config::unknown_variables() {
            tracing::warn!(
                name,
                "this variable configures nothing: a section and its key are separated by two underscores"
            );
        }
        let source = ConfigSource::open(self.config.as_deref())?.with_listen(self.listen);
        let config = Config::load(&source)?;
        // Before signals are handled: a pipe without a writer blocks here, and a signal still ends the process.
        let manifests = self
            .apply
            .as_ref()
            .map(|path| manifests::read_all(std::slice::from_ref(path), DEFAULT_NAMESPACE));
        let manifests = manifests.transpose()?;
        let mut terminated = signal(SignalKind::terminate()).context("no signal handler")?;
        let mut interrupted = signal(SignalKind::interrupt()).context("no signal handler")?;
        let running =
            wiring::start(&config, source, &self.data, self.role.into(), self.observe_only).await?;
        let served = tokio::select! {
            _ = terminated.recv() => Ok(()),
            _ = interrupted.recv() => Ok(()),
            broken = running.broken() => {
                let error = anyhow::anyhow!("{broken}");
                match broken {
                    // The files are not closed either: their names may lead to another process's files by now.
                    Broken::Moved(_) => abort(&error),
                    Broken::Unwritable(_) => Err(error),
                }
            }
            why = running.barred() => Err(anyhow::anyhow!("{why}")),
            never = reload_on_hangup(&running) => match never {},
            outcome = welcome(&running, manifests.as_deref()) => match outcome {
                Err(error) => Err(error),
                Ok(never) => never,
            },
        };
        tracing::info!("ending");
        let stopped = running.stop().await;
        served.and(stopped)
    }
}

/// Reports that the server is ready and applies the manifests; then only a signal ends it.
async fn welcome(
    running: &RunningServer,
    manifests: Option<&[Document]>,
) -> anyhow::Result<anyhow::Result<()>> {
    running.ready().await;
    let url = running.url.clone();
    let _announced = discovery::announce(&running.directory, &running.own_url);
    tracing::info!(url, "ready");
    if let Some(documents) = manifests {
        let token = running.token.expose_secret();
        let certificate = running.tls.as_ref().map(Tls::certificate);
        let itself = ServerConnection::of_this_process(&running.own_url, token, certificate);
        let client = Client::new(itself, None)?;
        for document in documents {
            apply_manifest(&client, &document.value, ApplyOptions::default())
                .await
                .with_context(|| document.label())?;
        }
        banner::print(&url, &admin_token::path(&running.directory), documents.len());
    }
    std::future::pending().await
}

/// Reads certificate and configuration again at each SIGHUP. One that cannot be used leaves the earlier one in force.
async fn reload_on_hangup(running: &RunningServer) -> Infallible {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP is not listened to");
            return std::future::pending().await;
        }
    };
    loop {
        if hangups.recv().await.is_none() {
            return std::future::pending().await;
        }
        if let Some(Err(error)) = running.tls.as_ref().map(Tls::reload) {
            tracing::error!(%error, "the certificate stays as it is");
        }
        let envelope = Envelope::system(HANGUP, Namespace::default());
        match running.engine.reload(&envelope).await {
            Ok(reloaded) => {
                let new = reloaded
                    .backends
                    .iter()
                    .filter(|(_, change)| **change != BackendChange::Unchanged);
                let new: Vec<_> = new.map(|(name, change)| format!("{name} {change:?}")).collect();
                tracing::info!(changed = new.join(", "), "the configuration was read anew");
                report_failed(&running.engine, reloaded.version).await;
            }
            Err(error) => tracing::error!(%error, "the configuration stays as it is"),
        }
    }
}

/// Logs which other nodes are not done with the reload that is recorded at `version`.
async fn report_failed(engine: &Engine, version: Option<Version>) {
    let Some(version) = version else { return };
    match engine.failed_reloads(version).await {
        Ok(failed) => {
            for FailedReload { node, error } in failed {
                tracing::error!(node, error, "the configuration was not read anew by another node");
            }
        }
        Err(error) => tracing::warn!(%error, "it is not known whether other nodes reloaded"),
    }
}
