//! The engine: commands in, synced entities out.
//!
//! `engine` is the facade; `commands` decides and appends; `runner` delivers the log to projections; `executor`
//! is the projection that keeps the sync queue; `process_manager` leases queued entities and runs rounds
//! against `backends`.
//!
//! **Architecture invariant:** the engine knows neither SQL nor HTTP. It reaches the outside through the ports of
//! `stateward-domain`, and everything that must survive is in the log before it counts.
#![warn(missing_docs)]

pub mod access;
pub mod backends;
pub mod commands;
pub mod configuration;
pub mod control;
pub mod engine;
pub mod entities;
pub mod error;
pub mod executor;
pub mod export;
mod fields;
pub mod kinds;
pub mod names;
pub mod process_manager;
pub mod requests;
pub mod runner;
pub mod secrets;
pub mod sources;
mod stand_ins;
pub mod waiters;

pub use engine::{Engine, Parts};
pub use error::Error;
