//! The driver `jira` against the stateful fake: searches and reads lag behind writes.

mod kinds;
mod site;

pub(crate) use kinds::KINDS;
