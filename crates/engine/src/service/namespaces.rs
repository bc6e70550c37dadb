//! Deletion of namespaces, which needs access control and the read model.

use stateward_domain::envelope::Envelope;
use stateward_domain::id::Namespace;
use stateward_domain::ports::read_model::EntityFilter;

use super::Engine;
use super::projections::CATCH_UP_TIMEOUT;
use crate::error::{ControlError, QueryError};

impl Engine {
    /// Deletes a namespace that has no entities any more.
    ///
    /// # Errors
    /// [`QueryError::NotFound`], [`ControlError::Configured`], [`ControlError::InUse`], [`QueryError::Store`].
    pub async fn delete_namespace(
        &self,
        envelope: &Envelope,
        name: &Namespace,
    ) -> Result<(), ControlError> {
        let head = self.log().head().await?;
        if !self.caught_up(head, CATCH_UP_TIMEOUT).await {
            return Err(QueryError::Unavailable("the lists are behind".to_owned()).into());
        }
        let namespaces = Some(vec![name.clone()]);
        let filter = EntityFilter { namespaces, ..EntityFilter::default() };
        let entities = self.views().entities(&filter, 1_000, None).await?.items.len();
        if entities > 0 {
            return Err(ControlError::InUse { count: entities as u64 });
        }
        self.access().delete_namespace(envelope, name).await
    }
}
