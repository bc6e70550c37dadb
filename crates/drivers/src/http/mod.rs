//! What the HTTP clients of all backends share: connections, deadlines, bounded bodies, errors, tokens, pages, and what
//! makes an empty answer a proof.
//!
//! - A request ends by the deadline of its call, and is never repeated here.
//! - Redirects are not followed: they would take the credentials to a host that is not configured.
//! - A lost reply of a change is `Ambiguous`; a request that was never sent had no effect.

mod body;
mod connection;
mod deadline;
mod error;
mod paging;
mod reply_history;
mod secret;
mod session;
#[cfg(test)]
pub(crate) mod testing;
mod url;

pub(crate) use body::{bytes, json, sanitized};
pub(crate) use connection::{Proxy, client};
pub(crate) use deadline::before_deadline;
pub(crate) use error::{ApiError, ErrorKind};
pub(crate) use paging::all_rows;
pub(crate) use reply_history::ReplyHistory;
pub(crate) use secret::Secret;
pub(crate) use session::{Expiring, Session, renew_at};
pub(crate) use url::joined;
