//! Deaths: at every crash point, at random, and half-deaths.

mod frozen;
mod life;
mod points;
mod random;
