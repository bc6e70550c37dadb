//! Dependents: entities that use an entity.

use std::sync::Arc;

use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;

use super::Engine;
use crate::error::QueryError;
use crate::process_manager::implicit_dependencies::ImplicitDependencies;

impl Engine {
    /// Up to `limit` dependents of `entity`, as far as the queue knows them; none for a deleted entity.
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn dependents(
        &self,
        entity: &Entity,
        limit: usize,
    ) -> Result<Vec<Arc<Entity>>, QueryError> {
        if entity.is_deleted() {
            // Another entity may have its name now.
            return Ok(Vec::new());
        }
        let shared = &self.inner.shared;
        let dependents = shared.queue.dependents(&[ClaimKey::name(entity)], None, limit).await?;
        let mut found = Vec::with_capacity(dependents.entities.len());
        for dependent in dependents.entities {
            match shared.entities.recent(dependent).await {
                Ok(dependent) => found.push(dependent),
                // An unreadable dependent is reported where it is read itself.
                Err(QueryError::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Up to `limit` entities that come after `entity` by their kind alone, and that nothing else could serve in its
    /// place; none for a deleted entity, and none while its backend is not configured.
    ///
    /// # Errors
    /// [`QueryError::Unavailable`].
    pub async fn implicit_dependents(
        &self,
        entity: &Entity,
        limit: usize,
    ) -> Result<Vec<Arc<Entity>>, QueryError> {
        let backend = self.backend(&entity.manifest.backend).ok().filter(|_| !entity.is_deleted());
        let Some(backend) = backend else { return Ok(Vec::new()) };
        let shared = &self.inner.shared;
        let implicit = ImplicitDependencies { entities: &shared.entities, queue: &*shared.queue };
        implicit.served_by(entity, backend.settings.driver.kinds(), limit).await
    }
}
