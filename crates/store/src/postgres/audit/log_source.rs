//! The log and its views as a verification reads them, in pages.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use stateward_domain::audit::Fault;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::StreamId;
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{Holder, ReadError};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::Timestamp;

use super::untrusted_row::UntrustedRow;
use super::{stream_heads, view_page, whole_tables};
use crate::audit::{
    AuditSource, ClaimEvent, ExpectedViews, HeldClaim, Identity, QuarantinedStream, RawRow,
    StoredCheckpoint, TableRow, ViewPage, rows_of,
};
use crate::postgres::connect::Database;
use crate::postgres::error::store_error;
use crate::postgres::identity::LogIdentity;
use crate::postgres::log::event_row::page;
use crate::sql_value::{limit_of, unsigned};

/// Sorts behind every text.
const LAST: &str = "\u{10ffff}";
/// Events from which the planner's estimate of their number is taken.
const ESTIMATED: i64 = 100_000;

/// A claim with the event that took it: key, stream, version, value, time; metadata, time and position of the event, and
/// the metadata of the next one.
type ClaimRow = (
    (String, String, String, i64, String, i64),
    (Option<String>, Option<i64>, Option<i64>, Option<String>),
);

/// The log of a database.
pub(super) struct LogSource {
    pub(super) database: Database,
    identity: Identity,
}

impl LogSource {
    pub(super) const fn new(database: Database, identity: &LogIdentity) -> Self {
        let (log_id, epoch) = (identity.log_id, identity.epoch);
        Self { database, identity: Identity { log_id, epoch, dense: false } }
    }

    pub(super) const fn position(&self, minor: u64) -> Position {
        if minor == 0 {
            return Position::START;
        }
        Position { epoch: self.identity.epoch, major: 0, minor }
    }

    /// Position of the last event, which may be behind an append in flight.
    pub(super) async fn last(&self) -> Result<Position, ReadError> {
        let last = sqlx::query_as("SELECT coalesce(max(position), 0) FROM events");
        let (last,): (i64,) = self.database.fetch_one(last).await?;
        Ok(self.position(minor(last)?))
    }

    async fn events(
        &self,
        query: QueryAs<'_, sqlx::Postgres, UntrustedRow, PgArguments>,
    ) -> Result<Vec<RawRow>, ReadError> {
        let rows = self.database.fetch_all(query).await?;
        Ok(rows.into_iter().map(|row| row.in_epoch(self.identity.epoch)).collect())
    }

    /// Claims with the events that took them. `restrict` is a condition on `$1`.
    async fn claims_where<T>(
        &self,
        restrict: &str,
        value: T,
        limit: i64,
    ) -> Result<Vec<HeldClaim>, ReadError>
    where
        T: for<'q> sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + 'static,
    {
        let statement = format!(
            "SELECT c.key, c.aggregate_type, c.aggregate_id, c.sequence, c.value, c.taken_at, \
             e.metadata::text, e.recorded_at, e.position, n.metadata::text FROM claims c \
             LEFT JOIN events e ON e.aggregate_type = c.aggregate_type \
             AND e.aggregate_id = c.aggregate_id AND e.sequence = c.sequence \
             LEFT JOIN events n ON n.aggregate_type = c.aggregate_type \
             AND n.aggregate_id = c.aggregate_id AND n.sequence = c.sequence + 1 \
             WHERE {restrict} ORDER BY c.key LIMIT $2"
        );
        let query = sqlx::query_as(AssertSqlSafe(statement)).bind(value).bind(limit);
        let rows: Vec<Claimed> = self.database.fetch_all(query).await?;
        Ok(rows.into_iter().map(|row| self.held(row.0)).collect())
    }

    fn held(&self, row: ClaimRow) -> HeldClaim {
        let ((key, category, id, sequence, value, taken_at), event) = row;
        let version = Version(u64::try_from(sequence).unwrap_or_default());
        let (metadata, recorded_at, position, next) = event;
        let event = metadata.map(|metadata| ClaimEvent {
            metadata,
            recorded_at: Timestamp(recorded_at.unwrap_or(i64::MAX)),
            position: self.position(position.unwrap_or(i64::MAX).unsigned_abs()),
            next,
        });
        let holder = Holder { stream: StreamId { category, id }, version, value };
        HeldClaim { key: ClaimKey(key), holder, taken_at: Timestamp(taken_at), event }
    }
}

struct Claimed(ClaimRow);

impl<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> for Claimed {
    fn from_row(row: &'r sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        use sqlx::Row as _;
        let claim = (
            row.try_get(0)?,
            row.try_get(1)?,
            row.try_get(2)?,
            row.try_get(3)?,
            row.try_get(4)?,
            row.try_get(5)?,
        );
        Ok(Self((claim, (row.try_get(6)?, row.try_get(7)?, row.try_get(8)?, row.try_get(9)?))))
    }
}

#[async_trait]
impl AuditSource for LogSource {
    fn identity(&self) -> Identity {
        self.identity
    }

    /// The last event below which everything is decided: horizon first, in the same session.
    async fn head(&self) -> Result<Position, ReadError> {
        let mut session = self.database.session().await?;
        let horizon = session.fetch_one(sqlx::query_as("SELECT horizon_v1()")).await;
        let (horizon,): (i64,) = horizon.map_err(store_error)?;
        let last = "SELECT coalesce(max(position), 0) FROM events WHERE position < $1";
        let last = session.fetch_one(sqlx::query_as(last).bind(horizon)).await;
        let (last,): (i64,) = last.map_err(store_error)?;
        Ok(self.position(minor(last)?))
    }

    async fn damage(&self) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }

    async fn size(&self) -> Result<u64, ReadError> {
        let size = "SELECT CASE WHEN reltuples >= $1 THEN reltuples::bigint \
             ELSE (SELECT count(*) FROM events) END FROM pg_class WHERE oid = 'events'::regclass";
        let (size,): (i64,) = self.database.fetch_one(sqlx::query_as(size).bind(ESTIMATED)).await?;
        Ok(size.unsigned_abs())
    }

    async fn rows(
        &self,
        after: Position,
        until: Position,
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError> {
        let page = page("position > $1 AND position <= $2", "position", "$3");
        let query = sqlx::query_as(AssertSqlSafe(page))
            .bind(after.minor.cast_signed())
            .bind(until.minor.cast_signed())
            .bind(limit_of(limit));
        self.events(query).await
    }

    async fn entity_events(
        &self,
        after: (&str, Version),
        until: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError> {
        let condition = "aggregate_type = $1 AND (aggregate_id, sequence) > ($2, $3) \
             AND aggregate_id <= $4";
        let query = sqlx::query_as(AssertSqlSafe(page(condition, "aggregate_id, sequence", "$5")))
            .bind(StreamId::ENTITY)
            .bind(after.0.to_owned())
            .bind(after.1.0.cast_signed())
            .bind(until.unwrap_or(LAST).to_owned())
            .bind(limit_of(limit));
        self.events(query).await
    }

    async fn claims_objects(&self) -> Result<bool, ReadError> {
        Ok(true)
    }

    async fn claims(&self, after: &str, limit: usize) -> Result<Vec<HeldClaim>, ReadError> {
        self.claims_where("c.key > $1", after.to_owned(), limit_of(limit)).await
    }

    async fn claims_of(&self, keys: &[&ClaimKey]) -> Result<Vec<HeldClaim>, ReadError> {
        let keys: Vec<String> = keys.iter().map(|key| key.0.clone()).collect();
        self.claims_where("c.key = ANY ($1)", keys, i64::MAX).await
    }

    async fn checkpoints(&self) -> Result<Option<Vec<StoredCheckpoint>>, ReadError> {
        let mut session = self.database.session().await?;
        let rows = view_page::checkpoints(session.raw()).await.map_err(store_error)?;
        session.done();
        Ok(Some(rows))
    }

    async fn quarantine(
        &self,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<QuarantinedStream>, ReadError> {
        let rows = "SELECT model, stream, position FROM stateward_views.quarantine \
             WHERE (model, stream) > ($1, $2) ORDER BY model, stream LIMIT $3";
        let query = sqlx::query_as(rows).bind(after.0).bind(after.1).bind(limit_of(limit));
        let rows: Vec<(String, String, String)> = self.database.fetch_all(query).await?;
        let row = |(model, stream, position): (String, String, String)| QuarantinedStream {
            model,
            stream,
            position: position.parse().ok(),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    async fn view_page(&self, after: &str, limit: usize) -> Result<ViewPage, ReadError> {
        Ok(view_page::read(&self.database, self.identity.epoch, after, limit).await?)
    }

    async fn whole_table_faults(&self) -> Result<Vec<Fault>, ReadError> {
        let mut faults = stream_heads::faults(&self.database).await?;
        faults.extend(whole_tables::faults(&self.database).await?);
        Ok(faults)
    }

    async fn expected_rows(
        &self,
        folds: &[ExpectedViews],
    ) -> Result<Vec<Vec<TableRow>>, ReadError> {
        Ok(folds.iter().map(rows_of).collect())
    }
}

/// A stored position.
fn minor(stored: i64) -> Result<u64, StoreError> {
    unsigned(("events", "position"), "", stored).map_err(store_error)
}
