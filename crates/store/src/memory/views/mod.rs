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
use stateward_domain::ports::read_model::{EntityRow, ReadModel, Rebuild, RebuildId};
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
    /// Which rebuild it is; `None` = it is the live model.
    rebuild: Option<RebuildId>,
    /// Rows that are tested for one page, at most, where no index serves the whole filter.
    scanned_max: usize,
}

/// The live model, and the rebuild that has begun.
#[derive(Default)]
struct Instances {
    live: Instance,
    beside: Option<(RebuildId, Instance)>,
    /// Number of rebuilds that have begun.
    begun: i64,
    /// The rebuild that made the live model.
    live_since: RebuildId,
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
        Self::of(Arc::default(), None)
    }
}

impl MemoryViews {
    fn of(instances: Arc<RwLock<Instances>>, rebuild: Option<RebuildId>) -> Self {
        Self { instances, known: KnownCheckpoint::default(), rebuild, scanned_max: SCANNED_MAX }
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
    /// The live model, or this rebuild of it.
    ///
    /// # Errors
    /// [`ModelError::StaleRebuild`].
    fn of(&self, rebuild: Option<RebuildId>) -> Result<&Instance, ModelError> {
        let Some(rebuild) = rebuild else { return Ok(&self.live) };
        let beside = self.beside.as_ref().filter(|(id, _)| *id == rebuild);
        beside.map(|(_, instance)| instance).ok_or(ModelError::StaleRebuild)
    }

    /// As [`of`](Self::of).
    fn of_mut(&mut self, rebuild: Option<RebuildId>) -> Result<&mut Instance, ModelError> {
        let Some(rebuild) = rebuild else { return Ok(&mut self.live) };
        let beside = self.beside.as_mut().filter(|(id, _)| *id == rebuild);
        beside.map(|(_, instance)| instance).ok_or(ModelError::StaleRebuild)
    }
}

#[async_trait]
impl Projection for MemoryViews {
    fn name(&self) -> &'static str {
        "entities"
    }

    async fn checkpoint(&self) -> Result<Position, ModelError> {
        let instances = self.instances.read().await;
        Ok(instances.of(self.rebuild).map_or(Position::START, |instance| instance.checkpoint))
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
        let Instance { checkpoint, quarantined, tables } = instances.of_mut(self.rebuild)?;
        if *checkpoint != from {
            return Err(ModelError::CheckpointMoved { actual: *checkpoint });
        }
        let aside = |event: &&Recorded| quarantined.contains_key(&event.stream.to_string());
        let events: Vec<_> = events.iter().filter(|event| !aside(event)).collect();
        fold::apply(tables, &no_cache(), &events, ApplyMode::Checked).await?;
        *checkpoint = to;
        self.known.set(to);
        Ok(())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, ModelError> {
        let instances = self.instances.read().await;
        let instance = instances.of(self.rebuild);
        Ok(instance.map_or_else(|_| Vec::new(), |one| one.quarantined.values().cloned().collect()))
    }

    async fn quarantine(&self, entry: Quarantined) -> Result<(), ModelError> {
        let mut instances = self.instances.write().await;
        let instance = instances.of_mut(self.rebuild)?;
        instance.quarantined.insert(entry.stream.clone(), entry);
        Ok(())
    }
}

#[async_trait]
impl ReadModel for MemoryViews {
    async fn retry(&self, stream: &str, events: &[Recorded]) -> Result<(), ModelError> {
        let mut instances = self.instances.write().await;
        let instance = instances.of_mut(self.rebuild)?;
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

    async fn begin_rebuild(&self) -> Result<Rebuild, ModelError> {
        let mut instances = self.instances.write().await;
        instances.begun += 1;
        let id = RebuildId(instances.begun);
        instances.beside = Some((id, Instance::default()));
        let model = Box::new(Self::of(Arc::clone(&self.instances), Some(id)));
        Ok(Rebuild { id, model })
    }

    async fn live(&self) -> Result<RebuildId, ModelError> {
        Ok(self.instances.read().await.live_since)
    }

    async fn swap(&self, rebuild: RebuildId) -> Result<bool, ModelError> {
        let mut instances = self.instances.write().await;
        if instances.of(Some(rebuild))?.checkpoint < instances.live.checkpoint {
            return Ok(false);
        }
        if let Some((id, rebuilt)) = instances.beside.take() {
            instances.live_since = id;
            self.known.set(rebuilt.checkpoint);
            instances.live = rebuilt;
        }
        Ok(true)
    }
}

/// The tables are in memory themselves.
fn no_cache() -> Mutex<RowCache> {
    Mutex::default()
}
