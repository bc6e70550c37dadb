//! Repository of folded entities: cached, loaded from the read model's snapshots, caught up from the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use moka::sync::Cache;
use serde_json::Value;
use stateward_domain::document;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::references::{self, Purpose, Reference, Waiting};
use stateward_domain::entity::{Entity, EntityEvent, operation};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EntityId, Namespace, OperationId, Version};
use stateward_domain::ports::event_store::{EventStore, may_have_more};
use stateward_domain::ports::read_model::Views;
use stateward_domain::time::Timestamp;

use crate::error::QueryError;

/// Events read per page when a stream is folded.
const PAGE: usize = 500;

/// Entities as folds of their streams. Cheap to clone.
#[derive(Clone)]
pub struct EntityRepository {
    log: Arc<dyn EventStore>,
    views: Arc<dyn Views>,
    cache: Cache<EntityId, Arc<Entity>>,
}

impl EntityRepository {
    /// Maximum bytes of folds in memory: some 50,000 small entities.
    pub const CACHED_BYTES: u64 = 256 * 1024 * 1024;

    /// Reads from `log`, with snapshots from `views`.
    #[must_use]
    pub fn new(log: Arc<dyn EventStore>, views: Arc<dyn Views>) -> Self {
        let cache = Cache::builder().max_capacity(Self::CACHED_BYTES).weigher(weight).build();
        Self { log, views, cache }
    }

    /// A recent fold, which may be behind the log but never ahead of it. The default entity = not declared.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn recent(&self, id: EntityId) -> Result<Arc<Entity>, QueryError> {
        match self.cache.get(&id) {
            Some(entity) => Ok(entity),
            None => self.fresh(id).await,
        }
    }

    /// The fold of all events in the log at the time of the call. The default entity = not declared.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn fresh(&self, id: EntityId) -> Result<Arc<Entity>, QueryError> {
        let base = match self.cache.get(&id) {
            Some(entity) => entity,
            None => match self.views.entity(id).await {
                Ok(Some(row)) => Arc::new(row.entity),
                // The read model is only an optimisation: without it the whole stream is read.
                Ok(None) | Err(_) => Arc::default(),
            },
        };
        let after = base.version;
        let entity = self.fold_to_head(id, base).await?;
        if entity.version > after || entity.exists() {
            self.remember(&entity);
        }
        Ok(entity)
    }

    /// The [`fresh`](Self::fresh) fold of the entity that has this name in `namespace` and is not deleted; `None` =
    /// there is none.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn by_name(
        &self,
        namespace: &Namespace,
        target: &Target,
    ) -> Result<Option<Arc<Entity>>, QueryError> {
        let key = ClaimKey::name_of(namespace, &target.kind, &target.name);
        let holder = self.log.holder(&key).await?;
        match holder.and_then(|holder| holder.stream.entity_id()) {
            Some(id) => self.fresh(id).await.map(Some),
            None => Ok(None),
        }
    }

    /// The present values of the references in `desired`, by pointer; or the reference that has no value yet.
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn reference_values(
        &self,
        namespace: &Namespace,
        desired: &Value,
        purpose: Purpose,
    ) -> Result<Result<BTreeMap<String, Value>, Waiting>, QueryError> {
        let found = references::declared(desired);
        let targets = self.reference_targets(namespace, &found).await?;
        let newest = |of: &_| targets.get(of).and_then(Option::as_deref);
        Ok(references::values(&found, purpose, newest))
    }

    /// The [`fresh`](Self::fresh) folds of the targets of `references`; `None` = no entity has the name, or its stream
    /// cannot be read, so it has no values.
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn reference_targets(
        &self,
        namespace: &Namespace,
        references: &[Reference],
    ) -> Result<BTreeMap<Target, Option<Arc<Entity>>>, QueryError> {
        let mut targets = BTreeMap::new();
        for target in references::targets(references) {
            let fold = self.readable_by_name(namespace, &target).await?;
            targets.insert(target, fold);
        }
        Ok(targets)
    }

    /// As [`by_name`](Self::by_name); `None` also for an entity whose stream cannot be read.
    ///
    /// # Errors
    /// [`QueryError::Unavailable`].
    pub async fn readable_by_name(
        &self,
        namespace: &Namespace,
        target: &Target,
    ) -> Result<Option<Arc<Entity>>, QueryError> {
        match self.by_name(namespace, target).await {
            Err(QueryError::Unreadable(_)) => Ok(None),
            fold => fold,
        }
    }

    /// The fold that includes at least `events`: consecutive events of one entity, as a projection delivers them.
    /// Usually needs no read.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn fold_with(
        &self,
        id: EntityId,
        events: &[&Recorded],
    ) -> Result<Arc<Entity>, QueryError> {
        let mut entity = match (self.cache.get(&id), events.first()) {
            (Some(entity), _) => entity,
            (None, Some(first)) if first.version == Version(1) => Arc::default(),
            (None, _) => self.fresh(id).await?,
        };
        for recorded in events {
            if recorded.version == entity.version.next() {
                Arc::make_mut(&mut entity).evolve(&decode(recorded)?);
            } else if recorded.version > entity.version {
                return self.fresh(id).await;
            }
        }
        self.remember(&entity);
        Ok(entity)
    }

    /// The fold up to and including `version`.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn at_version(&self, id: EntityId, version: Version) -> Result<Entity, QueryError> {
        self.fold_while(id, |event| event.version <= version).await
    }

    /// The fold up to and including `version`, and the row of `operation` at that version; `None` when there was no
    /// such operation.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn operation_at(
        &self,
        id: EntityId,
        version: Version,
        operation: Option<OperationId>,
    ) -> Result<(Entity, Option<OperationRow>), QueryError> {
        let stream = StreamId::entity(id);
        let (mut entity, mut rows) = (Entity::default(), BTreeMap::new());
        while entity.version < version {
            let page = self.log.read_stream(&stream, entity.version, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for recorded in page.iter().take_while(|event| event.version <= version) {
                for step in operation::evolve(&mut entity, recorded, &decode(recorded)?) {
                    step.apply(&mut rows);
                }
                rows.retain(|id, _| Some(*id) == operation);
            }
        }
        Ok((entity, operation.and_then(|id| rows.remove(&id))))
    }

    /// The fold of all events recorded at or before `time`.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn at_time(&self, id: EntityId, time: Timestamp) -> Result<Entity, QueryError> {
        self.fold_while(id, |event| event.recorded_at <= time).await
    }

    /// Caches `entity`, which must be in the log, unless a newer fold is cached.
    pub fn remember(&self, entity: &Arc<Entity>) {
        self.cache.entry(entity.id).and_upsert_with(|known| match known {
            Some(known) if known.value().version >= entity.version => known.into_value(),
            _ => Arc::clone(entity),
        });
    }

    /// Folds `events`, consecutive events of one entity, into its cached fold, if there is one that precedes them.
    /// Reads nothing: a cached fold with a gap before `events` stays as it is, and is folded on when it is used.
    ///
    /// # Errors
    /// [`QueryError::Unreadable`].
    pub(crate) fn follow(&self, id: EntityId, events: &[&Recorded]) -> Result<(), QueryError> {
        let Some(mut entity) = self.cache.get(&id) else { return Ok(()) };
        let known = entity.version;
        for recorded in events {
            if recorded.version == entity.version.next() {
                Arc::make_mut(&mut entity).evolve(&decode(recorded)?);
            }
        }
        if entity.version > known {
            self.remember(&entity);
        }
        Ok(())
    }

    async fn fold_to_head(
        &self,
        id: EntityId,
        base: Arc<Entity>,
    ) -> Result<Arc<Entity>, QueryError> {
        let stream = StreamId::entity(id);
        let mut entity = base;
        loop {
            let page = self.log.read_stream(&stream, entity.version, PAGE).await?;
            if page.is_empty() {
                return Ok(entity);
            }
            let full = may_have_more(&page, PAGE);
            let fold = Arc::make_mut(&mut entity);
            for recorded in &page {
                fold.evolve(&decode(recorded)?);
            }
            if !full {
                return Ok(entity);
            }
        }
    }

    async fn fold_while(
        &self,
        id: EntityId,
        within: impl Fn(&Recorded) -> bool + Send,
    ) -> Result<Entity, QueryError> {
        let stream = StreamId::entity(id);
        let mut entity = Entity::default();
        loop {
            let page = self.log.read_stream(&stream, entity.version, PAGE).await?;
            for recorded in &page {
                if !within(recorded) {
                    return Ok(entity);
                }
                entity.evolve(&decode(recorded)?);
            }
            if !may_have_more(&page, PAGE) {
                return Ok(entity);
            }
        }
    }
}

/// Approximate bytes of a fold: its documents and a fixed overhead.
fn weight(_: &EntityId, entity: &Arc<Entity>) -> u32 {
    const FOLD_BYTES: usize = 4 * 1024;
    let applied = entity.applied.as_ref().map(|applied| &applied.desired);
    let documents = [Some(&entity.manifest.desired), applied, entity.observed.attributes.as_ref()];
    let inputs = entity.operations.iter().map(|open| &open.input);
    let drift = entity.drift.iter().flat_map(|drift| &drift.diff);
    let drift = drift.flat_map(|difference| [&difference.desired, &difference.observed]);
    let all = documents.into_iter().flatten().chain(inputs).chain(drift);
    u32::try_from(FOLD_BYTES + all.map(document::weight).sum::<usize>()).unwrap_or(u32::MAX)
}

/// Decodes an event of an entity's stream.
///
/// # Errors
/// [`QueryError::Unreadable`].
pub fn decode(recorded: &Recorded) -> Result<EntityEvent, QueryError> {
    Ok(recorded.decode(EntityEvent::known)?)
}
