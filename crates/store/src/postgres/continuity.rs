//! Whether a database that this process met again continues the log that it knows: the same server and database, and every
//! event that the process remembers. After a failover or a restore that lost events the log begins an epoch, because the
//! same positions are given out again.
//!
//! Invariant: a process never goes on with another epoch than it opened. What it has in memory may be of events that are
//! gone: it ends, and its next life reads the log as it is.

use std::sync::{Mutex, PoisonError};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Row as _};
use stateward_domain::time::Timestamp;

use super::identity::{self, LogIdentity};
use super::primary::ExpectedLog;
use super::seen_events::{LostEvents, SeenEvent, Tail};

/// Events that are compared by one query.
const PAGE: usize = 4_096;

/// What a process knows of its log.
pub(super) struct Continuity {
    log: ExpectedLog,
    tail: Mutex<Tail>,
}

impl Continuity {
    pub(super) fn of(log: &LogIdentity) -> Self {
        Self { log: (log.log_id.0, log.epoch.into()), tail: Mutex::default() }
    }

    pub(super) const fn log(&self) -> ExpectedLog {
        self.log
    }

    pub(super) fn remember(&self, events: impl IntoIterator<Item = SeenEvent>) {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            tail.remember(event);
        }
    }

    fn tail(&self) -> Vec<SeenEvent> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).events()
    }

    /// Compares the log of `connection`, which is that of this process by name and epoch. Where it does not continue, it
    /// begins an epoch, once for all processes; returns why, in one line. `None` = it continues.
    pub(super) async fn check(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<String>, sqlx::Error> {
        let (_, epoch) = self.log;
        let place = identity::Place::of(connection).await?;
        if place.moved {
            identity::begin_epoch(connection, epoch, &place, true, None).await?;
            return Ok(Some("it is a copy of the log: restart this process".to_owned()));
        }
        let Some(LostEvents { count, over_a_minute }) = self.lost(connection).await? else {
            if place.promoted {
                identity::keep_timeline(connection).await?;
            }
            return Ok(None);
        };
        identity::begin_epoch(connection, epoch, &place, over_a_minute, Some(count)).await?;
        Ok(Some(format!("{count} events that were in the log are gone: restart this process")))
    }

    /// Compares the log of `connection`, which is in another epoch than this process opened: what this process alone
    /// knows to be gone is noted there. Idempotent.
    async fn check_next_epoch(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        match self.lost(connection).await? {
            Some(LostEvents { count, over_a_minute }) => {
                identity::note_loss(connection, over_a_minute, count).await
            }
            None => Ok(()),
        }
    }

    /// What the log of `connection` lacks of all that this process remembers; `None` = nothing.
    async fn lost(&self, connection: &mut PgConnection) -> Result<Option<LostEvents>, sqlx::Error> {
        let gone = gone(connection, &self.tail()).await?;
        Ok(self.tail.lock().unwrap_or_else(PoisonError::into_inner).lost(&gone))
    }
}

/// Newest events of a server, by position, at most as many as are compared by one query. Rows of other programs have no
/// hash, and are left out.
pub(super) async fn newest(connection: &mut PgConnection) -> Result<Vec<SeenEvent>, sqlx::Error> {
    let newest = "SELECT position, event_id, hash, recorded_at FROM stateward.events \
         WHERE length(hash) = 32 ORDER BY position DESC LIMIT $1";
    let rows = sqlx::query_as(newest).bind(PAGE.cast_signed() as i64).fetch_all(connection).await?;
    let seen = |(position, id, hash, at): (i64, uuid::Uuid, Vec<u8>, i64)| {
        let (position, recorded_at) = (position.unsigned_abs(), Timestamp(at));
        Some(SeenEvent { position, id, hash: hash.try_into().ok()?, recorded_at })
    };
    Ok(rows.into_iter().filter_map(seen).collect())
}

/// Positions of those of `events` that the log does not have.
pub(super) async fn gone(
    connection: &mut PgConnection,
    events: &[SeenEvent],
) -> Result<Vec<u64>, sqlx::Error> {
    let compare = "SELECT w.p FROM unnest($1::bigint[], $2::uuid[], $3::bytea[]) AS w (p, i, h) \
         LEFT JOIN stateward.events e ON e.position = w.p AND e.event_id = w.i AND e.hash = w.h \
         WHERE e.position IS NULL";
    let mut gone = Vec::new();
    // One snapshot of all pages is not needed: an event that is there does not vanish.
    for page in events.chunks(PAGE) {
        let positions: Vec<i64> = page.iter().map(|event| event.position.cast_signed()).collect();
        let ids: Vec<uuid::Uuid> = page.iter().map(|event| event.id).collect();
        let hashes: Vec<Vec<u8>> = page.iter().map(|event| event.hash.to_vec()).collect();
        let rows = sqlx::query(compare).bind(positions).bind(ids).bind(hashes);
        for row in rows.fetch_all(&mut *connection).await? {
            gone.push(row.try_get::<i64, _>(0)?.unsigned_abs());
        }
    }
    Ok(gone)
}

/// As [`Continuity::check`], on a connection of its own that is closed after it.
pub(super) async fn check(
    continuity: &Continuity,
    host: &PgConnectOptions,
) -> Result<Option<String>, sqlx::Error> {
    let mut connection = host.connect().await?;
    let broken = continuity.check(&mut connection).await?;
    // The answer is there; an error here changes nothing.
    let _ = connection.close().await;
    Ok(broken)
}

/// As [`Continuity::check_next_epoch`], on a connection of its own that is closed after it.
pub(super) async fn check_next_epoch(
    continuity: &Continuity,
    host: &PgConnectOptions,
) -> Result<(), sqlx::Error> {
    let mut connection = host.connect().await?;
    continuity.check_next_epoch(&mut connection).await?;
    // It is noted; an error here changes nothing.
    let _ = connection.close().await;
    Ok(())
}
