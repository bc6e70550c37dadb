//! The cluster of a store that one process has open: one member, which has every duty.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stateward_domain::ports::cluster::{Cluster, Duty, Member, NodeId};
use stateward_domain::ports::store_error::StoreError;

/// The only member. A lock on the store keeps other processes out, so nothing is stored.
#[derive(Default)]
pub struct SingleNode {
    member: Mutex<Option<Member>>,
}

impl SingleNode {
    fn member(&self) -> MutexGuard<'_, Option<Member>> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Cluster for SingleNode {
    fn is_shared(&self) -> bool {
        false
    }

    /// The newest caller is the member: an earlier one was an earlier life of this process.
    async fn beat(&self, me: &Member) -> Result<Vec<Member>, StoreError> {
        let mut member = self.member();
        let newer = member.take().filter(|known| known.id == me.id && known.revision > me.revision);
        Ok(vec![member.insert(newer.unwrap_or_else(|| me.clone())).clone()])
    }

    async fn hold(&self, me: NodeId, _: &Duty, _: Duration) -> Result<bool, StoreError> {
        Ok(self.member().as_ref().is_none_or(|member| member.id == me))
    }

    async fn give_back(&self, _: NodeId, _: &Duty) -> Result<(), StoreError> {
        Ok(())
    }

    /// No other process reads the log meanwhile, and a later one says itself what it cannot read.
    async fn raise_catalogue(&self, _: u32) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn leave(&self, me: NodeId) -> Result<(), StoreError> {
        self.member().take_if(|member| member.id == me);
        Ok(())
    }
}
