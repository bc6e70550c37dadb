//! The read model `entities`, with `operations` in the same statement. An entity's row holds the folded aggregate as JSON.
//!
//! - `tables`: numbered tables with their indexes, and the pointer to the live ones; `rows`: reading and writing rows
//! - `query`: lists; `select`: the statement of a plan
//!
//! Any number of processes may deliver to it: a delivery writes only where the pointer is still what it read.

mod query;
mod rows;
mod select;
pub(super) mod tables;

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::Position;
use stateward_domain::ports::projection::{ModelError, Projection, Quarantined};
use stateward_domain::ports::read_model::{ReadModel, Rebuild, RebuildId};
use stateward_domain::ports::store_error::StoreError;

use self::rows::{Purpose, TablesInStatement};
#[cfg(test)]
pub(crate) use self::tables::SHAPE;
use self::tables::{NAME, Pointer, REBUILD};
use super::connect::Database;
use super::shared_checkpoint::SharedCheckpoint;
use super::views_db::ViewsDb;
use crate::shared::views::fold::{self, ApplyMode};
use crate::shared::views::row_cache::{CachedRows, RowCache};

/// Tries of a call that met another's change of the pointer.
const TRIES: usize = 8;

/// The live read model of a database, or a rebuild of it. Cheap calls read the pointer to its tables first: another
/// process may have swapped them.
pub struct Entities {
    db: ViewsDb,
    /// Name of its checkpoint.
    name: &'static str,
    /// Which rebuild it is; `None` = it is the live model.
    rebuild: Option<RebuildId>,
    shared_checkpoint: SharedCheckpoint,
    /// Held by the one delivery of this process, so that the cached rows are those of one checkpoint.
    delivering: tokio::sync::Mutex<()>,
    /// Rows written recently.
    row_cache: Mutex<RowCache>,
    /// Tables and changes of the pointer that the cached rows belong to.
    cached_of: Mutex<(i64, i64)>,
}

impl Entities {
    /// The read model of `database`, whose tables are made unless they are there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; nothing was changed.
    pub async fn open(database: Database) -> Result<Self, StoreError> {
        let db = ViewsDb::new(database);
        tables::prepare(&db.database).await?;
        Ok(Self::of(db, NAME, None))
    }

    fn of(db: ViewsDb, name: &'static str, rebuild: Option<RebuildId>) -> Self {
        Self {
            db,
            name,
            rebuild,
            shared_checkpoint: SharedCheckpoint::new(name),
            delivering: tokio::sync::Mutex::default(),
            row_cache: Mutex::default(),
            cached_of: Mutex::default(),
        }
    }

    /// # Errors
    /// [`ModelError::StaleRebuild`]; [`ModelError::Store`].
    async fn pointer(&self) -> Result<Pointer, ModelError> {
        let pointer = Pointer::read(&self.db, self.name).await?;
        let Some(RebuildId(tables)) = self.rebuild else { return pointer.ok_or_else(no_tables) };
        pointer.filter(|pointer| pointer.tables == tables).ok_or(ModelError::StaleRebuild)
    }

    fn row_cache(&self) -> MutexGuard<'_, RowCache> {
        self.row_cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears the cached rows unless they are those of `pointer`.
    fn keep_cached_of(&self, pointer: &Pointer) {
        let now = (pointer.tables, pointer.changes);
        let mut cached_of = self.cached_of.lock().unwrap_or_else(PoisonError::into_inner);
        if *cached_of != now {
            self.row_cache().clear();
            *cached_of = now;
        }
        self.row_cache().clear_unless_at(pointer.position);
    }

    /// Writes a delivery; `None` = the pointer is elsewhere, and nothing was written.
    async fn write(
        &self,
        pointer: &Pointer,
        to: Position,
        events: &[&Recorded],
        mode: ApplyMode,
    ) -> Result<Option<CachedRows>, ModelError> {
        self.keep_cached_of(pointer);
        let purpose = Purpose::Delivery(to);
        let mut tables =
            TablesInStatement { db: &self.db, name: self.name, pointer, purpose, written: false };
        let rows = fold::apply(&mut tables, &self.row_cache, events, mode).await?;
        Ok(tables.written.then_some(rows))
    }
}

fn no_tables() -> ModelError {
    StoreError::unavailable("the read model has no tables").into()
}

/// The error of a call that met changes of others each time.
fn contended() -> ModelError {
    StoreError::unavailable("other processes change the read model").into()
}

#[async_trait]
impl Projection for Entities {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn checkpoint(&self) -> Result<Position, ModelError> {
        Ok(self.db.checkpoint(self.name).await?)
    }

    async fn advanced_past(&self, position: Position) {
        self.shared_checkpoint.reached(&self.db, position, || {}).await;
    }

    async fn apply(
        &self,
        from: Position,
        to: Position,
        events: &[Recorded],
    ) -> Result<(), ModelError> {
        let _one = self.delivering.lock().await;
        crate::failpoints::reach("store::views::apply::before");
        let mut mode = ApplyMode::Optimistic;
        for _ in 0..TRIES {
            let pointer = self.pointer().await?;
            if pointer.position != from {
                return Err(ModelError::CheckpointMoved { actual: pointer.position });
            }
            let aside = |event: &&Recorded| pointer.set_aside.contains(&event.stream.to_string());
            let events: Vec<_> = if pointer.set_aside.is_empty() {
                events.iter().collect()
            } else {
                events.iter().filter(|event| !aside(event)).collect()
            };
            match self.write(&pointer, to, &events, mode).await {
                Ok(Some(rows)) => {
                    self.row_cache().put(to, rows);
                    crate::failpoints::reach("store::views::apply::after");
                    self.shared_checkpoint.moved(&self.db, to);
                    return Ok(());
                }
                Ok(None) => self.row_cache().clear(),
                // Perhaps a row was there, or the tables were dropped.
                Err(ModelError::Store(_)) if mode == ApplyMode::Optimistic => {
                    self.row_cache().clear();
                    mode = ApplyMode::Checked;
                }
                Err(error) => {
                    self.row_cache().clear();
                    // The caller's checkpoint may be stale; then that is the error to report.
                    let actual = self.checkpoint().await?;
                    let moved = ModelError::CheckpointMoved { actual };
                    return Err(if actual == from { error } else { moved });
                }
            }
        }
        Err(contended())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, ModelError> {
        Ok(self.db.quarantined(self.name).await?)
    }

    async fn quarantine(&self, entry: Quarantined) -> Result<(), ModelError> {
        self.pointer().await?;
        Ok(self.db.quarantine(self.name, &entry).await?)
    }
}

#[async_trait]
impl ReadModel for Entities {
    async fn retry(&self, stream: &str, events: &[Recorded]) -> Result<(), ModelError> {
        let entity = stream
            .split_once('/')
            .map(|(category, id)| StreamId { category: category.to_owned(), id: id.to_owned() })
            .and_then(|stream| stream.entity_id());
        let events: Vec<_> = events.iter().collect();
        for _ in 0..TRIES {
            let pointer = self.pointer().await?;
            let purpose = Purpose::Retry { stream, entity };
            let (db, name) = (&self.db, self.name);
            let mut tables =
                TablesInStatement { db, name, pointer: &pointer, purpose, written: false };
            // Its rows are those of the history alone.
            let nothing = Mutex::default();
            fold::apply(&mut tables, &nothing, &events, ApplyMode::Checked).await?;
            if tables.written {
                return Ok(());
            }
        }
        Err(contended())
    }

    async fn begin_rebuild(&self) -> Result<Rebuild, ModelError> {
        crate::failpoints::reach("store::views::rebuild::before");
        let id = RebuildId(tables::begin_rebuild(&self.db).await?);
        crate::failpoints::reach("store::views::rebuild::after");
        Ok(Rebuild { id, model: Box::new(Self::of(self.db.clone(), REBUILD, Some(id))) })
    }

    async fn live(&self) -> Result<RebuildId, ModelError> {
        let pointer = Pointer::read(&self.db, NAME).await?;
        Ok(RebuildId(pointer.ok_or_else(no_tables)?.tables))
    }

    async fn swap(&self, rebuild: RebuildId) -> Result<bool, ModelError> {
        crate::failpoints::reach("store::views::swap::before");
        let query = sqlx::query_as(tables::SWAP).bind(NAME).bind(REBUILD).bind(rebuild.0);
        let (swapped,): (Option<bool>,) = self.db.database.fetch_one(query).await?;
        crate::failpoints::reach("store::views::swap::after");
        if swapped == Some(true) {
            // Waiters of this process and of others read the checkpoint again.
            self.db.database.checkpoint_hints().moved.notify_one();
            self.db.database.checkpoint_hints().hear();
        }
        // The old tables stay until the next rebuild: a list may be reading from them.
        swapped.ok_or(ModelError::StaleRebuild)
    }
}
