//! Watching the log: each event is read and rendered once, however many watch.
//!
//! A watcher first reads what it missed from the log, then takes what the hub handed out last. One that is too slow for
//! that is told to reconnect: it comes back with the last position it saw, and nothing is lost. It never slows the
//! others or the log. Watchers who want the same are sent the same bytes.

mod batch;
mod filter;
pub(crate) mod hub;
mod watcher;

pub(crate) use filter::Filter;
pub(crate) use watcher::watch;
