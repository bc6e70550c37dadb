//! Implicit dependencies: entities that come before others of a kind though none of these refers to them, by
//! [`KindSpec::implicit`]. They order what is created or deleted at the same time, and nothing else: an entity that is
//! there keeps no other one.

use std::collections::BTreeMap;
use std::sync::Arc;

use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::state::{BlockedOn, ManagementPolicy};
use stateward_domain::kind::{KindSpec, RelationStep};
use stateward_domain::ports::sync_queue::SyncQueue;

use crate::entity_repository::EntityRepository;
use crate::error::Error;

/// Entities that one step leads to at most; of more, the backend's own refusal gives the order.
const RELATED_MAX: usize = 200;
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
    ) -> Result<Option<Target>, Error> {
        for steps in &kind.implicit {
            for other in self.related(entity, steps).await? {
                if is_being_created(&other) && !self.waits_for(&other, entity).await? {
                    return Ok(Some(other.manifest.target()));
                }
            }
        }
        Ok(None)
    }

    /// An entity of one of `kinds` that is being deleted, and has to be gone before `entity`; `None` = there is none.
    ///
    /// # Errors
    /// When an entity or the queue cannot be read.
    pub(crate) async fn deleted_first(
        &self,
        entity: &Entity,
        kinds: &[KindSpec],
    ) -> Result<Option<Arc<Entity>>, Error> {
        for kind in kinds {
            for steps in kind.implicit.iter().filter(|steps| lead_to(steps, entity)) {
                let back = RelationStep::reversed(steps, &kind.name);
                let mut related = self.related(entity, &back).await?.into_iter();
                if let Some(other) = related.find(|other| is_being_deleted(other)) {
                    return Ok(Some(other));
                }
            }
        }
        Ok(None)
    }

    /// Up to `limit` entities that come after `entity` by one of `kinds`, and that no other entity could serve in its
    /// place: without it they would be left over.
    ///
    /// # Errors
    /// When an entity or the queue cannot be read.
    pub(crate) async fn served_by(
        &self,
        entity: &Entity,
        kinds: &[KindSpec],
        limit: usize,
    ) -> Result<Vec<Arc<Entity>>, Error> {
        let mut served = BTreeMap::new();
        for kind in kinds {
            for steps in kind.implicit.iter().filter(|steps| lead_to(steps, entity)) {
                let back = RelationStep::reversed(steps, &kind.name);
                for other in self.related(entity, &back).await? {
                    let ends = self.related(&other, steps).await?;
                    let alone = ends.iter().all(|end| end.id == entity.id || end.is_deleted());
                    if alone && !other.is_deleted() && served.len() < limit {
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
    ) -> Result<Vec<Arc<Entity>>, Error> {
        let mut reached = vec![Arc::new(entity.clone())];
        for step in steps {
            let mut next = BTreeMap::new();
            for from in &reached {
                for other in self.step(from, step).await? {
                    next.insert(other.id, other);
                }
                if next.len() >= RELATED_MAX {
                    break;
                }
            }
            reached = next.into_values().take(RELATED_MAX).collect();
        }
        reached.retain(|other| {
            other.id != entity.id && other.manifest.backend == entity.manifest.backend
        });
        Ok(reached)
    }

    async fn step(&self, from: &Entity, step: &RelationStep) -> Result<Vec<Arc<Entity>>, Error> {
        let mut found = Vec::new();
        match step {
            RelationStep::To(kind) => {
                let targets = from.manifest.declared_targets().into_iter();
                for target in targets.filter(|target| target.kind == *kind) {
                    let namespace = &from.manifest.namespace;
                    found.extend(self.entities.readable_by_name(namespace, &target).await?);
                }
            }
            RelationStep::From(kind) => {
                let name = [ClaimKey::name(from)];
                let page = self.queue.dependents(&name, None, RELATED_MAX).await?;
                for id in page.entities {
                    match self.entities.recent(id).await {
                        Ok(other) if other.manifest.kind == *kind => found.push(other),
                        Ok(_) | Err(Error::Unreadable(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(found)
    }

    /// Whether `other` waits for `entity`, itself or through others: then neither may wait for the other.
    async fn waits_for(&self, other: &Entity, entity: &Entity) -> Result<bool, Error> {
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

fn is_being_deleted(entity: &Entity) -> bool {
    entity.deletion.is_some() && !entity.is_deleted() && !entity.trouble.erred
}

#[cfg(test)]
mod tests;
