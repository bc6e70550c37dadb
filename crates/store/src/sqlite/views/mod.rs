//! The read model `entities`, with `operations` in the same transaction. An entity's row holds the folded
//! aggregate as JSON, so that it is a snapshot too.
//!
//! - `tables`: versioned tables and the pointer to the live ones; `index`: their indexes
//! - `apply`: a batch of events; `facts`: what follows from a row; `rows`: reading and writing rows; `recent`: rows in memory
//! - `query`: lists; `plan`: which index serves a filter; `select`: the statement for that

mod apply;
mod index;
mod labels_and_counts;
mod plan;
mod query;
mod row_cache;
pub(super) mod rows;
mod select;
pub(super) mod tables;

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sqlx::SqliteConnection;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::Position;
use stateward_domain::ports::read_model::{ModelError, Quarantined, ReadModel};

use crate::sqlite::error::message;
use crate::sqlite::transaction::Writer;
use crate::sqlite::views_db::{self, Derived, begin};
use apply::Begun;
use row_cache::{Recent, Rows};
use tables::Tables;

/// Name of the model and of its checkpoint.
const NAME: &str = "entities";
/// Checkpoint of an instance that is being rebuilt.
const BESIDE: &str = "entities@beside";
/// Rows that are looked at for one page at most: about three times what a full page takes.
const SCANNED_MAX: usize = 2_000;
/// Streams that the model passes over on purpose: they concern no entity.
const IGNORED: &[&str] = &[StreamId::BACKEND, StreamId::ACCESS, StreamId::SYSTEM];

/// The live model, or one that is being rebuilt beside it.
pub struct Entities {
    file: Arc<Derived>,
    /// Its checkpoint's name.
    checkpoint: &'static str,
    /// Rows that are looked at for one page, at most, where no index serves the whole filter.
    scanned_max: usize,
    /// Number of its tables; 0 = not read yet.
    tables: AtomicI64,
    /// Streams that it passes over; `None` = to be read. Only touched by who holds the writer.
    set_aside: Mutex<Option<Arc<HashSet<String>>>>,
    /// As `set_aside`.
    recent: Mutex<Recent>,
}

/// Events behind a checkpoint.
struct Delivery<'a> {
    tables: Tables,
    from: Position,
    to: Position,
    events: &'a [&'a Recorded],
}

pub(super) fn unavailable(error: sqlx::Error) -> ModelError {
    ModelError::Unavailable(message(&error))
}

impl Entities {
    pub(super) fn new(file: Arc<Derived>) -> Self {
        Self::of(file, NAME, Tables(0))
    }

    fn of(file: Arc<Derived>, checkpoint: &'static str, tables: Tables) -> Self {
        let tables = AtomicI64::new(tables.0);
        Self {
            file,
            checkpoint,
            scanned_max: SCANNED_MAX,
            tables,
            set_aside: Mutex::default(),
            recent: Mutex::default(),
        }
    }

    pub(super) async fn close(&self) {
        self.file.close().await;
    }

    /// The tables, if they were read before: without a connection.
    fn known(&self) -> Option<Tables> {
        Some(self.tables.load(Ordering::Acquire)).filter(|number| *number != 0).map(Tables)
    }

    async fn tables(&self, connection: &mut SqliteConnection) -> Result<Tables, ModelError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let live = tables::live(connection).await.map_err(unavailable)?;
        let live = live.ok_or_else(|| ModelError::Unavailable("no tables".to_owned()))?;
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

    /// Writes a delivery whole or not at all; the rows as they are then.
    async fn write(
        &self,
        writer: &mut Writer,
        delivery: &Delivery<'_>,
        begun: Begun,
    ) -> Result<Rows, ModelError> {
        let Delivery { tables, from, to, events } = delivery;
        writer.tidy().await;
        self.recent().stand_at(*from);
        let mut script = writer.script();
        views_db::compare_and_swap(&mut script, self.checkpoint, *from, *to);
        let rows = apply::apply(&mut script, *tables, &self.recent, events, begun).await?;
        script.commit().await.map_err(|broke| unavailable(broke.into()))?;
        Ok(rows)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is known of the tables: they are about to be changed by more than a delivery.
    fn forget(&self) {
        *self.set_aside.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.recent().clear();
    }
}

#[async_trait]
impl ReadModel for Entities {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn checkpoint(&self) -> Result<Position, ModelError> {
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        views_db::checkpoint(&mut connection, self.checkpoint).await.map_err(unavailable)
    }

    async fn apply(
        &self,
        from: Position,
        to: Position,
        events: &[Recorded],
    ) -> Result<(), ModelError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::views::apply::before");
        let tables = self.tables(&mut writer).await?;
        let set_aside = self.set_aside(&mut writer).await?;
        let aside = |event: &&Recorded| set_aside.contains(&event.stream.to_string());
        let events: Vec<_> = if set_aside.is_empty() {
            events.iter().collect()
        } else {
            events.iter().filter(|event| !aside(event)).collect()
        };
        let delivery = Delivery { tables, from, to, events: &events };
        let mut written = self.write(&mut writer, &delivery, Begun::Assumed).await;
        if matches!(written, Err(ModelError::Unavailable(_))) {
            self.recent().clear();
            written = self.write(&mut writer, &delivery, Begun::LookedUp).await;
        }
        match written {
            Ok(rows) => self.recent().put(to, rows),
            Err(error) => {
                self.recent().clear();
                // The caller may have been wrong about where it stands; that is what it has to hear then.
                let moved = views_db::moved(&mut writer, self.checkpoint, from).await;
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
        rows::quarantined(&mut connection, self.checkpoint).await
    }

    async fn quarantine(&self, entry: Quarantined) -> Result<(), ModelError> {
        let mut writer = self.file.writer().await;
        self.forget();
        rows::quarantine(&mut writer, self.checkpoint, &entry).await
    }

    async fn retry(&self, stream: &str, events: &[Recorded]) -> Result<(), ModelError> {
        let mut writer = self.file.writer().await;
        let tables = self.tables(&mut writer).await?;
        self.forget();
        let mut script = writer.script();
        rows::forget(&mut script, tables, self.checkpoint, stream);
        // What is read next must not be there any more.
        script.run().await.map_err(unavailable)?;
        let (events, begun): (Vec<_>, _) = (events.iter().collect(), Begun::LookedUp);
        if let Err(error) = apply::apply(&mut script, tables, &self.recent, &events, begun).await {
            writer.tidy().await;
            return Err(error);
        }
        script.commit().await.map(drop).map_err(|broke| unavailable(broke.into()))
    }

    async fn begin_rebuild(&self) -> Result<Box<dyn ReadModel>, ModelError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::views::rebuild::before");
        let live = self.tables(&mut writer).await?;
        let mut transaction = begin(&mut writer).await.map_err(unavailable)?;
        tables::drop_all_but(&mut transaction, Some(live)).await.map_err(unavailable)?;
        let beside = live.next();
        beside.create(&mut transaction).await.map_err(unavailable)?;
        let start = Position::START;
        tables::point(&mut transaction, BESIDE, start, beside).await.map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
        crate::failpoints::reach("store::views::rebuild::after");
        let file = Arc::clone(&self.file);
        Ok(Box::new(Self::of(file, BESIDE, beside)))
    }

    async fn swap(&self) -> Result<bool, ModelError> {
        let mut writer = self.file.writer().await;
        crate::failpoints::reach("store::views::swap::before");
        let live = self.tables(&mut writer).await?;
        let mut transaction = begin(&mut writer).await.map_err(unavailable)?;
        let stands = views_db::checkpoint(&mut transaction, NAME).await.map_err(unavailable)?;
        let rebuilt = views_db::checkpoint(&mut transaction, BESIDE).await.map_err(unavailable)?;
        if rebuilt < stands {
            return Ok(false);
        }
        let beside = live.next();
        tables::point(&mut transaction, NAME, rebuilt, beside).await.map_err(unavailable)?;
        self.forget();
        rows::adopt_quarantine(&mut transaction).await?;
        sqlx::query("DELETE FROM checkpoints WHERE name = ?")
            .bind(BESIDE)
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        // To be read anew, should nobody be there any more to hear of the commit.
        self.tables.store(0, Ordering::Release);
        transaction.commit().await.map_err(unavailable)?;
        crate::failpoints::reach("store::views::swap::after");
        // The old tables stay until the next rebuild or start: a list may just be read from them.
        self.tables.store(beside.0, Ordering::Release);
        Ok(true)
    }
}
