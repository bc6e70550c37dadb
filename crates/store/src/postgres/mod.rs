//! The store on PostgreSQL: any number of processes share one database.
//!
//! - `target`: the URL; `primary`: which of its hosts takes writes; `connect`: connections to it; `session`: one of them
//! - `schema`: migrations, and the check of every process that opens the log; `error`: classes of errors
//! - `log`: the event log
//!
//! **Architecture invariant:** every write that matters is one statement, so a frozen or unreachable process holds no
//! lock between round trips. Everything is read from the primary.

mod connect;
mod error;
mod log;
mod primary;
mod schema;
mod session;
mod target;

pub use connect::{Database, Limits};
pub use error::OpenError;
pub use log::Log;
pub use schema::{LogIdentity, migrate};
pub use target::{BadUrl, Target};
