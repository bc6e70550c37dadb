//! Projections: consumers of the whole log, each with a checkpoint of its own.

mod dependent_cache;
pub mod executor;
pub mod runner;
mod triggers;
