//! Dependents: entities that use an entity.

use std::sync::Arc;

use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;

use super::Engine;
use crate::error::Error;

impl Engine {
    /// Up to `limit` dependents of `entity`, as far as the queue knows them; none for a deleted entity.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn dependents(
        &self,
        entity: &Entity,
        limit: usize,
    ) -> Result<Vec<Arc<Entity>>, Error> {
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
                Err(Error::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
