//! The domain of Stateward: entities, their events, and the ports to everything outside.
//!
//! **Architecture invariant:** no I/O, no clock, no randomness. Time and ids come in as arguments, so every
//! decision can be replayed and every test is exact.
#![warn(missing_docs)]

pub mod access;
pub mod audit;
pub mod backend;
pub mod catalogue;
pub mod cloud_event;
mod control_event;
pub mod document;
pub mod entity;
pub mod envelope;
pub mod failure;
pub mod field_error;
pub mod id;
pub mod json_pointer;
pub mod kind;
pub mod ports;
pub mod selector;
mod skip_serializing;
pub mod system;
pub mod time;
