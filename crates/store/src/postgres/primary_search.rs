//! The search for the primary that continues the log of this process.
//!
//! Invariant: a server of an older timeline than one that was used is used only once no host has the newer history any
//! more: it may have been frozen while another one was promoted. Until then the search is repeated, and nothing is written.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::{Instant, timeout};

use super::continuity::{self, Continuity};
use super::error::message;
use super::primary::{self, Fork, Found, NoPrimary};
use super::target::address;

/// What a search goes by.
pub(super) struct PrimarySearch<'a> {
    pub(super) hosts: &'a [PgConnectOptions],
    /// The log of this process; `None` = it opened none yet.
    pub(super) log: Option<&'a Continuity>,
    pub(super) application: &'a str,
    /// How long a comparison of the log may take.
    pub(super) limit: Duration,
    /// How long an older timeline has to be all that is left before it is compared.
    pub(super) forked: Duration,
}

/// Why there is no primary.
#[derive(Debug)]
pub(super) struct NotFound {
    /// In one line.
    pub(super) reason: String,
    /// Whether this process cannot go on with its log.
    pub(super) superseded: bool,
}

impl From<String> for NotFound {
    fn from(reason: String) -> Self {
        Self { reason, superseded: false }
    }
}

impl PrimarySearch<'_> {
    /// The primary on `timeline` or a later one, or, once its history is all that is left, on an older one. `forked_since`:
    /// since when each search found an older timeline alone; kept by the caller.
    ///
    /// # Errors
    /// [`NotFound`]: nothing was written but the begin of an epoch.
    pub(super) async fn find(
        &self,
        timeline: i64,
        forked_since: &mut Option<Instant>,
    ) -> Result<Found, NotFound> {
        let found = primary::find(self.hosts, timeline, self.log.map(Continuity::log)).await;
        let Some(log) = self.log else { return found.map_err(|none| none.reasons.into()) };
        let found = match found {
            Ok(found) => found,
            Err(NoPrimary { reasons, another_epoch: Some(host), .. }) => {
                self.in_time(continuity::check_next_epoch(log, &self.compared(&host))).await?;
                return Err(NotFound { reason: reasons, superseded: true });
            }
            Err(NoPrimary { reasons, fork: Some(fork), .. }) => {
                let since = *forked_since.get_or_insert_with(Instant::now);
                if since.elapsed() < self.forked {
                    return Err(reasons.into());
                }
                self.is_abandoned(&fork, &reasons).await?;
                if fork.another_epoch {
                    let host = self.compared(&fork.primary.host);
                    self.in_time(continuity::check_next_epoch(log, &host)).await?;
                    let reason = format!("{reasons}; it began another epoch: restart this process");
                    return Err(NotFound { reason, superseded: true });
                }
                fork.primary
            }
            Err(NoPrimary { reasons, .. }) => {
                *forked_since = None;
                return Err(reasons.into());
            }
        };
        *forked_since = None;
        match self.in_time(continuity::check(log, &self.compared(&found.host))).await? {
            None => Ok(found),
            Some(reason) => Err(NotFound { reason, superseded: true }),
        }
    }

    /// Fails while a standby has an event that the older primary of `fork` lacks: the newer history may come back.
    async fn is_abandoned(&self, fork: &Fork, reasons: &str) -> Result<(), String> {
        let compared = async {
            let mut primary = self.compared(&fork.primary.host).connect().await?;
            let mut newer = None;
            for host in &fork.standbys {
                let mut standby: PgConnection = self.compared(host).connect().await?;
                let events = continuity::newest(&mut standby).await?;
                if !continuity::gone(&mut primary, &events).await?.is_empty() {
                    newer = Some(address(host));
                }
                // It was read; an error here changes nothing.
                let _ = standby.close().await;
            }
            let _ = primary.close().await;
            Ok(newer)
        };
        match self.in_time(compared).await? {
            None => Ok(()),
            Some(host) => Err(format!("{reasons}; {host} has events that the older one lacks")),
        }
    }

    fn compared(&self, host: &PgConnectOptions) -> PgConnectOptions {
        host.clone().application_name(self.application).disable_statement_logging()
    }

    /// The result of `comparison`, which takes no longer than a statement may.
    async fn in_time<T>(
        &self,
        comparison: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, String> {
        let compared = timeout(self.limit, comparison).await;
        let compared = compared.map_err(|_| "the log is not compared in time".to_owned())?;
        compared.map_err(|error| message(&error))
    }
}
