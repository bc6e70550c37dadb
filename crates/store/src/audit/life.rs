//! The life of one entity, folded anew: what it claims, and what the read model has to say of it.

use std::collections::BTreeMap;

use serde_json::Value;
use stateward_domain::audit::{Fault, FaultKind};
use stateward_domain::entity::claims::{Claim, ClaimKey, claims};
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::Version;
use stateward_domain::time::Timestamp;

use super::Snapshot;

/// A claim as the events make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) value: String,
    pub(crate) version: Version,
    pub(crate) at: Timestamp,
}

/// The fold of a stream up to some version.
pub(crate) struct Life {
    pub(crate) stream: StreamId,
    pub(crate) entity: Entity,
    pub(crate) version: Version,
    /// What it holds.
    pub(crate) held: BTreeMap<ClaimKey, Taken>,
}

impl Life {
    /// Before the first event of `stream`.
    pub(crate) fn new(stream: StreamId) -> Self {
        let (entity, held) = (Entity::default(), BTreeMap::new());
        Self { stream, entity, version: Version(0), held }
    }

    /// Folds the next event.
    ///
    /// # Errors
    /// Why it cannot be folded.
    pub(crate) fn take(&mut self, recorded: &Recorded) -> Result<(), String> {
        if recorded.version != self.version.next() {
            return Err(format!("it follows version {}", self.version));
        }
        let event: EntityEvent =
            recorded.decode(EntityEvent::known).map_err(|error| error.to_string())?;
        if changes_claims(&event) || recorded.metadata.contains("\"idempotency_key\"") {
            self.claim(recorded, &event);
        }
        self.entity.evolve(&event);
        self.version = recorded.version;
        Ok(())
    }

    fn claim(&mut self, recorded: &Recorded, event: &EntityEvent) {
        let (version, at) = (recorded.version, recorded.recorded_at);
        let changes = claims(&self.entity, std::slice::from_ref(event), &recorded.envelope());
        for change in changes {
            match change {
                // One append's events share an idempotency key; the claim is of the last of them.
                Claim::Take { key, value } => {
                    self.held.insert(key, Taken { value, version, at });
                }
                Claim::Free { key } => {
                    self.held.remove(&key);
                }
            }
        }
    }

    /// What is wrong with the read model's row of this very version; `None` = nothing.
    pub(crate) fn differs(&self, row: &Snapshot) -> Option<Fault> {
        let wrong = |detail: String| {
            let fault = Fault::new(FaultKind::View, detail).of(&self.stream);
            Some(fault.at_version(self.version))
        };
        if row.state != self.entity.state.name() {
            let fold = self.entity.state.name();
            return wrong(format!("the read model says {:?}, the events {fold:?}", row.state));
        }
        let fold = serde_json::to_string(&self.entity).unwrap_or_default();
        if fold == row.data {
            return None;
        }
        let (fold, held) = (object(&fold), object(&row.data));
        let members = fold.keys().chain(held.keys()).collect::<std::collections::BTreeSet<_>>();
        let differing: Vec<_> =
            members.into_iter().filter(|name| fold.get(*name) != held.get(*name)).collect();
        if differing.is_empty() && !held.is_empty() {
            return None;
        }
        wrong(format!("the read model's row is not the fold of the events: {differing:?} differ"))
    }
}

fn object(text: &str) -> BTreeMap<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// Events by which names and identities are taken or freed; folding twice for all others would be wasted.
const fn changes_claims(event: &EntityEvent) -> bool {
    matches!(
        event,
        EntityEvent::CreateRequested { .. }
            | EntityEvent::StrayFound { .. }
            | EntityEvent::Deleted { .. }
            | EntityEvent::Released { .. }
            | EntityEvent::SyncCompleted { .. }
    )
}
