//! The server of `stateward serve`: configuration, assembly, start and shutdown.
//!
//! `wiring` is the only place that assembles store, drivers, engine and REST interface. `config` reads the configuration,
//! `configuration_source` connects the drivers that it names, at the start and at each reload. `background_runtime` runs
//! projections and rounds at a lower priority. `discovery` and `admin_token` are the files by which the command line finds
//! a local server.

pub(crate) mod abort;
pub(crate) mod admin_token;
mod administrator;
pub(crate) mod background_runtime;
pub(crate) mod banner;
pub(crate) mod config;
pub(crate) mod configuration_source;
pub(crate) mod discovery;
mod file_descriptors;
pub(crate) mod telemetry;
pub(crate) mod wiring;
