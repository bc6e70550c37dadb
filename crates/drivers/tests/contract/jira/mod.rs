//! The driver `jira` against the stateful fake: searches and reads lag behind writes.

mod faults;
mod kinds;
mod site;
mod workflow;

pub(crate) use kinds::KINDS;
