//! Assembles store, drivers, engine and REST interface, runs them, and shuts them down in order.

use std::fs::DirBuilder;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::SecretString;
use stateward_api::{AppState, LimitSettings, Server, Tls};
use stateward_domain::ports::cluster::Role;
use stateward_domain::time::LogClock;
use stateward_engine::clock::ClockAndIds;
use stateward_engine::membership::NodeDescription;
use stateward_engine::process_manager::lease::LeaseTimes;
use stateward_engine::service::Options;
use stateward_engine::{Engine, Parts};
use stateward_store::{Broken, Opened, StoreLifetime};
use tokio::task::JoinHandle;

use crate::clock::SystemClock;
use crate::server::abort::abort;
use crate::server::administrator;
use crate::server::background_runtime::BackgroundRuntime;
use crate::server::config::{Config, ConfigSource};
use crate::server::configuration_source::FileConfiguration;
use crate::server::discovery::reachable;
use crate::server::file_descriptors;
use crate::server::telemetry;

/// How long running rounds may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(6);

/// A running server.
pub(crate) struct RunningServer {
    /// The address that it listens on.
    pub(crate) url: String,
    /// The address at which this machine reaches it.
    pub(crate) own_url: String,
    /// `None` = it does not encrypt.
    pub(crate) tls: Option<Tls>,
    /// The first administrator's token, or another one that this process alone accepts as such.
    pub(crate) token: SecretString,
    /// The data directory.
    pub(crate) directory: PathBuf,
    pub(crate) engine: Engine,
    store: Box<dyn StoreLifetime>,
    rounds: JoinHandle<()>,
    background: BackgroundRuntime,
    http: JoinHandle<std::io::Result<()>>,
    stop_http: tokio::sync::oneshot::Sender<()>,
}

/// Starts a server. `source` is where `config` was read from, for reloads; `observe_only` = no backend is changed.
///
/// # Errors
/// One line with the obstacle; nothing was started then.
pub(crate) async fn start(
    config: &Config,
    source: ConfigSource,
    data: &Path,
    role: Role,
    observe_only: bool,
) -> anyhow::Result<RunningServer> {
    let listen = config.server.listen;
    let tls = match (&config.server.tls_cert, &config.server.tls_key) {
        (Some(chain), Some(key)) => Some(Tls::load(chain, key).context("cannot encrypt")?),
        _ => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let connections_max = config.server.connections_max.min(file_descriptors::for_connections());
    let server = Server { tls: tls.clone(), connections_max, ..Server::default() };
    let listener =
        TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let node = format!("{}:{}", machine_name(), address.port());
    let location = config.location(data, &node)?;
    anyhow::ensure!(
        role == Role::All || location.directory().is_none(),
        "the embedded store knows role `all` only"
    );
    let directory = location.directory().unwrap_or(data).to_owned();
    if location.directory().is_none() {
        private_directory(&directory)?;
    }
    let background = BackgroundRuntime::start()?;
    let clock = LogClock::from(Arc::new(SystemClock));
    let store = stateward_store::open(&location, clock.clone(), &background).await?;
    let log = Arc::clone(&store.ports.log);
    let files = FileConfiguration::new(source, &directory);
    let node = NodeDescription { name: node, role, version: env!("CARGO_PKG_VERSION").to_owned() };
    let engine = engine(config, files, &store, (clock, node), observe_only)?;
    engine.begin(store.life).await.context("cannot begin")?;
    let (token, admin) = administrator::of(config, &directory, &engine).await?;
    let head_at_start = log.head().await?;
    let app = AppState::new(stateward_api::AppParts {
        engine: engine.clone(),
        admin,
        head_at_start,
        limits: LimitSettings {
            rate_per_token: config.server.rate_per_token,
            in_flight_max: config.server.in_flight_max,
            waiting_max: config.server.waiting_max,
        },
        histograms: telemetry::histograms()?,
    });
    let (stop_http, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async move {
        // Dropping the sender stops the server as well.
        let _ = stopped.await;
    };
    let http = tokio::spawn(stateward_api::serve(app, listener, server, shutdown));
    let rounds = background.spawn({
        let engine = engine.clone();
        async move { engine.run().await }
    });
    Ok(RunningServer {
        url: format!("{scheme}://{address}"),
        own_url: format!("{scheme}://{}", reachable(address)),
        tls,
        token,
        directory,
        engine,
        store: store.lifetime,
        rounds,
        background,
        http,
        stop_http,
    })
}

/// Name of this machine.
fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Creates the directory for the files of a process whose store is on a server; one that is there stays as it is.
fn private_directory(directory: &Path) -> anyhow::Result<()> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    created.with_context(|| format!("cannot create {}", directory.display()))
}

fn engine(
    config: &Config,
    files: FileConfiguration,
    store: &Opened,
    (clock, node): (LogClock, NodeDescription),
    observe_only: bool,
) -> anyhow::Result<Engine> {
    let configuration = files.configuration(config)?;
    let parts = Parts {
        store: store.ports.clone(),
        kinds: stateward_drivers::kinds(),
        configuration,
        source: Arc::new(files),
        clock: ClockAndIds { log_clock: clock },
        node,
        options: Options {
            lease_times: LeaseTimes {
                duration: config.workers.lease,
                margin: config.workers.lease_margin,
            },
            sweep_interval: config.workers.sweep_interval,
            observe_only,
        },
    };
    Ok(Engine::new(parts)?)
}

impl RunningServer {
    /// Resolves once the projections have applied everything up to the head of the log, and this process knows who may
    /// come in.
    pub(crate) async fn ready(&self) {
        let head = self.engine.log().head().await.unwrap_or_default();
        while !self.engine.caught_up(head, Duration::from_secs(5)).await {
            tracing::info!("replaying the log");
        }
        self.engine.membership().until_current().await;
    }

    /// Resolves when the store is broken and the process has to end.
    pub(crate) async fn broken(&self) -> Broken {
        self.store.broken().await
    }

    /// Resolves when this process may not work on the store any more, and has to end.
    pub(crate) async fn barred(&self) -> String {
        self.engine.membership().barred().await
    }

    /// Shuts down in order: HTTP server, rounds, then the files.
    ///
    /// # Errors
    /// When the HTTP server failed.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        // An error means that the HTTP server has ended already; its result is checked below.
        let _ = self.stop_http.send(());
        self.engine.stop();
        if tokio::time::timeout(DRAIN, self.rounds).await.is_err() {
            tracing::warn!("rounds did not end in time; the next start carries them on");
        }
        self.http.await.context("the server panicked")?.context("the server broke")?;
        if let Err(moved) = self.store.in_place() {
            abort(&anyhow::anyhow!("{moved}"));
        }
        self.store.close().await;
        drop(self.background);
        Ok(())
    }
}
