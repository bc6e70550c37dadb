//! Audits: sound logs have no faults, and every kind of damage is found and named.
//!
//! - `chains`: the checker alone, over generated streams; `healthy`: random histories in a real store
//! - `bit_flips`: one changed bit; `derived_tables`: rows that follow from the log; `checkpoints`: what only a
//!   checkpoint shows
//! - `copies`: export, import, backup, restore; `fixture`: a store to audit

mod bit_flips;
mod chains;
mod checkpoints;
mod copies;
mod derived_tables;
pub(crate) mod fixture;
mod healthy;
