//! The engine: commands in, synced entities out.
//!
//! `commands` decides and appends; `runner` delivers the log to projections; `executor` is the projection that
//! keeps the sync queue; `process_manager` leases queued entities and runs rounds against `backends`.
//!
//! **Architecture invariant:** the engine knows neither SQL nor HTTP. It reaches the outside through the ports of
//! `stateward-domain`, and everything that must survive is in the log before it counts.

pub mod entities;
pub mod error;
pub mod kinds;
pub mod sources;

pub use error::Error;
