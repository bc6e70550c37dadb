//! What a test may change about a running site, beside its objects.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Conditions of a site; the default is a site in order.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// Ids of issues that exist but cannot be seen (a security level, a lost permission): 404, and in no search.
    pub hidden_issues: BTreeSet<u64>,
    /// Keys of projects that exist but cannot be seen.
    pub hidden_projects: BTreeSet<String>,
    /// Fields that are on no screen: they can be read, and not be set.
    pub off_screen: BTreeSet<String>,
    /// Difference of the server's clock from the right time, in seconds.
    pub clock_skew_seconds: i64,
    /// Whether asynchronous tasks that end from now on fail.
    pub tasks_fail: bool,
}
