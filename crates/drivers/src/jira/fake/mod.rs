//! A stateful fake JIRA: Cloud's REST API v3 (and v2) or Data Center's v2, over HTTP.
//!
//! Like JIRA it is slow to tell: a search sees a write only after some seconds, and a read after a second
//! ([`Options::search_lag`], [`Options::read_lag`]). It limits the writes to one issue, redirects the contents of
//! attachments to another host, does not store documents as they were sent, swallows repeated links, nulls what an
//! upsert of a remote link leaves out, keeps the keys of projects in the recycle bin, and answers 404 for what cannot
//! be seen.
//!
//! - `server`: sockets, and [`FakeJira`]; `state`: one request at a time; `operations`: what tests may do
//! - `routes`: the resources; `call`: a request and its reply; `render`, `render_issue`: JIRA's JSON
//! - `world`, `rows`, `table`: the objects and their versions; `site`, `field_catalog`: how the site is configured
//! - `field_changes`, `field_values`, `rich_text`, `multipart`: what requests hold; `jql`: searches
//! - `faults`, `control`, `limits`, `login`, `inventory`: what goes wrong, what is limited, and what tests see

mod call;
mod control;
mod faults;
mod field_catalog;
mod field_changes;
mod field_values;
mod inventory;
mod jql;
mod limits;
mod login;
mod multipart;
mod operations;
mod options;
mod render;
mod render_issue;
mod rich_text;
mod routes;
mod rows;
mod server;
mod site;
mod state;
mod table;
mod world;

pub use control::Control;
pub use faults::{Fault, FaultKind};
pub use inventory::{Account, Inventory, IssueEntry, OtherEntry, ProjectEntry};
pub use limits::Rates;
pub use options::{Deployment, Options, RateLimit, WriteLimit};
pub use server::FakeJira;
pub use state::LoggedRequest;

#[cfg(test)]
mod tests;
