//! Rules of the storage ports that need no database, used by every adapter: an adapter adds its statements.
//!
//! - `chain`: what an append becomes in the log, and what refuses it

pub(crate) mod chain;
