//! Deaths: at every crash point, at random, and half-deaths.
