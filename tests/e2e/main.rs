//! The real binary, from outside: its files, its interface, its deaths.
//!
//! Every server listens on a port of its own and keeps its data in a temporary folder of its own.

mod errors;
mod harness;
mod kill;
mod slice;
mod startup;
