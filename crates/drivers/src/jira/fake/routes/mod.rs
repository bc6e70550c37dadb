//! The resources of the REST interface.
//!
//! - `router`: from method and path to a resource
//! - `changing`: what all writes to issues share
//! - the others: one file for each resource

pub(crate) mod attachments;
mod changing;
mod comments;
mod components;
mod issues;
mod links;
mod lists;
mod people;
mod projects;
mod properties;
mod remote_links;
pub(crate) mod router;
mod search;
mod transitions;
mod versions;
