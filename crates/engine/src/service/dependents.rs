//! Who uses an entity.

use std::sync::Arc;

use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;

use super::Engine;
use crate::error::Error;

impl Engine {
    /// At most `limit` of the entities that use `entity`, as far as the queue knows by now; nobody of one whose life is
    /// over.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn dependents(
        &self,
        entity: &Entity,
        limit: usize,
    ) -> Result<Vec<Arc<Entity>>, Error> {
        if entity.is_deleted() {
            // Its name may be another's by now.
            return Ok(Vec::new());
        }
        let shared = &self.inner.shared;
        let dependents = shared.queue.dependents(&[ClaimKey::name(entity)], limit).await?;
        let mut found = Vec::with_capacity(dependents.entities.len());
        for dependent in dependents.entities {
            match shared.entities.recent(dependent).await {
                Ok(dependent) => found.push(dependent),
                // Another's damage is told where that one is asked for.
                Err(Error::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
