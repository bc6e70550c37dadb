//! Claims: what the log keeps unique. They follow from events and envelope alone, so a copied log rebuilds them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entity::aggregate::Entity;
use crate::entity::event::EntityEvent;
use crate::envelope::Envelope;
use crate::id::{EntityName, KindName, Namespace};

/// Something that at most one stream holds at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimKey(pub String);

impl ClaimKey {
    /// Prefix of idempotency claims, the only ones that are forgotten by age.
    pub const IDEMPOTENCY: &'static str = "idempotency/";

    /// Prefix of the names of undeleted entities.
    pub const NAME: &'static str = "name/";

    /// The name of an undeleted entity.
    #[must_use]
    pub fn name(entity: &Entity) -> Self {
        let manifest = &entity.manifest;
        Self::name_of(&manifest.namespace, &manifest.kind, &manifest.name)
    }

    /// As [`name`](Self::name), for whoever knows no more than that.
    #[must_use]
    pub fn name_of(namespace: &Namespace, kind: &KindName, name: &EntityName) -> Self {
        Self(format!("{}{namespace}/{kind}/{name}", Self::NAME))
    }

    /// The identity of an object in its backend; `None` for kinds that name none.
    #[must_use]
    pub fn identity(entity: &Entity) -> Option<Self> {
        let identity = entity.identity.as_deref()?;
        let driver = entity.manifest.kind.as_str().split('.').next().unwrap_or_default();
        Some(Self(format!("identity/{}/{driver}/{identity}", entity.manifest.backend)))
    }

    /// A client's idempotency key, scoped by namespace and actor.
    #[must_use]
    pub fn idempotency(envelope: &Envelope) -> Option<Self> {
        let key = &envelope.idempotency.as_ref()?.key;
        Some(Self(format!(
            "{}{}/{}/{key}",
            Self::IDEMPOTENCY,
            envelope.namespace,
            envelope.actor.id
        )))
    }
}

impl fmt::Display for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A change of claims, made together with the events of its append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Take it, or refuse the whole append. The stream that holds it already may take it again.
    Take {
        /// What.
        key: ClaimKey,
        /// Stored with it.
        value: String,
    },
    /// Give it back; nothing happens when the stream does not hold it.
    Free {
        /// What.
        key: ClaimKey,
    },
}

impl Claim {
    /// What is taken or freed.
    #[must_use]
    pub const fn key(&self) -> &ClaimKey {
        match self {
            Self::Take { key, .. } | Self::Free { key } => key,
        }
    }
}

/// The claim of the request that `envelope` came with; `None` when it came without an idempotency key.
#[must_use]
pub fn of_request(envelope: &Envelope) -> Option<Claim> {
    let value = envelope.idempotency.as_ref()?.fingerprint.clone();
    Some(Claim::Take { key: ClaimKey::idempotency(envelope)?, value })
}

/// The claims of one append: `before` is the entity that the events were decided on.
#[must_use]
pub fn claims(before: &Entity, events: &[EntityEvent], envelope: &Envelope) -> Vec<Claim> {
    if envelope.idempotency.is_none() && !events.iter().any(|event| matters(before, event)) {
        return Vec::new();
    }
    fold(before.clone(), events, envelope).1
}

/// The entity after `events`, and the claims of an append of them: as [`claims`], for whoever wants both.
#[must_use]
pub fn fold(
    mut entity: Entity,
    events: &[EntityEvent],
    envelope: &Envelope,
) -> (Entity, Vec<Claim>) {
    let mut changes = Vec::from_iter(of_request(envelope));
    for event in events {
        entity.evolve(event);
        match event {
            EntityEvent::CreateRequested { .. } => {
                changes.push(Claim::Take { key: ClaimKey::name(&entity), value: String::new() });
                changes.extend(ClaimKey::identity(&entity).map(take));
            }
            EntityEvent::StrayFound { .. } if entity.is_deleted() && entity.is_tracked() => {
                changes.extend(ClaimKey::identity(&entity).map(take));
            }
            EntityEvent::Deleted { .. } | EntityEvent::Released { .. } => {
                changes.push(Claim::Free { key: ClaimKey::name(&entity) });
                // What was left behind may hold the identity still.
                if !entity.is_tracked() {
                    changes.extend(ClaimKey::identity(&entity).map(|key| Claim::Free { key }));
                }
            }
            EntityEvent::SyncCompleted { .. } if entity.is_deleted() && !entity.is_tracked() => {
                changes.extend(ClaimKey::identity(&entity).map(|key| Claim::Free { key }));
            }
            _ => {}
        }
    }
    (entity, last_of_each_key(changes))
}

/// Whether an event may change claims: most do not, and need no fold to know it.
const fn matters(before: &Entity, event: &EntityEvent) -> bool {
    match event {
        EntityEvent::CreateRequested { .. }
        | EntityEvent::StrayFound { .. }
        | EntityEvent::Deleted { .. }
        | EntityEvent::Released { .. } => true,
        EntityEvent::SyncCompleted { .. } => before.is_deleted(),
        _ => false,
    }
}

const fn take(key: ClaimKey) -> Claim {
    Claim::Take { key, value: String::new() }
}

/// An append may create and delete at once; what counts is how it leaves each key.
fn last_of_each_key(changes: Vec<Claim>) -> Vec<Claim> {
    let mut kept: Vec<Claim> = Vec::with_capacity(changes.len());
    for change in changes {
        kept.retain(|earlier| earlier.key() != change.key());
        kept.push(change);
    }
    kept
}
