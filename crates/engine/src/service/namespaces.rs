//! Deletion of namespaces, which needs access control and the read model.

use stateward_domain::envelope::Envelope;
use stateward_domain::id::Namespace;
use stateward_domain::ports::read_model::EntityFilter;

use super::Engine;
use super::projections::CATCH_UP_TIMEOUT;
use crate::error::Error;

impl Engine {
    /// Deletes a namespace that has no entities any more.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Configured`], [`Error::InUse`], [`Error::Store`].
    pub async fn delete_namespace(
        &self,
        envelope: &Envelope,
        name: &Namespace,
    ) -> Result<(), Error> {
        let head = self.log().head().await?;
        if !self.caught_up(head, CATCH_UP_TIMEOUT).await {
            return Err(Error::Unavailable("the lists are behind".to_owned()));
        }
        let namespaces = Some(vec![name.clone()]);
        let filter = EntityFilter { namespaces, ..EntityFilter::default() };
        let entities = self.views().entities(&filter, 1_000, None).await?.items.len();
        if entities > 0 {
            return Err(Error::InUse { count: entities as u64 });
        }
        self.access().delete_namespace(envelope, name).await
    }
}
