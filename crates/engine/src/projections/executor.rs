//! The executor: a projection from the log to the sync queue. Its rows are a function of the log, so the queue can be
//! deleted and replayed. It decides nothing and calls no backend.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::next_work::Work;
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::references::{self, Purpose};
use stateward_domain::entity::state::{BlockedOn, Manifest};
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EntityId, Position, Version};
use stateward_domain::ports::event_store::EventStore;
use stateward_domain::ports::projection::{ModelError, Projection, Quarantined};
use stateward_domain::ports::sync_queue::{QueueChange, SyncQueue};
use stateward_domain::time::Timestamp;
use tokio::sync::Mutex as AsyncMutex;

use crate::entity_repository::EntityRepository;
use crate::projections::dependent_cache::DependentCache;
use crate::projections::failure::{if_readable, poisoned, queue_error, unavailable};
use crate::projections::runner::BATCH;
use crate::projections::triggers::{Triggers, backend_wake_up};

#[cfg(test)]
mod tests;

/// Delay before an entity that was just blocked is retried when its dependency is already in sync.
const DEPENDENCY_RETRY: Duration = Duration::from_secs(1);
/// Changes per write: an entity may have any number of dependents, and other writers wait for the queue too.
const CHANGES_MAX: usize = 1_000;
/// Dependents read at a time.
const DEPENDENTS_PAGE: usize = 1_000;

/// The projection.
pub struct Executor {
    queue: Arc<dyn SyncQueue>,
    entities: EntityRepository,
    /// Whether the queue is known to have no stream in quarantine. A stream that another executor put there since
    /// fails here too.
    none_quarantined: AtomicBool,
    /// Held by a delivery, and by a retry of a quarantined stream.
    delivering: AsyncMutex<()>,
    dependent_cache: Mutex<CacheAt>,
}

/// The dependent cache and the checkpoint up to which it holds: events that another executor applied behind it are not
/// in it.
#[derive(Default)]
struct CacheAt {
    position: Position,
    cache: DependentCache,
}

/// A batch's events of one entity.
struct EntityBatch<'a> {
    events: Vec<&'a Recorded>,
    /// Position of the last event that may change the entity's work; `None` = there is none.
    last: Option<Position>,
}

impl Executor {
    /// Stable name of the projection.
    pub const NAME: &'static str = "sync_queue";

    /// Writes to `queue`.
    #[must_use]
    pub fn new(queue: Arc<dyn SyncQueue>, entities: EntityRepository) -> Self {
        Self {
            queue,
            entities,
            none_quarantined: AtomicBool::new(false),
            delivering: AsyncMutex::default(),
            dependent_cache: Mutex::default(),
        }
    }

    /// Writes the rows of these events and of the dependents that they affect.
    async fn deliver(
        &self,
        cache: &mut DependentCache,
        (from, to): (Position, Position),
        events: &[Recorded],
        quarantined: &HashSet<String>,
    ) -> Result<(), ModelError> {
        if let Some(unknown) = events.iter().find(|event| !event.stream.is_known()) {
            return Err(ModelError::unknown_category(unknown));
        }
        let by_entity = by_entity(events, quarantined);
        let (mut wake_ups, mut folded, mut stale_names) = (Vec::new(), Vec::new(), Vec::new());
        for (&id, batch) in &by_entity {
            let entity = self.fold(id, batch).await?;
            // Writing a row cancels its snooze and wakes dispatchers, so rows whose work cannot have changed are not
            // written.
            let Some(last) = batch.last else { continue };
            let triggers = Triggers::of(&batch.events);
            wake_ups.extend(triggers.wake_ups(&entity, last));
            if triggers.affects_dependents() {
                let name = ClaimKey::name(&entity);
                if cache.is_stale(&name, &entity) {
                    stale_names.push(name);
                }
            }
            folded.push((entity, last));
        }
        wake_ups.extend(events.iter().filter_map(backend_wake_up));

        cache.begin_scan(&stale_names);
        let mut changes = Vec::new();
        for (entity, last) in folded {
            changes.push(self.row(cache, &entity, last, entity.updated_at).await?);
        }
        let at = events.last().map_or(Timestamp::NEVER, |last| last.recorded_at);
        // Entities of this batch are evaluated already.
        let is_evaluated = |id: &EntityId| by_entity.get(id).is_some_and(|it| it.last.is_some());
        let mut page = self.dependents(&stale_names, None).await?;
        while let Some(&last) = page.last() {
            for id in page.into_iter().filter(|id| !is_evaluated(id)) {
                if changes.len() >= CHANGES_MAX {
                    // If the process stops after this write, the batch is applied again: a row is a function of the
                    // log.
                    self.queue.advance(from, from, &changes).await.map_err(queue_error)?;
                    changes.clear();
                }
                let Some(dependent) = if_readable(self.entities.fresh(id).await)? else { continue };
                changes.push(self.row(cache, &dependent, to, at).await?);
            }
            page = self.dependents(&stale_names, Some(last)).await?;
        }
        cache.finish_scan(&stale_names);
        changes.append(&mut wake_ups);
        self.queue.advance(from, to, &changes).await.map(drop).map_err(queue_error)
    }

    /// The next dependents of these names behind `after`, as known from earlier batches. Empty = there are no more.
    async fn dependents(
        &self,
        names: &[ClaimKey],
        after: Option<EntityId>,
    ) -> Result<Vec<EntityId>, ModelError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let page = self.queue.dependents(names, after, DEPENDENTS_PAGE).await;
        Ok(page.map_err(queue_error)?.entities)
    }

    fn cache(&self) -> MutexGuard<'_, CacheAt> {
        self.dependent_cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The streams to leave out, read again before each delivery as long as there are any: another process may have
    /// ended their quarantine.
    async fn quarantined_streams(&self) -> Result<HashSet<String>, ModelError> {
        if self.none_quarantined.load(Ordering::Acquire) {
            return Ok(HashSet::new());
        }
        let entries = self.queue.quarantined().await.map_err(queue_error)?;
        self.none_quarantined.store(entries.is_empty(), Ordering::Release);
        Ok(entries.into_iter().map(|entry| entry.stream).collect())
    }

    /// Writes the rows of a stream in quarantine and ends its quarantine. No delivery of this process is under way
    /// meanwhile: an event that it left out is in the rows, and one after them is delivered again.
    ///
    /// # Errors
    /// [`ModelError::Poisoned`] when the stream still cannot be folded, [`ModelError::Store`]: it stays in
    /// quarantine. [`ModelError::CheckpointMoved`] when another executor is at work: repeat the call.
    pub async fn retry(&self, log: &dyn EventStore, stream: &StreamId) -> Result<(), ModelError> {
        let _delivering = self.delivering.lock().await;
        let mut after = Version::default();
        loop {
            let page = log.read_stream(stream, after, BATCH).await;
            let page = page.map_err(|error| unavailable(error.into()))?;
            let Some(last) = page.last() else { break };
            after = last.version;
            let at = self.queue.checkpoint().await.map_err(queue_error)?;
            let cache = &mut DependentCache::default();
            self.deliver(cache, (at, at), &page, &HashSet::new()).await?;
        }
        // Dependents were evaluated with other values than the cache has.
        self.cache().cache = DependentCache::default();
        self.queue.end_quarantine(&stream.to_string()).await.map_err(queue_error)
    }

    async fn fold(&self, id: EntityId, batch: &EntityBatch<'_>) -> Result<Arc<Entity>, ModelError> {
        let folded = self.entities.fold_with(id, &batch.events).await;
        folded.map_err(|error| poisoned(batch.events[0], error))
    }

    /// The entity's queue row as of the event at `position`, recorded at `at`.
    async fn row(
        &self,
        cache: &mut DependentCache,
        entity: &Entity,
        position: Position,
        at: Timestamp,
    ) -> Result<QueueChange, ModelError> {
        if !entity.is_tracked() {
            return Ok(QueueChange::Remove(entity.id));
        }
        let work = match entity.work() {
            Some(work) => Some(work),
            None if self.is_outdated(cache, entity).await? => entity.work_of_references(at),
            None => None,
        };
        let work = match work {
            Some(work) => Some(Work { due: self.due(cache, entity, &work).await?, ..work }),
            None => None,
        };
        let row = entity.queue_row(work, position);
        Ok(row.map_or(QueueChange::Remove(entity.id), QueueChange::Put))
    }

    /// When the work is due. What the entity waits for may have happened before the wait was recorded: then it is due
    /// now.
    async fn due(
        &self,
        cache: &mut DependentCache,
        entity: &Entity,
        work: &Work,
    ) -> Result<Timestamp, ModelError> {
        let Some(blocked) = entity.blocked.as_ref().filter(|_| work.waits_for.is_some()) else {
            return Ok(work.due);
        };
        let since = match &blocked.on {
            // Not at once: a driver that keeps reporting the same dependency would cause a busy loop.
            BlockedOn::Entity(on) => {
                let on = if_readable(self.entities.fresh(*on).await)?.filter(|on| on.synced());
                on.map(|_| blocked.since.after(DEPENDENCY_RETRY))
            }
            BlockedOn::Reference(on) => {
                self.has_value(cache, entity, on).await?.then_some(blocked.since)
            }
            BlockedOn::InUse(by) => {
                let name = ClaimKey::name(entity);
                let by = if_readable(self.entities.fresh(*by).await)?;
                let let_go = by.filter(|by| !by.dependency_names().contains(&name));
                let_go.map(|_| blocked.since)
            }
            _ => None,
        };
        Ok(since.map_or(work.due, |since| work.due.min(since)))
    }

    /// Whether an entity without other work has to follow changed reference values, or to record that one is lost.
    async fn is_outdated(
        &self,
        cache: &mut DependentCache,
        entity: &Entity,
    ) -> Result<bool, ModelError> {
        if !entity.follows_references() {
            return Ok(false);
        }
        let Manifest { namespace, desired, .. } = &entity.manifest;
        let found = references::declared(desired);
        let targets =
            self.entities.reference_targets(namespace, &found).await.map_err(unavailable)?;
        let newest = |of: &Target| targets.get(of).and_then(Option::as_deref);
        cache.record(namespace, &found, newest);
        Ok(match references::values(&found, Purpose::Use, newest) {
            Ok(values) => entity.is_outdated(&values),
            Err(waiting) => waiting.why.is_loss(),
        })
    }

    /// Whether every reference of `entity` to `target` has a value, and its creation does not wait for it.
    async fn has_value(
        &self,
        cache: &mut DependentCache,
        entity: &Entity,
        target: &Target,
    ) -> Result<bool, ModelError> {
        let Manifest { namespace, desired, .. } = &entity.manifest;
        let other = if_readable(self.entities.by_name(namespace, target).await)?.flatten();
        let mut found = references::declared(desired);
        found.retain(|reference| reference.target == *target);
        cache.record(namespace, &found, |_| other.as_deref());
        let values = references::values(&found, Purpose::Use, |_| other.as_deref());
        Ok(values.is_ok() && !entity.awaits(target, other.as_deref()))
    }
}

fn by_entity<'a>(
    events: &'a [Recorded],
    quarantined: &HashSet<String>,
) -> BTreeMap<EntityId, EntityBatch<'a>> {
    let mut by_entity = BTreeMap::new();
    for event in events {
        let Some(id) = event.stream.entity_id() else { continue };
        if quarantined.contains(&event.stream.to_string()) {
            continue;
        }
        let entry =
            by_entity.entry(id).or_insert_with(|| EntityBatch { events: Vec::new(), last: None });
        entry.events.push(event);
        if !EntityEvent::is_mere_record(&event.event_type, event.schema_version) {
            entry.last = Some(event.position);
        }
    }
    by_entity
}

#[async_trait]
impl Projection for Executor {
    fn name(&self) -> &'static str {
        Executor::NAME
    }

    async fn checkpoint(&self) -> Result<Position, ModelError> {
        self.queue.checkpoint().await.map_err(queue_error)
    }

    async fn advanced_past(&self, position: Position) {
        self.queue.advanced_past(position).await;
    }

    async fn apply(
        &self,
        from: Position,
        to: Position,
        events: &[Recorded],
    ) -> Result<(), ModelError> {
        let _delivering = self.delivering.lock().await;
        let quarantined = self.quarantined_streams().await?;
        // Restore the cache only after the batch committed: values recorded by an aborted batch never reached the
        // queue.
        let known = std::mem::take(&mut *self.cache());
        // Values may have changed, and changed back, in events that another executor applied.
        let mut cache =
            if known.position == from { known.cache } else { DependentCache::default() };
        self.deliver(&mut cache, (from, to), events, &quarantined).await?;
        *self.cache() = CacheAt { position: to, cache };
        Ok(())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, ModelError> {
        self.queue.quarantined().await.map_err(queue_error)
    }

    async fn quarantine(&self, entry: Quarantined) -> Result<(), ModelError> {
        self.none_quarantined.store(false, Ordering::Release);
        self.queue.quarantine(&entry).await.map_err(queue_error)
    }
}
