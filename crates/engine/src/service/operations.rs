//! Following an operation to its end by the log alone, so that a waiting caller does not depend on a read model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stateward_domain::entity::operation::OperationRow;
use stateward_domain::entity::{Entity, operation};
use stateward_domain::envelope::StreamId;
use stateward_domain::id::Position;
use stateward_domain::ports::event_store::may_have_more;

use super::Engine;
use crate::entity_repository::decode;
use crate::error::QueryError;

/// Events read per page.
const PAGE: usize = 100;
/// The hint that the entity changed may be lost; its end is found after this time at the latest.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// An operation, as far as it was followed.
#[derive(Clone, Debug)]
pub struct FollowedOperation {
    /// The entity at that point.
    pub entity: Arc<Entity>,
    /// The operation at that point, exactly as the read model shows it at that version.
    pub operation: OperationRow,
    /// Position of the last event that was folded.
    pub position: Position,
}

impl Engine {
    /// Follows an operation from the state in `from` until it ends, or for `within`.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn follow_operation(
        &self,
        mut from: FollowedOperation,
        within: Duration,
    ) -> Result<FollowedOperation, QueryError> {
        let mut waiter = self.inner.waiters.wait_for(from.entity.id);
        let deadline = tokio::time::Instant::now() + within;
        loop {
            while self.fold_page(&mut from).await? {}
            if from.operation.state.is_done() {
                return Ok(from);
            }
            tokio::select! {
                () = waiter.changed() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = tokio::time::sleep_until(deadline) => return Ok(from),
                () = self.inner.shared.shutdown.cancelled() => return Ok(from),
            }
        }
    }

    /// Folds one page; true when another page may matter.
    async fn fold_page(&self, followed: &mut FollowedOperation) -> Result<bool, QueryError> {
        let stream = StreamId::entity(followed.entity.id);
        let page = self.log().read_stream(&stream, followed.entity.version, PAGE).await?;
        let Some(last) = page.last() else { return Ok(false) };
        followed.position = last.position;
        let id = followed.operation.id;
        let mut rows = BTreeMap::from([(id, followed.operation.clone())]);
        let entity = Arc::make_mut(&mut followed.entity);
        for recorded in &page {
            for step in operation::evolve(entity, recorded, &decode(recorded)?) {
                step.apply(&mut rows);
            }
        }
        if let Some(row) = rows.remove(&id) {
            followed.operation = row;
        }
        Ok(may_have_more(&page, PAGE) && !followed.operation.state.is_done())
    }
}
