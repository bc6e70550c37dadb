//! The verbs.

mod fake_world;
mod serve;

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Run a world for the fake driver, as a process of its own that counts what is made in it
    FakeWorld(fake_world::FakeWorld),
}

impl Command {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Serve(serve) => serve.run().await,
            Self::FakeWorld(world) => world.run().await,
        }
    }
}
