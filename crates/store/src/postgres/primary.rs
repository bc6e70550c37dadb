//! Finds the primary among the hosts of a database: all are asked at once.
//!
//! Invariant: a server on a lower timeline than one that this process used is never the primary: it was frozen, or cut
//! off, while another one was promoted.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use uuid::Uuid;

use super::error::message;
use super::target::address;

/// How long a host may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// A server that is not in recovery and takes writes.
pub(super) struct Found {
    pub(super) host: PgConnectOptions,
    pub(super) timeline: i64,
}

/// What a server says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Role {
    in_recovery: bool,
    read_only: bool,
    timeline: i64,
    log: LogThere,
}

/// Whether a server has the expected log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogThere {
    Expected,
    AnotherEpoch,
    Another,
}

/// The log that a primary has to have: its name and epoch.
pub(super) type ExpectedLog = (Uuid, i64);

/// Why there is no primary.
#[derive(Debug)]
pub(super) struct NoPrimary {
    /// What each host answered, in one line.
    pub(super) reasons: String,
    /// Whether a primary has the expected log in another epoch.
    pub(super) another_epoch: bool,
}

/// The first of `hosts` that answers as a primary on `timeline` or a later one, with the log `log` if one is expected.
///
/// # Errors
/// [`NoPrimary`].
pub(super) async fn find(
    hosts: &[PgConnectOptions],
    timeline: i64,
    log: Option<ExpectedLog>,
) -> Result<Found, NoPrimary> {
    let mut asked: FuturesUnordered<_> =
        hosts.iter().map(|host| ask(host, timeline, log)).collect();
    let (mut reasons, mut another_epoch) = (Vec::new(), false);
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(found) => return Ok(found),
            Err((reason, epoch)) => {
                reasons.push(reason);
                another_epoch |= epoch;
            }
        }
    }
    reasons.sort();
    Err(NoPrimary { reasons: reasons.join("; "), another_epoch })
}

async fn ask(
    host: &PgConnectOptions,
    timeline: i64,
    log: Option<ExpectedLog>,
) -> Result<Found, (String, bool)> {
    let refused = |reason: String| (format!("{}: {reason}", address(host)), false);
    let role = tokio::time::timeout(ANSWER, role_of(host, log)).await;
    let role = role.map_err(|_| refused(format!("no answer in {} s", ANSWER.as_secs())))?;
    let role = role.map_err(|error| refused(message(&error)))?;
    match refusal(role, timeline) {
        Some(reason) => Err((refused(reason).0, role.log == LogThere::AnotherEpoch)),
        None => Ok(Found { host: host.clone(), timeline: role.timeline }),
    }
}

async fn role_of(
    host: &PgConnectOptions,
    expected: Option<ExpectedLog>,
) -> Result<Role, sqlx::Error> {
    let mut connection: PgConnection = host.connect().await?;
    // The control file's timeline lags behind a promotion; the name of the present WAL file does not.
    let (in_recovery, read_only, timeline): (bool, bool, i64) = sqlx::query_as(
        "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::bool, \
         CASE WHEN pg_is_in_recovery() THEN 0 ELSE \
         ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END",
    )
    .fetch_one(&mut connection)
    .await?;
    let log = match expected {
        Some(expected) if !in_recovery => {
            let read = sqlx::query_as("SELECT log_id, epoch FROM stateward.log");
            compare(expected, read.fetch_optional(&mut connection).await?)
        }
        _ => LogThere::Expected,
    };
    // The answer is there; an error here changes nothing.
    let _ = connection.close().await;
    Ok(Role { in_recovery, read_only, timeline, log })
}

fn compare(expected: ExpectedLog, found: Option<ExpectedLog>) -> LogThere {
    match found {
        Some(found) if found == expected => LogThere::Expected,
        Some(found) if found.0 == expected.0 => LogThere::AnotherEpoch,
        _ => LogThere::Another,
    }
}

/// Why a server of this role is not the primary; `None` = it is.
fn refusal(role: Role, timeline: i64) -> Option<String> {
    if role.in_recovery {
        Some("it is a standby".to_owned())
    } else if role.read_only {
        Some("it is read-only".to_owned())
    } else if role.timeline < timeline {
        Some(format!("its timeline {} ended before {timeline}", role.timeline))
    } else {
        match role.log {
            LogThere::Expected => None,
            LogThere::AnotherEpoch => {
                Some("it has another epoch of the log: restart this process".to_owned())
            }
            LogThere::Another => Some("it has another log".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_writable_server_on_the_newest_timeline_is_the_primary() {
        let primary =
            Role { in_recovery: false, read_only: false, timeline: 7, log: LogThere::Expected };
        for (role, known, refused) in [
            (primary, 0, None),
            (primary, 7, None),
            (primary, 8, Some("its timeline 7 ended before 8")),
            (
                Role { in_recovery: true, read_only: true, timeline: 0, log: LogThere::Expected },
                7,
                Some("it is a standby"),
            ),
            (
                Role { log: LogThere::AnotherEpoch, ..primary },
                7,
                Some("it has another epoch of the log: restart this process"),
            ),
            (Role { log: LogThere::Another, ..primary }, 7, Some("it has another log")),
            (Role { read_only: true, ..primary }, 7, Some("it is read-only")),
        ] {
            assert_eq!(refusal(role, known).as_deref(), refused, "{role:?} {known}");
        }
    }

    #[tokio::test]
    async fn each_host_that_does_not_answer_is_named_without_its_password() {
        let dead = |port| {
            let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
            options.username("u").password("secret").database("d")
        };
        let reasons = find(&[dead(1), dead(2)], 0, None).await.err().unwrap().reasons;
        assert!(
            reasons.contains("127.0.0.1:1: ") && reasons.contains("127.0.0.1:2: "),
            "{reasons}"
        );
        assert!(!reasons.contains("secret") && !reasons.contains('\n'), "{reasons}");
    }
}
