//! Implicit dependencies: entities that come before others of a kind though none of these refers to them, by
//! [`KindSpec::implicit`]. They order what is created or deleted at the same time, and nothing else: an entity that is
//! there keeps no other one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::state::{BlockedOn, ManagementPolicy};
use stateward_domain::id::{EntityId, ExternalId, KindName};
use stateward_domain::kind::{KindSpec, RelationStep};
use stateward_domain::ports::sync_queue::SyncQueue;

use crate::entity_repository::EntityRepository;
use crate::error::QueryError;
use crate::process_manager::dependency_cycles::{self, is_being_deleted};

/// Entities that one step leads to at most; of more, the backend's own refusal gives the order.
const RELATED_MAX: usize = 200;
/// Dependents of any kind that are read for those of one kind: pages of [`RELATED_MAX`], at most.
const PAGES_MAX: usize = 25;
/// Entities of a chain of waits that are followed.
const WAITS_MAX: usize = 16;

/// Finds implicit dependencies. The queue may lag: what it does not know yet, the backend refuses.
#[derive(Clone, Copy)]
pub(crate) struct ImplicitDependencies<'a> {
    pub(crate) entities: &'a EntityRepository,
    pub(crate) queue: &'a dyn SyncQueue,
}

impl ImplicitDependencies<'_> {
    /// An entity whose creation `entity` of `kind` waits for; `None` = there is none.
    ///
    /// # Errors
    /// When an entity or the queue cannot be read.
    pub(crate) async fn created_first(
        &self,
        entity: &Entity,
        kind: &KindSpec,
    ) -> Result<Option<Target>, QueryError> {
        for steps in &kind.implicit {
            for other in self.related(entity, steps, &mut KnownSteps::new()).await?.entities {
                if is_being_created(&other) && !self.waits_for(&other, entity).await? {
                    return Ok(Some(other.manifest.target()));
                }
            }
        }
        Ok(None)
    }

    /// An entity of one of `kinds` that is being deleted, and has to be gone before `entity`; `None` = there is none.
    /// One that itself waits for `entity` to be gone is none.
    ///
    /// # Errors
    /// When an entity or the queue cannot be read.
    pub(crate) async fn deleted_first(
        &self,
        entity: &Entity,
        kinds: &[KindSpec],
    ) -> Result<Option<Arc<Entity>>, QueryError> {
        // The same for all of them; most deletions have none.
        let mut left_with = None;
        for kind in kinds {
            for steps in kind.implicit.iter().filter(|steps| lead_to(steps, entity)) {
                let back = RelationStep::reversed(steps, &kind.name);
                let others = self.related(entity, &back, &mut KnownSteps::new()).await?.entities;
                for other in others.into_iter().filter(|other| is_being_deleted(other)) {
                    let left_with = match &left_with {
                        Some(known) => known,
                        None => left_with
                            .insert(dependency_cycles::left_with(self.entities, entity).await?),
                    };
                    if !left_with.contains_key(&other.id)
                        && !self.goes_after(&other, entity).await?
                    {
                        return Ok(Some(other));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Up to `limit` entities that come after `entity` by one of `kinds`, and that no other entity could serve in its
    /// place: without it they would be left over. One whose relations are not known whole, or that was observed
    /// elsewhere, is not among them.
    ///
    /// # Errors
    /// When an entity or the queue cannot be read.
    pub(crate) async fn served_by(
        &self,
        entity: &Entity,
        kinds: &[KindSpec],
        limit: usize,
    ) -> Result<Vec<Arc<Entity>>, QueryError> {
        let mut served = BTreeMap::new();
        let mut known = KnownSteps::new();
        for kind in kinds {
            for steps in kind.implicit.iter().filter(|steps| lead_to(steps, entity)) {
                let back = RelationStep::reversed(steps, &kind.name);
                for other in self.related(entity, &back, &mut known).await?.entities {
                    let observed = observed_on(&other, entity);
                    if served.len() >= limit {
                        break;
                    }
                    if other.is_deleted() || observed == Some(false) {
                        continue;
                    }
                    let ends = self.related(&other, steps, &mut known).await?;
                    if ends.is_only(entity, observed.is_some()) {
                        served.insert(other.id, other);
                    }
                }
            }
        }
        Ok(served.into_values().collect())
    }

    /// The entities that `steps` lead to from `entity`, in its backend.
    async fn related(
        &self,
        entity: &Entity,
        steps: &[RelationStep],
        known: &mut KnownSteps,
    ) -> Result<Related, QueryError> {
        let mut related = Related::of(vec![Arc::new(entity.clone())]);
        for step in steps {
            let mut next = BTreeMap::new();
            for from in std::mem::take(&mut related.entities) {
                if next.len() >= RELATED_MAX {
                    related.whole = false;
                    break;
                }
                let of = (from.id, matches!(step, RelationStep::To(_)), step.kind().clone());
                let found = match known.entry(of) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => place.insert(self.step(&from, step).await?),
                };
                related.whole &= found.whole;
                related.dead_end |= found.entities.is_empty();
                next.extend(found.entities.iter().map(|other| (other.id, Arc::clone(other))));
            }
            related.whole &= next.len() <= RELATED_MAX;
            related.entities = next.into_values().take(RELATED_MAX).collect();
        }
        related.entities.retain(|other| {
            other.id != entity.id && other.manifest.backend == entity.manifest.backend
        });
        Ok(related)
    }

    async fn step(&self, from: &Entity, step: &RelationStep) -> Result<Related, QueryError> {
        match step {
            RelationStep::To(kind) => self.targets(from, kind).await,
            RelationStep::From(kind) => self.dependents(from, kind).await,
        }
    }

    async fn targets(&self, from: &Entity, kind: &KindName) -> Result<Related, QueryError> {
        let mut found = Related::of(Vec::new());
        let targets = from.manifest.declared_targets().into_iter();
        for target in targets.filter(|target| target.kind == *kind) {
            let other = self.entities.readable_by_name(&from.manifest.namespace, &target).await?;
            found.whole &= other.is_some();
            found.entities.extend(other);
        }
        Ok(found)
    }

    async fn dependents(&self, from: &Entity, kind: &KindName) -> Result<Related, QueryError> {
        let name = [ClaimKey::name(from)];
        let mut found = Related::of(Vec::new());
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let page = self.queue.dependents(&name, after, RELATED_MAX).await?.entities;
            let is_last = page.len() < RELATED_MAX;
            after = page.last().copied();
            for id in page {
                match self.entities.recent(id).await {
                    Ok(other) if other.manifest.kind == *kind => found.entities.push(other),
                    Ok(_) => {}
                    Err(QueryError::Unreadable(_)) => found.whole = false,
                    Err(error) => return Err(error),
                }
            }
            if is_last || found.entities.len() > RELATED_MAX {
                return Ok(found);
            }
        }
        found.whole = false;
        Ok(found)
    }

    /// Whether `other`, which is being deleted, waits for `entity` to be gone, itself or through others, or depends on
    /// it.
    async fn goes_after(&self, other: &Entity, entity: &Entity) -> Result<bool, QueryError> {
        if other.dependencies().contains(&entity.manifest.target()) {
            return Ok(true);
        }
        let mut on = kept_by(other);
        for _ in 0..WAITS_MAX {
            let Some(id) = on else { return Ok(false) };
            if id == entity.id {
                return Ok(true);
            }
            on = match self.entities.recent(id).await {
                Ok(next) => kept_by(&next),
                Err(QueryError::Unreadable(_)) => None,
                Err(error) => return Err(error),
            };
        }
        // A longer chain is not waited for.
        Ok(true)
    }

    /// Whether `other` waits for `entity`, itself or through others: then neither may wait for the other.
    async fn waits_for(&self, other: &Entity, entity: &Entity) -> Result<bool, QueryError> {
        let mut on = awaited(other);
        for _ in 0..WAITS_MAX {
            let Some(target) = on else { return Ok(false) };
            if target == entity.manifest.target() {
                return Ok(true);
            }
            let next = self.entities.readable_by_name(&entity.manifest.namespace, &target).await?;
            on = next.as_deref().and_then(awaited);
        }
        // A longer chain is not waited for.
        Ok(true)
    }
}

/// Steps that were read: from an entity, to what it refers to (`true`) or what refers to it, of a kind. Many entities
/// share a network; its dependents are read once.
type KnownSteps = BTreeMap<(EntityId, bool, KindName), Related>;

/// What steps lead to.
struct Related {
    entities: Vec<Arc<Entity>>,
    /// Whether all of it could be read within the bounds.
    whole: bool,
    /// Whether a step led an entity nowhere: it may be related to objects that no entity manages.
    dead_end: bool,
}

impl Related {
    const fn of(entities: Vec<Arc<Entity>>) -> Self {
        Self { entities, whole: true, dead_end: false }
    }

    /// Whether `entity` is known to be the only one that is not deleted. `observed` = the observation says so, which
    /// dead ends do not contradict.
    fn is_only(&self, entity: &Entity, observed: bool) -> bool {
        let living = self.entities.iter().filter(|other| !other.is_deleted());
        let mut ids = living.map(|other| other.id);
        let known = self.whole && (observed || !self.dead_end);
        known && ids.next() == Some(entity.id) && ids.next().is_none()
    }
}

/// Whether `other` was observed to lie on `entity` and nowhere else. Its attributes say so where a member is called
/// after the noun of the kind, as `subnet_id`; `None` = without such a member they do not say.
fn observed_on(other: &Entity, entity: &Entity) -> Option<bool> {
    let noun = entity.manifest.kind.as_str().rsplit('.').next()?;
    let mut on = Vec::new();
    members(other.observed.attributes.as_ref()?, &format!("{noun}_id"), &mut on);
    let own = entity.observed.external_id.as_ref().map(ExternalId::as_str);
    (!on.is_empty()).then(|| on.iter().all(|id| Some(*id) == own))
}

/// The strings that members called `name` hold, at any depth.
fn members<'v>(value: &'v Value, name: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| members(item, name, found)),
        Value::Object(fields) => {
            found.extend(fields.get(name).and_then(Value::as_str));
            fields.values().for_each(|field| members(field, name, found));
        }
        _ => {}
    }
}

/// Whether `steps` may lead to `entity`.
fn lead_to(steps: &[RelationStep], entity: &Entity) -> bool {
    steps.last().is_some_and(|last| *last.kind() == entity.manifest.kind)
}

fn awaited(entity: &Entity) -> Option<Target> {
    match &entity.blocked.as_ref()?.on {
        BlockedOn::Reference(target) => Some(target.clone()),
        _ => None,
    }
}

fn kept_by(entity: &Entity) -> Option<EntityId> {
    match entity.blocked.as_ref()?.on {
        BlockedOn::InUse(id) => Some(id),
        _ => None,
    }
}

/// Whether its creation goes on by itself.
fn is_being_created(entity: &Entity) -> bool {
    let waits = |on: &BlockedOn| matches!(on, BlockedOn::Reference(_));
    entity.exists()
        && !entity.is_deleted()
        && entity.applied.is_none()
        && entity.deletion.is_none()
        && entity.paused.is_none()
        && !entity.trouble.erred
        && entity.manifest.settings.management_policy == ManagementPolicy::Full
        && entity.blocked.as_ref().is_none_or(|blocked| waits(&blocked.on))
}

#[cfg(test)]
mod tests;
