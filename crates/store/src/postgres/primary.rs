//! Finds the primary among the hosts of a database: all are asked at once.
//!
//! Invariant: a server on a lower timeline than one that this process used is never the primary: it was frozen, or cut
//! off, while another one was promoted.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Row};
use uuid::Uuid;

use super::error::message;
use super::target::address;

/// How long a host may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// A server that is not in recovery and takes writes.
#[derive(Debug)]
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

/// Why a host is not the primary, for one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Unanswered(String),
    #[error("it is a standby")]
    Standby,
    #[error("it is read-only")]
    ReadOnly,
    #[error("its timeline {ended} ended before {known}")]
    OlderTimeline { ended: i64, known: i64, log: LogThere },
    #[error("it has another epoch of the log: restart this process")]
    AnotherEpoch,
    #[error("it has another log")]
    AnotherLog,
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
    /// A primary with the expected log in another epoch.
    pub(super) another_epoch: Option<PgConnectOptions>,
    /// Set when every host answered, one of them as the primary of an older timeline with the log, and all others as
    /// standbys.
    pub(super) fork: Option<Fork>,
}

/// A primary whose timeline ended before one that was used, and the standbys beside it.
#[derive(Debug)]
pub(super) struct Fork {
    pub(super) primary: Found,
    pub(super) standbys: Vec<PgConnectOptions>,
    /// Whether another process began an epoch of the log there.
    pub(super) another_epoch: bool,
}

/// The first of `hosts` that answers as a primary on `timeline` or a later one, with the log `log` if one is expected.
/// Timeline 0 = none is known: then all are asked, and the one on the latest timeline is taken.
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
    let (mut latest, mut refused) = (None::<Found>, Vec::new());
    while let Some((host, answer)) = asked.next().await {
        match answer {
            Ok(found) if timeline > 0 => return Ok(Found { host: host.clone(), timeline: found }),
            Ok(found) if latest.as_ref().is_none_or(|latest| latest.timeline < found) => {
                latest = Some(Found { host: host.clone(), timeline: found });
            }
            Ok(_) => {}
            Err(refusal) => refused.push((host, refusal)),
        }
    }
    latest.ok_or_else(|| none_of(&refused))
}

fn none_of(refused: &[(&PgConnectOptions, Refusal)]) -> NoPrimary {
    let of = |wanted: fn(&Refusal) -> bool| {
        refused.iter().filter(move |(_, refusal)| wanted(refusal)).map(|(host, _)| (*host).clone())
    };
    let line =
        |(host, refusal): &(&PgConnectOptions, Refusal)| format!("{}: {refusal}", address(host));
    let mut reasons: Vec<_> = refused.iter().map(line).collect();
    reasons.sort();
    let standbys: Vec<_> = of(|refusal| *refusal == Refusal::Standby).collect();
    let mut older = refused.iter().filter_map(|(host, refusal)| match refusal {
        Refusal::OlderTimeline { ended, log, .. } if *log != LogThere::Another => {
            let primary = Found { host: (*host).clone(), timeline: *ended };
            Some((primary, *log == LogThere::AnotherEpoch))
        }
        _ => None,
    });
    // A host alone may stand for others that do not answer.
    let whole = !standbys.is_empty() && standbys.len() + 1 == refused.len();
    let older = older.next().filter(|_| whole);
    let fork = older.map(|(primary, another_epoch)| Fork { primary, standbys, another_epoch });
    let another_epoch = of(|refusal| *refusal == Refusal::AnotherEpoch).next();
    NoPrimary { reasons: reasons.join("; "), another_epoch, fork }
}

/// The timeline of `host`, if it is the primary.
async fn ask(
    host: &PgConnectOptions,
    timeline: i64,
    log: Option<ExpectedLog>,
) -> (&PgConnectOptions, Result<i64, Refusal>) {
    let answer = async {
        let role = tokio::time::timeout(ANSWER, role_of(host, log)).await;
        let role = role.map_err(|_| Refusal::Unanswered(late()))?;
        let role = role.map_err(|error| Refusal::Unanswered(message(&error)))?;
        refusal(role, timeline).map_or(Ok(role.timeline), Err)
    };
    (host, answer.await)
}

fn late() -> String {
    format!("no answer in {} s", ANSWER.as_secs())
}

async fn role_of(
    host: &PgConnectOptions,
    expected: Option<ExpectedLog>,
) -> Result<Role, sqlx::Error> {
    let mut connection: PgConnection = host.connect().await?;
    // The control file's timeline lags behind a promotion; the name of the present WAL file does not.
    // Not prepared: a pooler that is refused later may lend the session of another connection.
    let row = sqlx::raw_sql(
        "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::bool, \
         CASE WHEN pg_is_in_recovery() THEN 0 ELSE \
         ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END",
    )
    .fetch_one(&mut connection)
    .await?;
    let (in_recovery, read_only): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    let timeline = row.try_get(2)?;
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

/// Why a server of this role is not the primary; `None` = it is. A server of an older timeline says nothing about the log:
/// its epoch may be of the time before a failover, too.
fn refusal(role: Role, timeline: i64) -> Option<Refusal> {
    if role.in_recovery {
        Some(Refusal::Standby)
    } else if role.read_only {
        Some(Refusal::ReadOnly)
    } else if role.timeline < timeline {
        Some(Refusal::OlderTimeline { ended: role.timeline, known: timeline, log: role.log })
    } else {
        match role.log {
            LogThere::Expected => None,
            LogThere::AnotherEpoch => Some(Refusal::AnotherEpoch),
            LogThere::Another => Some(Refusal::AnotherLog),
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
                Role { log: LogThere::AnotherEpoch, ..primary },
                8,
                Some("its timeline 7 ended before 8"),
            ),
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
            let refusal = refusal(role, known).map(|refusal| refusal.to_string());
            assert_eq!(refusal.as_deref(), refused, "{role:?} {known}");
        }
    }

    #[test]
    fn an_older_primary_is_a_fork_only_beside_standbys_that_all_answer() {
        let host = |port| PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
        let hosts = [host(1), host(2), host(3)];
        let older_with = |log| Refusal::OlderTimeline { ended: 6, known: 7, log };
        let older = |same| older_with(if same { LogThere::Expected } else { LogThere::Another });
        let dead = || Refusal::Unanswered("dead".to_owned());
        for (answers, forked) in [
            (vec![older(true), Refusal::Standby, Refusal::Standby], true),
            (vec![Refusal::Standby, older(true)], true),
            (vec![Refusal::Standby, older_with(LogThere::AnotherEpoch)], true),
            (vec![older(true)], false),
            (vec![older(true), Refusal::Standby, dead()], false),
            (vec![older(true), older(true), Refusal::Standby], false),
            (vec![older(false), Refusal::Standby, Refusal::Standby], false),
            (vec![older(true), Refusal::ReadOnly], false),
            (vec![Refusal::Standby, Refusal::Standby], false),
        ] {
            let refused: Vec<_> = hosts.iter().zip(answers.clone()).collect();
            assert_eq!(none_of(&refused).fork.is_some(), forked, "{answers:?}");
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
