//! Killed and suspended processes: at every crash point, at random moments, and frozen for longer than a lease.

mod frozen;
mod life;
mod points;
mod random;
