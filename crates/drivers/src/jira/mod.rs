//! JIRA: the client of its REST API, Cloud (v3) and Data Center (v2), and its stateful fake.
//!
//! - Searches and reads lag behind writes: a read of before a write of ours is no observation, see `client::recent_writes`.
//! - A 404 proves absence only while JIRA knows the account and shows the project, see `client::absence`.
//!
//! [`fake`] is a stateful JIRA, against which clients are tested without an account.

mod client;
pub mod fake;
mod site;

/// Name of the driver in a backend's configuration.
pub const NAME: &str = "jira";
