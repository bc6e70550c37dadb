//! Watches of the log: each event is read and rendered once for all watchers.
//!
//! A watcher first reads the events that it missed from the log, then those that the hub publishes. One that is too
//! slow gets a reconnect event: it comes back with its last position, and nothing is lost. It never slows the others or
//! the log. Watchers with equal filters are sent the same bytes.

mod batch;
mod filter;
pub(crate) mod hub;
mod watcher;

pub(crate) use filter::Filter;
pub(crate) use watcher::watch;
