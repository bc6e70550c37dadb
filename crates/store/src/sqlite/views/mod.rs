//! The read model `entities`, with `operations` in the same transaction. An entity's row holds the folded
//! aggregate as JSON, so that it is a snapshot too.
//!
//! - `tables`: versioned tables with their indexes, and the pointer to the live ones
//! - `rows`: reading and writing rows
//! - `query`: lists; `select`: the statement of a plan

mod query;
pub(super) mod rows;
mod select;
pub(super) mod tables;

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sqlx::SqliteConnection;
use stateward_domain::envelope::Recorded;
use stateward_domain::id::Position;
use stateward_domain::ports::projection::{ModelError, Projection, Quarantined};
use stateward_domain::ports::read_model::{ReadModel, Rebuild, RebuildId};
use stateward_domain::ports::store_error::StoreError;

use crate::shared::hints::KnownCheckpoint;
use crate::shared::views::fold::{self, ApplyMode};
use crate::shared::views::page::SCANNED_MAX;
use crate::shared::views::row_cache::{CachedRows, RowCache};
use crate::sqlite::error::store_error;
use crate::sqlite::quarantine;
use crate::sqlite::transaction::WriteConnection;
use crate::sqlite::views_db::{self, ViewsDb, begin};
use rows::TablesInTransaction;
use tables::{NAME, REBUILD, Tables};

/// The live read model, or a rebuild of it.
pub struct Entities {
    file: Arc<ViewsDb>,
    /// Name of its checkpoint.
    checkpoint: &'static str,
    /// Rows that are read for one page, at most, where no index serves the whole filter.
    scanned_max: usize,
    known: KnownCheckpoint,
    /// Number of its tables; 0 = not read yet.
    tables: AtomicI64,
    /// Quarantined streams; `None` = not read yet. Accessed only while the writer is held.
    set_aside: Mutex<Option<Arc<HashSet<String>>>>,
    /// Rows written recently. Accessed only while the writer is held.
    row_cache: Mutex<RowCache>,
}

/// Events to apply, from one checkpoint to the next.
struct Delivery<'a> {
    tables: Tables,
    from: Position,
    to: Position,
    events: &'a [&'a Recorded],
}

pub(super) fn unavailable(error: sqlx::Error) -> ModelError {
    store_error(error).into()
}

/// # Errors
/// [`ModelError::StaleRebuild`] unless the rebuild that has begun fills `tables`; [`ModelError::Store`].
async fn expect_rebuild(
    connection: &mut SqliteConnection,
    tables: Tables,
) -> Result<(), ModelError> {
    let begun = tables::of(connection, REBUILD).await.map_err(unavailable)?;
    if begun == Some(tables) { Ok(()) } else { Err(ModelError::StaleRebuild) }
}

impl Entities {
    pub(super) fn new(file: Arc<ViewsDb>) -> Self {
        Self::of(file, NAME, Tables(0))
    }

    fn of(file: Arc<ViewsDb>, checkpoint: &'static str, tables: Tables) -> Self {
        let tables = AtomicI64::new(tables.0);
        Self {
            file,
            checkpoint,
            scanned_max: SCANNED_MAX,
            known: KnownCheckpoint::default(),
            tables,
            set_aside: Mutex::default(),
            row_cache: Mutex::default(),
        }
    }

    pub(super) async fn close(&self) {
        self.file.close().await;
    }

    /// The number of the tables if it was read before: without a connection.
    fn known_tables(&self) -> Option<Tables> {
        Some(self.tables.load(Ordering::Acquire)).filter(|number| *number != 0).map(Tables)
    }

    /// The tables to write to.
    ///
    /// # Errors
    /// [`ModelError::StaleRebuild`]; [`ModelError::Store`].
    async fn own_tables(&self, writer: &mut SqliteConnection) -> Result<Tables, ModelError> {
        let own = self.tables(writer).await?;
        if self.checkpoint == REBUILD {
            expect_rebuild(writer, own).await?;
        }
        Ok(own)
    }

    async fn tables(&self, connection: &mut SqliteConnection) -> Result<Tables, ModelError> {
        if let Some(known) = self.known_tables() {
            return Ok(known);
        }
        let live = tables::of(connection, NAME).await.map_err(unavailable)?;
        let live = live.ok_or_else(|| StoreError::unavailable("no tables"))?;
        self.tables.store(live.0, Ordering::Release);
        Ok(live)
    }

    async fn set_aside(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<Arc<HashSet<String>>, ModelError> {
        let known = self.set_aside.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let read = Arc::new(rows::set_aside(connection, self.checkpoint).await?);
        let kept = Some(Arc::clone(&read));
        *self.set_aside.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(read)
    }

    /// Writes a delivery, all or nothing; returns the rows after it.
    async fn write(
        &self,
        writer: &mut WriteConnection,
        delivery: &Delivery<'_>,
        mode: ApplyMode,
    ) -> Result<CachedRows, ModelError> {
        let Delivery { tables, from, to, events } = delivery;
        writer.roll_back_abandoned().await;
        self.row_cache().clear_unless_at(*from);
        let mut transaction = writer.pipeline();
        views_db::compare_and_swap(&mut transaction, self.checkpoint, *from, *to);
        let mut rows = TablesInTransaction { transaction: &mut transaction, tables: *tables };
        let rows = fold::apply(&mut rows, &self.row_cache, events, mode).await?;
        transaction.commit().await.map_err(|error| unavailable(error.into()))?;
        Ok(rows)
    }

    fn row_cache(&self) -> MutexGuard<'_, RowCache> {
        self.row_cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears the caches, before the tables are changed by more than a delivery.
    fn forget_caches(&self) {
        *self.set_aside.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.row_cache().clear();
    }
}

#[async_trait]
impl Projection for Entities {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn checkpoint(&self) -> Result<Position, ModelError> {
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        views_db::checkpoint(&mut connection, self.checkpoint).await.map_err(unavailable)
    }

    async fn advanced_past(&self, position: Position) {
        self.known.reached(position, async { self.checkpoint().await.ok() }).await;
    }

    async fn apply(
        &self,
        from: Position,
        to: Position,
        events: &[Recorded],
    ) -> Result<(), ModelError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::views::apply::before");
        let tables = self.own_tables(&mut writer).await?;
        let set_aside = self.set_aside(&mut writer).await?;
        let aside = |event: &&Recorded| set_aside.contains(&event.stream.to_string());
        let events: Vec<_> = if set_aside.is_empty() {
            events.iter().collect()
        } else {
            events.iter().filter(|event| !aside(event)).collect()
        };
        let delivery = Delivery { tables, from, to, events: &events };
        let mut written = self.write(&mut writer, &delivery, ApplyMode::Optimistic).await;
        if matches!(written, Err(ModelError::Store(_))) {
            self.row_cache().clear();
            written = self.write(&mut writer, &delivery, ApplyMode::Checked).await;
        }
        match written {
            Ok(rows) => {
                self.row_cache().put(to, rows);
                self.known.set(to);
            }
            Err(error) => {
                self.row_cache().clear();
                // The caller's checkpoint may be stale; then that is the error to report.
                let moved = views_db::moved_checkpoint(&mut writer, self.checkpoint, from).await;
                let moved = moved.map_err(unavailable)?;
                let moved = moved.map(|actual| ModelError::CheckpointMoved { actual });
                return Err(moved.unwrap_or(error));
            }
        }
        crate::failpoints::reach("store::views::apply::after");
        Ok(())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, ModelError> {
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        quarantine::all(&mut connection, self.checkpoint).await.map_err(unavailable)
    }

    async fn quarantine(&self, entry: Quarantined) -> Result<(), ModelError> {
        let mut writer = self.file.writer().await;
        self.own_tables(&mut writer).await?;
        self.forget_caches();
        quarantine::put(&mut writer, self.checkpoint, &entry).await.map_err(unavailable)
    }
}

#[async_trait]
impl ReadModel for Entities {
    async fn retry(&self, stream: &str, events: &[Recorded]) -> Result<(), ModelError> {
        let mut writer = self.file.writer().await;
        let tables = self.own_tables(&mut writer).await?;
        self.forget_caches();
        let mut transaction = writer.pipeline();
        rows::delete_stream(&mut transaction, tables, self.checkpoint, stream);
        // Send now: the reads below must not see the deleted rows.
        transaction.run().await.map_err(unavailable)?;
        let (events, mode): (Vec<_>, _) = (events.iter().collect(), ApplyMode::Checked);
        let mut rows = TablesInTransaction { transaction: &mut transaction, tables };
        if let Err(error) = fold::apply(&mut rows, &self.row_cache, &events, mode).await {
            writer.roll_back_abandoned().await;
            return Err(error);
        }
        transaction.commit().await.map(drop).map_err(|error| unavailable(error.into()))
    }

    async fn begin_rebuild(&self) -> Result<Rebuild, ModelError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::views::rebuild::before");
        let live = self.tables(&mut writer).await?;
        let mut transaction = begin(&mut writer).await.map_err(unavailable)?;
        // Unlike those of a rebuild that has not ended, so that its instance cannot write to them.
        let last = tables::of(&mut transaction, REBUILD).await.map_err(unavailable)?;
        let beside = last.unwrap_or(live).next();
        tables::drop_all_but(&mut transaction, Some(live)).await.map_err(unavailable)?;
        beside.create(&mut transaction).await.map_err(unavailable)?;
        let start = Position::START;
        tables::point(&mut transaction, REBUILD, start, beside).await.map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
        crate::failpoints::reach("store::views::rebuild::after");
        let file = Arc::clone(&self.file);
        let model = Box::new(Self::of(file, REBUILD, beside));
        Ok(Rebuild { id: RebuildId(beside.0), model })
    }

    async fn live(&self) -> Result<RebuildId, ModelError> {
        let mut writer = self.file.writer().await;
        let live = tables::of(&mut writer, NAME).await.map_err(unavailable)?;
        Ok(RebuildId(live.map_or(0, |live| live.0)))
    }

    async fn swap(&self, rebuild: RebuildId) -> Result<bool, ModelError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::views::swap::before");
        let beside = Tables(rebuild.0);
        let mut transaction = begin(&mut writer).await.map_err(unavailable)?;
        expect_rebuild(&mut transaction, beside).await?;
        let live_checkpoint =
            views_db::checkpoint(&mut transaction, NAME).await.map_err(unavailable)?;
        let filled_to =
            views_db::checkpoint(&mut transaction, REBUILD).await.map_err(unavailable)?;
        if filled_to < live_checkpoint {
            return Ok(false);
        }
        tables::point(&mut transaction, NAME, filled_to, beside).await.map_err(unavailable)?;
        self.forget_caches();
        rows::adopt_quarantine(&mut transaction).await?;
        sqlx::query("DELETE FROM checkpoints WHERE name = ?")
            .bind(REBUILD)
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        // Read it again if the future is dropped before the commit is confirmed.
        self.tables.store(0, Ordering::Release);
        transaction.commit().await.map_err(unavailable)?;
        crate::failpoints::reach("store::views::swap::after");
        // The old tables stay until the next rebuild or start: a list may be reading from them.
        self.tables.store(beside.0, Ordering::Release);
        self.known.set(filled_to);
        Ok(true)
    }
}
