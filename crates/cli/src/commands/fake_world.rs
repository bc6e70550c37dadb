//! `stateward fake-world`.

use std::net::SocketAddr;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;

use crate::presentation::terminal;

#[derive(Args)]
#[command(after_help = "Example:\n  stateward fake-world --listen 127.0.0.1:8421")]
pub(crate) struct FakeWorld {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8421")]
    listen: SocketAddr,
}

impl FakeWorld {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let listen = self.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        terminal::print(&format!("http://{}", listener.local_addr()?))?;
        let interrupted = async {
            // Without a signal handler only a kill ends it.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        stateward_drivers::fake::serve_world(listener, interrupted).await.context("the world broke")
    }
}
