//! What every driver promises, for every kind. A new driver adds a subject; it writes no test of its own for what
//! stands here.
#![expect(clippy::unwrap_used, reason = "tests stop at what they find")]

mod control;
mod lives;
mod local;
mod openstack;
mod points;
mod promises;
mod subject;
