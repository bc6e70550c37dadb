//! The read models `entities` and `operations` in memory; `tables`: their rows and indexes; `lists`: queries.

mod lists;
mod tables;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EntityId, Position};
use stateward_domain::ports::projection::{ModelError, Projection, Quarantined};
use stateward_domain::ports::read_model::{EntityRow, ReadModel};
use stateward_domain::ports::store_error::StoreError;
use tokio::sync::RwLock;

use crate::shared::hints::KnownCheckpoint;
use crate::shared::views::fold::{self, ApplyMode};
use crate::shared::views::labels_and_counts::Group;
use crate::shared::views::page::SCANNED_MAX;
use crate::shared::views::row_cache::RowCache;
use tables::Tables;

/// The live read model, or a rebuild of it, in memory.
pub struct MemoryViews {
    instances: Arc<RwLock<Instances>>,
    known: KnownCheckpoint,
    /// Whether it is the rebuild.
    beside: bool,
    /// Rows that are tested for one page, at most, where no index serves the whole filter.
    scanned_max: usize,
}

/// The live model, and the rebuild that has begun.
#[derive(Default)]
struct Instances {
    live: Instance,
    beside: Option<Instance>,
}

#[derive(Default)]
struct Instance {
    checkpoint: Position,
    /// By stream.
    quarantined: BTreeMap<String, Quarantined>,
    tables: Tables,
}

impl Default for MemoryViews {
    fn default() -> Self {
        Self::of(Arc::default(), false)
    }
}

impl MemoryViews {
    fn of(instances: Arc<RwLock<Instances>>, beside: bool) -> Self {
        Self { instances, known: KnownCheckpoint::default(), beside, scanned_max: SCANNED_MAX }
    }
}

/// A part of the live model, of one moment.
pub(super) struct StoredViews {
    pub(super) checkpoint: Position,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) rows: Vec<(EntityRow, Vec<OperationRow>)>,
    /// The last entity of a full page; `None` = there are no more.
    pub(super) until: Option<EntityId>,
}

/// What an audit reads.
impl MemoryViews {
    /// Entities behind `after`, at most `limit`.
    pub(super) async fn stored(&self, after: Option<EntityId>, limit: usize) -> StoredViews {
        let instances = self.instances.read().await;
        let Instance { checkpoint, quarantined, tables } = &instances.live;
        let rows = tables.after(after, limit);
        StoredViews {
            checkpoint: *checkpoint,
            quarantined: quarantined.values().cloned().collect(),
            until: rows.last().filter(|_| rows.len() == limit).map(|(row, _)| row.entity.id),
            rows,
        }
    }

    pub(super) async fn counts_and_those_of_rows(
        &self,
    ) -> (BTreeMap<Group, i64>, BTreeMap<Group, i64>) {
        self.instances.read().await.live.tables.counts_and_those_of_rows()
    }
}

impl Instances {
    /// The rebuild, or the live model; `None` = the rebuild was swapped.
    const fn of(&self, beside: bool) -> Option<&Instance> {
        if beside { self.beside.as_ref() } else { Some(&self.live) }
    }

    const fn of_mut(&mut self, beside: bool) -> Option<&mut Instance> {
        if beside { self.beside.as_mut() } else { Some(&mut self.live) }
    }
}

fn no_rebuild() -> ModelError {
    StoreError::unavailable("the rebuild was swapped").into()
}

#[async_trait]
impl Projection for MemoryViews {
    fn name(&self) -> &'static str {
        "entities"
    }

    async fn checkpoint(&self) -> Result<Position, ModelError> {
        let instances = self.instances.read().await;
        Ok(instances.of(self.beside).map_or(Position::START, |instance| instance.checkpoint))
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
        let mut instances = self.instances.write().await;
        let instance = instances.of_mut(self.beside);
        let actual = instance.as_ref().map_or(Position::START, |instance| instance.checkpoint);
        if actual != from {
            return Err(ModelError::CheckpointMoved { actual });
        }
        let Instance { checkpoint, quarantined, tables } = instance.ok_or_else(no_rebuild)?;
        let aside = |event: &&Recorded| quarantined.contains_key(&event.stream.to_string());
        let events: Vec<_> = events.iter().filter(|event| !aside(event)).collect();
        fold::apply(tables, &no_cache(), &events, ApplyMode::Checked).await?;
        *checkpoint = to;
        self.known.set(to);
        Ok(())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, ModelError> {
        let instances = self.instances.read().await;
        let instance = instances.of(self.beside);
        Ok(instance.map_or_else(Vec::new, |one| one.quarantined.values().cloned().collect()))
    }

    async fn quarantine(&self, entry: Quarantined) -> Result<(), ModelError> {
        let mut instances = self.instances.write().await;
        let instance = instances.of_mut(self.beside).ok_or_else(no_rebuild)?;
        instance.quarantined.insert(entry.stream.clone(), entry);
        Ok(())
    }
}

#[async_trait]
impl ReadModel for MemoryViews {
    async fn retry(&self, stream: &str, events: &[Recorded]) -> Result<(), ModelError> {
        let mut instances = self.instances.write().await;
        let instance = instances.of_mut(self.beside).ok_or_else(no_rebuild)?;
        let entity = stream.parse::<StreamId>().ok().and_then(|stream| stream.entity_id());
        let before = entity.and_then(|entity| instance.tables.take(entity));
        let events: Vec<_> = events.iter().collect();
        let applied =
            fold::apply(&mut instance.tables, &no_cache(), &events, ApplyMode::Checked).await;
        if let Err(error) = applied {
            // Nothing was saved.
            if let Some(rows) = before {
                instance.tables.put(rows);
            }
            return Err(error);
        }
        instance.quarantined.remove(stream);
        Ok(())
    }

    async fn begin_rebuild(&self) -> Result<Box<dyn ReadModel>, ModelError> {
        self.instances.write().await.beside = Some(Instance::default());
        Ok(Box::new(Self::of(Arc::clone(&self.instances), true)))
    }

    async fn swap(&self) -> Result<bool, ModelError> {
        let mut instances = self.instances.write().await;
        let live = instances.live.checkpoint;
        let Some(rebuilt) = instances.beside.take_if(|beside| beside.checkpoint >= live) else {
            return Ok(false);
        };
        self.known.set(rebuilt.checkpoint);
        instances.live = rebuilt;
        Ok(true)
    }
}

/// The tables are in memory themselves.
fn no_cache() -> Mutex<RowCache> {
    Mutex::default()
}
