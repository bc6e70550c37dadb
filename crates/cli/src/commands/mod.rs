//! The verbs.

mod bench;
mod fake_world;
mod serve;

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Measure a server on this machine: requests, latency, convergence, replay
    Bench(bench::Bench),
    /// Answer with what was sent: what the benchmark compares with
    #[command(hide = true)]
    BenchEcho(bench::Echo),
    /// Run a world for the fake driver, as a process of its own that counts what is made in it
    FakeWorld(fake_world::FakeWorld),
}

impl Command {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Serve(serve) => serve.run().await,
            Self::Bench(bench) => bench.run().await,
            Self::BenchEcho(echo) => echo.run().await,
            Self::FakeWorld(world) => world.run().await,
        }
    }
}
