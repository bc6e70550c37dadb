//! The test harness: servers, a world that outlives them, a client, and polling with a deadline.

mod client;
mod connection;
mod database;
mod nodes;
mod server;
mod world;

use std::future::Future;
use std::time::{Duration, Instant};

pub(crate) use client::{Client, Lost, Reply, condition, http, reason, text, thing};
pub(crate) use connection::Connection;
pub(crate) use database::Database;
pub(crate) use nodes::next_of;
pub(crate) use server::{Server, Setup, refused};
pub(crate) use world::World;

/// Deadline of every wait.
pub(crate) const WAIT_MAX: Duration = Duration::from_mins(1);

/// Polls until `poll` returns a value.
///
/// # Panics
/// After [`WAIT_MAX`], with `what`.
pub(crate) async fn until<T, F>(what: &str, mut poll: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(started.elapsed() < WAIT_MAX, "not within {WAIT_MAX:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
