//! `stateward bench`, and the echo server that it compares with.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use stateward_api::Server;

use crate::bench::peer::PeerPlan;
use crate::bench::stores::StoresPlan;
use crate::bench::{self, BenchPlan};
use crate::presentation::terminal;

/// Default folder for data: beside the build's output, which is on a disk and not in memory.
const FOLDER: &str = "./target/bench";
/// Bounds of `--scale`: the small server has a hundredth of the entities, and a page of it has to be full.
const SCALE_MIN: u64 = 500;
const SCALE_MAX: u64 = 10_000_000;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward bench --quick\n  stateward bench --json figures.json --check\n  \
    stateward bench --scale 100000\n  \
    stateward bench --store postgres://me@localhost/ours\n  \
    stateward bench --store postgres://me@localhost/ours --peer-store postgres://me@localhost/theirs --peer ./stock-peer"
)]
pub(crate) struct Bench {
    /// Measure less of everything: in less than 25 s rather than 90 s
    #[arg(long)]
    quick: bool,
    /// Write the figures as JSON, too; `-` writes them to standard output in place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64], value_parser = connections)]
    connections: Vec<usize>,
    /// Seconds of each measurement that goes by time [default: 3; quick: 1]
    #[arg(long)]
    seconds: Option<f64>,
    /// Entities that are to converge [default: 10000; quick: 1000]
    #[arg(long)]
    entities: Option<u64>,
    /// Where to keep data meanwhile; it decides which disk is measured [default: ./target/bench, else TMPDIR]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Measure only what lists, metrics, starts and stops cost with so many entities, against a hundredth of them
    #[arg(long, value_name = "ENTITIES", conflicts_with_all = ["quick", "connections", "seconds", "entities"])]
    scale: Option<u64>,
    /// Measure one node and three on PostgreSQL, in the database at this URL, beside the embedded store
    #[arg(long, value_name = "URL", conflicts_with_all = ["connections", "entities", "scale"])]
    store: Option<String>,
    /// Measure only durable creates on PostgreSQL, beside this program, the stock peer (tests/interop/stock-peer)
    #[arg(long, value_name = "FILE", requires_all = ["store", "peer_store"], conflicts_with = "check")]
    peer: Option<PathBuf>,
    /// Database of the stock peer
    #[arg(long, value_name = "URL", requires = "peer")]
    peer_store: Option<String>,
    /// Exit with 1 when a target is missed
    #[arg(long)]
    check: bool,
}

/// Parses a number of connections: up to what a server accepts with default settings.
fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1_024).contains(number));
    number.ok_or_else(|| "is no number from 1 to 1024".to_owned())
}

impl Bench {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        if let Some(entities) = self.scale {
            anyhow::ensure!(
                (SCALE_MIN..=SCALE_MAX).contains(&entities),
                "--scale is from {SCALE_MIN} to {SCALE_MAX}"
            );
            let report = bench::scale::run(&self.folder(), entities).await?;
            self.print(&report)?;
            return self.check_targets(report.missed());
        }
        if let Some(store) = self.store.clone() {
            return self.on_postgres(store).await;
        }
        let report = bench::run(&self.plan()?).await?;
        self.print(&report)?;
        self.check_targets(&report.missed())
    }

    async fn on_postgres(&self, store: String) -> anyhow::Result<()> {
        let (folder, time) = (self.folder(), self.time()?);
        if let (Some(peer_store), Some(peer)) = (self.peer_store.clone(), self.peer.clone()) {
            let plan = PeerPlan { folder, store, peer_store, peer, time };
            return self.print(&bench::peer::run(&plan).await?);
        }
        let report = bench::stores::run(&StoresPlan { folder, store, time }).await?;
        self.print(&report)?;
        self.check_targets(&report.missed())
    }

    fn check_targets(&self, missed: &[impl AsRef<str>]) -> anyhow::Result<()> {
        let missed: Vec<_> = missed.iter().map(AsRef::as_ref).collect();
        anyhow::ensure!(!self.check || missed.is_empty(), "missed: {}", missed.join("; "));
        Ok(())
    }

    fn plan(&self) -> anyhow::Result<BenchPlan> {
        let (entities, events) = if self.quick { (1_000, 30_000) } else { (10_000, 300_000) };
        let time = self.time()?;
        let entities = self.entities.unwrap_or(entities);
        anyhow::ensure!((1..=1_000_000).contains(&entities), "--entities is from 1 to 1000000");
        let connections = self.connections.clone();
        Ok(BenchPlan { folder: self.folder(), connections, time, entities, events })
    }

    fn time(&self) -> anyhow::Result<Duration> {
        let seconds = self.seconds.unwrap_or(if self.quick { 1.0 } else { 3.0 });
        anyhow::ensure!((0.05..=20.0).contains(&seconds), "--seconds is from 0.05 to 20");
        Ok(Duration::from_secs_f64(seconds))
    }

    fn folder(&self) -> PathBuf {
        let built = || std::path::Path::new("./target").is_dir().then(|| FOLDER.into());
        self.dir.clone().or_else(built).unwrap_or_else(std::env::temp_dir)
    }

    fn print(&self, report: &(impl Serialize + Display)) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(report).context("figures are JSON")?;
        match &self.json {
            Some(file) if file.as_os_str() == "-" => terminal::print(&json)?,
            Some(file) => {
                std::fs::write(file, json + "\n")
                    .with_context(|| format!("cannot write {}", file.display()))?;
                terminal::print(&report.to_string())?;
            }
            None => terminal::print(&format!("{report}\n{json}"))?,
        }
        Ok(())
    }
}

#[derive(Args)]
#[command(after_help = "Example:\n  stateward bench-echo")]
pub(crate) struct Echo {}

impl Echo {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
        terminal::print(&format!("http://{}", listener.local_addr()?))?;
        stateward_api::serve_echo(listener, Server::default().workers)
            .await
            .context("the echo broke")
    }
}
