//! JIRA: its stateful fake, [`fake`], against which clients are tested without an account.

pub mod fake;
