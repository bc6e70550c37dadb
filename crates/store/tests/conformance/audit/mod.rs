//! Audits: healthy logs raise no alarm, and everything that is done to one is found and named.
//!
//! - `chains`: the checker alone, over made-up streams; `healthy`: random lives in a real store
//! - `flips`: one changed bit; `derived`: what follows from the log; `checkpoints`: what only a checkpoint shows
//! - `copies`: export, import, backup, restore

mod bit_flips;
mod chains;
mod checkpoints;
mod copies;
mod derived_tables;
pub(crate) mod fixture;
mod healthy;
