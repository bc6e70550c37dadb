//! A thin client of JIRA's REST API: sends one request, and classifies the reply.
//!
//! - Nothing is retried but a request that was refused because its OAuth token expired: that had no effect.
//! - Credentials go to the configured address alone; redirects are not followed.
//! - A web page instead of JSON is no answer of JIRA, whatever its status.
//! - No error, log or `Debug` holds a token or a body.

mod absence;
mod lists;
mod login;
mod recent_writes;
mod refusal;
mod request;
mod send;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use stateward_domain::ports::driver::CallContext;
use stateward_domain::time::SteadyClock;

use super::NAME;
use super::site::{Deployment, Site};
use crate::http::{self, Proxy, ReplyHistory, Session};
pub(super) use crate::http::{ApiError, ErrorKind};
use crate::settings::ConnectError;
use absence::FactMemory;
use lists::ListCache;
use login::AccessToken;
use recent_writes::RecentWrites;
pub(super) use request::Request;
pub(super) use send::{PER_ISSUE, nonsense, settling};

/// The connection to one site as one account. Shared by all calls.
pub(super) struct Client {
    http: reqwest::Client,
    pub(super) site: Site,
    clock: Arc<dyn SteadyClock>,
    session: Session<AccessToken>,
    replies: ReplyHistory<()>,
    lists: ListCache,
    recent: RecentWrites,
    facts: FactMemory,
}

impl Client {
    /// Prepares a client; sends nothing.
    ///
    /// # Errors
    /// If the CA file cannot be read or the proxy cannot be used.
    pub(super) fn new(site: Site, clock: Arc<dyn SteadyClock>) -> Result<Self, ConnectError> {
        let proxy = site.proxy.as_ref().map_or(Proxy::Direct, Proxy::At);
        let http = http::client(NAME, &site.url, site.cacert.as_deref(), proxy)?;
        Ok(Self {
            http,
            site,
            clock,
            session: Session::default(),
            replies: ReplyHistory::default(),
            lists: ListCache::default(),
            recent: RecentWrites::default(),
            facts: FactMemory::default(),
        })
    }
}

/// The client within one call of the driver, with the call's deadline and permission.
#[derive(Clone, Copy)]
pub(super) struct CallClient<'a> {
    pub(super) shared: &'a Client,
    pub(super) context: &'a CallContext,
    /// The scope of rate limits: the kind, or empty = the whole backend.
    scope: &'static str,
}

impl<'a> CallClient<'a> {
    /// A client for one call for objects of the kind `scope`.
    pub(super) const fn new(
        shared: &'a Client,
        context: &'a CallContext,
        scope: &'static str,
    ) -> Self {
        Self { shared, context, scope }
    }

    /// Steady time.
    pub(super) fn now(self) -> Duration {
        self.shared.clock.elapsed()
    }

    pub(super) const fn deployment(self) -> Deployment {
        self.shared.site.deployment
    }

    /// Records that an object, called so within its kind, or an owner key was written.
    pub(super) fn wrote(self, object: &str) {
        self.shared.recent.record_write(&self.memory_key(object), self.now());
    }

    /// Whether an object or owner key was written less than `lag` ago.
    pub(super) fn wrote_within(self, object: &str, lag: Duration) -> bool {
        self.shared.recent.is_recent(&self.memory_key(object), lag, self.now())
    }

    /// Records that an object was created.
    pub(super) fn made(self, object: &str) {
        let key = format!("{} new", self.memory_key(object));
        self.shared.recent.record_write(&key, self.now());
    }

    /// Records that an object was deleted.
    pub(super) fn removed(self, object: &str) {
        let key = format!("{} gone", self.memory_key(object));
        self.shared.recent.record_write(&key, self.now());
    }

    /// Whether an object was deleted while reads may still show it.
    pub(super) fn deletion_may_lag(self, object: &str) -> bool {
        let (lag, key) = (self.shared.site.read_lag, format!("{} gone", self.memory_key(object)));
        self.shared.recent.is_recent(&key, lag, self.now())
    }

    /// Whether an object was created while reads may not show it.
    pub(super) fn creation_may_lag(self, object: &str) -> bool {
        let (lag, key) = (self.shared.site.read_lag, format!("{} new", self.memory_key(object)));
        self.shared.recent.is_recent(&key, lag, self.now())
    }

    /// Checks that `row` does not show the object as it was before a write of a moment ago.
    ///
    /// # Errors
    /// That nothing is proved yet.
    pub(super) fn is_fresh(self, object: &str, row: &Value) -> Result<(), ApiError> {
        let lag = self.shared.site.read_lag;
        let key = self.memory_key(object);
        let stale = self.shared.recent.is_stale(&key, row, lag, self.now());
        if stale || self.deletion_may_lag(object) {
            return Err(settling("JIRA shows the object as it was before the last change"));
        }
        Ok(())
    }

    /// The key of the memory of recent writes.
    fn memory_key(self, object: &str) -> String {
        format!("{} {object}", self.scope)
    }
}

#[cfg(test)]
mod tests;
