//! The read model `entities`, with `operations` in the same transaction. An entity's row holds the folded
//! aggregate as JSON, so that it is a snapshot too.
//!
//! - `tables`: versioned tables and the pointer to the live ones
//! - `apply`: a batch of events; `rows`: reading and writing rows; `query`: what lists come from

mod apply;
mod query;
mod rows;
pub(super) mod tables;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use sqlx::SqliteConnection;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::Position;
use stateward_domain::ports::read_model::{ModelError, Quarantined, ReadModel};

use super::derived::{self, Derived, begin};
use super::error::message;
use tables::Tables;

/// Name of the model and of its checkpoint.
const NAME: &str = "entities";
/// Checkpoint of an instance that is being rebuilt.
const BESIDE: &str = "entities@beside";
/// Streams that the model passes over on purpose: they concern no entity.
const IGNORED: &[&str] = &[StreamId::BACKEND, StreamId::ACCESS, StreamId::SYSTEM];

/// The live model, or one that is being rebuilt beside it.
pub struct Entities {
    file: Arc<Derived>,
    /// Its checkpoint's name.
    checkpoint: &'static str,
    /// Number of its tables; 0 = not read yet.
    tables: AtomicI64,
}

fn unavailable(error: sqlx::Error) -> ModelError {
    ModelError::Unavailable(message(&error))
}

impl Entities {
    pub(super) fn new(file: Arc<Derived>) -> Self {
        Self { file, checkpoint: NAME, tables: AtomicI64::new(0) }
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
}

#[async_trait]
impl ReadModel for Entities {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn checkpoint(&self) -> Result<Position, ModelError> {
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        derived::checkpoint(&mut connection, self.checkpoint).await.map_err(unavailable)
    }

    async fn apply(
        &self,
        from: Position,
        to: Position,
        events: &[Recorded],
    ) -> Result<(), ModelError> {
        let mut writer = self.file.writer().await;
        crate::crash::point("store::views::apply::before");
        let tables = self.tables(&mut writer).await?;
        let mut transaction = begin(&mut writer).await.map_err(unavailable)?;
        let swapped = derived::compare_and_swap(&mut transaction, self.checkpoint, from, to).await;
        if let Err(actual) = swapped.map_err(unavailable)? {
            return Err(ModelError::CheckpointMoved { actual });
        }
        let set_aside = rows::set_aside(&mut transaction, self.checkpoint).await?;
        let events = events.iter().filter(|event| !set_aside.contains(&event.stream.to_string()));
        apply::apply(&mut transaction, tables, &events.collect::<Vec<_>>()).await?;
        transaction.commit().await.map_err(unavailable)?;
        crate::crash::point("store::views::apply::after");
        Ok(())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, ModelError> {
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        rows::quarantined(&mut connection, self.checkpoint).await
    }

    async fn quarantine(&self, entry: Quarantined) -> Result<(), ModelError> {
        let mut writer = self.file.writer().await;
        rows::quarantine(&mut writer, self.checkpoint, &entry).await
    }

    async fn retry(&self, stream: &str, events: &[Recorded]) -> Result<(), ModelError> {
        let mut writer = self.file.writer().await;
        let tables = self.tables(&mut writer).await?;
        let mut transaction = begin(&mut writer).await.map_err(unavailable)?;
        rows::forget(&mut transaction, tables, self.checkpoint, stream).await?;
        apply::apply(&mut transaction, tables, &events.iter().collect::<Vec<_>>()).await?;
        transaction.commit().await.map_err(unavailable)
    }

    async fn begin_rebuild(&self) -> Result<Box<dyn ReadModel>, ModelError> {
        let mut writer = self.file.writer().await;
        crate::crash::point("store::views::rebuild::before");
        let live = self.tables(&mut writer).await?;
        let mut transaction = begin(&mut writer).await.map_err(unavailable)?;
        tables::drop_all_but(&mut transaction, Some(live)).await.map_err(unavailable)?;
        let beside = live.next();
        beside.create(&mut transaction).await.map_err(unavailable)?;
        let start = Position::START;
        tables::point(&mut transaction, BESIDE, start, beside).await.map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
        crate::crash::point("store::views::rebuild::after");
        let file = Arc::clone(&self.file);
        Ok(Box::new(Self { file, checkpoint: BESIDE, tables: AtomicI64::new(beside.0) }))
    }

    async fn swap(&self) -> Result<bool, ModelError> {
        let mut writer = self.file.writer().await;
        crate::crash::point("store::views::swap::before");
        let live = self.tables(&mut writer).await?;
        let mut transaction = begin(&mut writer).await.map_err(unavailable)?;
        let stands = derived::checkpoint(&mut transaction, NAME).await.map_err(unavailable)?;
        let rebuilt = derived::checkpoint(&mut transaction, BESIDE).await.map_err(unavailable)?;
        if rebuilt < stands {
            return Ok(false);
        }
        let beside = live.next();
        tables::point(&mut transaction, NAME, rebuilt, beside).await.map_err(unavailable)?;
        rows::adopt_quarantine(&mut transaction).await?;
        sqlx::query("DELETE FROM checkpoints WHERE name = ?")
            .bind(BESIDE)
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
        crate::crash::point("store::views::swap::after");
        // The old tables stay until the next rebuild or start: a list may just be read from them.
        self.tables.store(beside.0, Ordering::Release);
        Ok(true)
    }
}
