//! Settings of a fake JIRA.

use std::time::Duration;

/// Which product the fake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Deployment {
    /// Cloud: `/rest/api/3` (ADF documents) and `/rest/api/2` (wiki text), users by `accountId`, `/search/jql`.
    #[default]
    Cloud,
    /// Data Center: `/rest/api/2` (wiki text), users by `name`, offset `/search`.
    DataCenter,
}

/// A limit on requests: a bucket of `burst` tokens that is refilled at `per_second`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Requests per second in the long run.
    pub per_second: f64,
    /// Requests at once.
    pub burst: u32,
}

/// A limit on the writes to one issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteLimit {
    /// Writes to an issue within `window`.
    pub writes: usize,
    /// Length of the sliding window.
    pub window: Duration,
}

/// Settings of a fake JIRA; the default is a Cloud site whose searches lag by 3 s and reads by 1 s.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which product the fake is.
    pub deployment: Deployment,
    /// Path below which everything is served, such as `/jira`; empty = none.
    pub context_path: String,
    /// Time until a search sees a write.
    pub search_lag: Duration,
    /// Time until a read, or a list inside of an object, sees a write. A new object can be read by its id at once.
    pub read_lag: Duration,
    /// Whether `read_lag` applies to the first read of a new issue, too: 404 until then.
    pub new_issues_lag: bool,
    /// Limit on all requests; `None` = unlimited.
    pub rate_limit: Option<RateLimit>,
    /// Limits on the writes to one issue.
    pub write_limits: Vec<WriteLimit>,
    /// Largest attachment in bytes.
    pub attachment_bytes_max: usize,
    /// Duration of an asynchronous task.
    pub task_time: Duration,
    /// Lifetime of an OAuth access token.
    pub token_lifetime: Duration,
    /// Offset of the users' time zone from UTC, in hours: JIRA writes and reads absolute times in it.
    pub utc_offset_hours: i8,
    /// Whether issues can be archived (Cloud: Premium).
    pub premium: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deployment: Deployment::Cloud,
            context_path: String::new(),
            search_lag: Duration::from_secs(3),
            read_lag: Duration::from_secs(1),
            new_issues_lag: false,
            rate_limit: None,
            write_limits: vec![
                WriteLimit { writes: 20, window: Duration::from_secs(2) },
                WriteLimit { writes: 100, window: Duration::from_secs(30) },
            ],
            attachment_bytes_max: 10 * 1024 * 1024,
            task_time: Duration::from_secs(2),
            token_lifetime: Duration::from_hours(1),
            utc_offset_hours: 9,
            premium: true,
        }
    }
}

impl Options {
    /// A site without lag, for tests of something else.
    #[must_use]
    pub fn prompt() -> Self {
        Self { search_lag: Duration::ZERO, read_lag: Duration::ZERO, ..Self::default() }
    }

    /// The same for Data Center.
    #[must_use]
    pub fn data_center(self) -> Self {
        Self { deployment: Deployment::DataCenter, ..self }
    }
}
