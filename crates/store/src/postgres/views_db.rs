//! The schema `stateward_views`: checkpoints and quarantine that queue and read models share.

use std::str::FromStr;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{FromRow, Postgres};
use stateward_domain::id::Position;
use stateward_domain::ports::projection::Quarantined;
use stateward_domain::ports::store_error::StoreError;

use super::connect::Database;

/// The schema of one database, as a process uses it. Cheap to clone.
#[derive(Clone)]
pub(super) struct ViewsDb {
    pub(super) database: Database,
}

impl ViewsDb {
    pub(super) const fn new(database: Database) -> Self {
        Self { database }
    }

    /// The checkpoint of the projection `name`; [`Position::START`] when it has none.
    pub(super) async fn checkpoint(&self, name: &str) -> Result<Position, StoreError> {
        let read = "SELECT position FROM stateward_views.checkpoints WHERE name = $1";
        let row = self.database.fetch_optional(sqlx::query_as(read).bind(name)).await?;
        row.map_or(Ok(Position::START), |(text,): (String,)| {
            parsed(("checkpoints", "position"), name, &text)
        })
    }

    /// The streams that `projection` has in quarantine, in order.
    pub(super) async fn quarantined(
        &self,
        projection: &str,
    ) -> Result<Vec<Quarantined>, StoreError> {
        let read = "SELECT stream, position, message FROM stateward_views.quarantine \
             WHERE model = $1 ORDER BY stream";
        let rows = self.database.fetch_all(sqlx::query_as(read).bind(projection)).await?;
        let entry = |(stream, position, message): (String, String, String)| {
            let position = parsed(("quarantine", "position"), &stream, &position)?;
            Ok(Quarantined { stream, position, message })
        };
        rows.into_iter().map(entry).collect()
    }

    pub(super) async fn quarantine(
        &self,
        projection: &str,
        entry: &Quarantined,
    ) -> Result<(), StoreError> {
        let position = Some(entry.position.to_string());
        self.set_quarantine(projection, &entry.stream, position, &entry.message).await
    }

    pub(super) async fn end_quarantine(
        &self,
        projection: &str,
        stream: &str,
    ) -> Result<(), StoreError> {
        self.set_quarantine(projection, stream, None, "").await
    }

    async fn set_quarantine(
        &self,
        projection: &str,
        stream: &str,
        position: Option<String>,
        message: &str,
    ) -> Result<(), StoreError> {
        // The server stores no NUL in a text.
        let message = message.replace('\0', "\u{fffd}");
        let set = sqlx::query("SELECT stateward_views.quarantine_v1($1, $2, $3, $4)");
        let set = set.bind(projection).bind(stream).bind(position).bind(message);
        self.database.execute(set).await.map(drop)
    }

    /// The result of a function, which is never NULL.
    pub(super) async fn one<'q, T>(
        &self,
        query: QueryAs<'q, Postgres, (T,), PgArguments>,
    ) -> Result<T, StoreError>
    where
        T: Send + Unpin + 'q,
        (T,): for<'r> FromRow<'r, PgRow>,
    {
        self.database.fetch_one(query).await.map(|(value,)| value)
    }
}

/// The value that `text` stands for, in the column `place` of the row `key`.
///
/// # Errors
/// [`StoreError::Inconsistent`]: no version wrote it.
pub(super) fn parsed<T>(place: (&str, &str), key: &str, text: &str) -> Result<T, StoreError>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(|error: T::Err| StoreError::inconsistent(place, key, error))
}

/// A duration as an argument, in microseconds; at most 100 years, so that no sum overflows.
pub(super) fn micros(duration: std::time::Duration) -> i64 {
    const MAX: i64 = 100 * 365 * 86_400 * 1_000_000;
    i64::try_from(duration.as_micros()).unwrap_or(MAX).min(MAX)
}
