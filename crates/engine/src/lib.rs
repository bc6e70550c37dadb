//! The engine: commands in, synced entities out.
//!
//! - `service`: the facade, [`Engine`]; one file per noun of the API
//! - `admission`: checks of a request before a command decides on it
//! - `commands`: fold, decide, append; control streams; idempotency
//! - `projections`: `runner` delivers the log to projections; `executor` is the projection that keeps the sync queue
//! - `process_manager`: leases queued entities and runs rounds against backends
//! - `backends`: the registry of backends, their availability and their redacting drivers
//! - `membership`: this process among those that share the store: heartbeats, duties, shares of limits
//! - `follower`: brings into memory what any process recorded in the log
//! - `entity_repository`, `access`, `secrets`, `clock`, `waiters`, `error`: used by all of them
//!
//! **Architecture invariant:** the engine knows neither SQL nor HTTP. It reaches the outside through the ports of
//! `stateward-domain`, and everything that must survive is in the log before it takes effect.
#![warn(missing_docs)]

pub mod access;
pub mod admission;
pub mod backends;
pub mod clock;
pub mod commands;
pub mod entity_repository;
pub mod error;
mod follower;
pub mod membership;
pub mod process_manager;
pub mod projections;
pub mod secrets;
pub mod service;
#[cfg(test)]
mod stub_driver;
pub mod waiters;

pub use error::{AdmissionError, CommandError, ControlError, QueryError};
pub use service::{Engine, Parts};
