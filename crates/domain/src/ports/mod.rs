//! What the engine needs from the outside, as object-safe traits that adapters implement.

pub mod audit;
pub mod cluster;
pub mod driver;
pub mod event_store;
pub mod health;
pub mod member_report;
pub mod projection;
pub mod read_model;
pub mod store_error;
pub mod store_ports;
pub mod sync_queue;
