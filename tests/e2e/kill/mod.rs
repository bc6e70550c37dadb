//! Killed and suspended processes: at every crash point, at random moments, and frozen for longer than a lease.

mod failpoints;
mod frozen;
mod lifecycle;
mod random;
