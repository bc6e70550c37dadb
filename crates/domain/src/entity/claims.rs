//! Claims: what the log keeps unique. They are a function of events and envelope, so a copied log can rebuild them.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entity::aggregate::Entity;
use crate::entity::event::EntityEvent;
use crate::entity::state::{AttemptStep, Decision, ManagementPolicy, Manifest, Observed};
use crate::envelope::Envelope;
use crate::id::{EntityName, ExternalId, KindName, Namespace};

/// Key of a claim, which at most one stream holds at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimKey(pub String);

impl ClaimKey {
    /// Prefix of idempotency claims, the only ones that expire by age.
    pub const IDEMPOTENCY: &'static str = "idempotency/";

    /// Prefix of the names of undeleted entities.
    pub const NAME: &'static str = "name/";

    /// Prefix of the objects that entities manage, by external id.
    pub const OBJECT: &'static str = "external/";

    /// Prefix of [`contender`](Self::contender).
    pub const CONTENDER: &'static str = "contender/";

    /// The name of an undeleted entity.
    #[must_use]
    pub fn name(entity: &Entity) -> Self {
        let manifest = &entity.manifest;
        Self::name_of(&manifest.namespace, &manifest.kind, &manifest.name)
    }

    /// As [`name`](Self::name), from its parts.
    #[must_use]
    pub fn name_of(namespace: &Namespace, kind: &KindName, name: &EntityName) -> Self {
        Self(format!("{}{namespace}/{kind}/{name}", Self::NAME))
    }

    /// The identity of an object in its backend; `None` for kinds that name none.
    #[must_use]
    pub fn identity(entity: &Entity) -> Option<Self> {
        let identity = entity.identity.as_deref()?;
        Some(Self(format!("{}{identity}", identities(entity))))
    }

    /// The object with the external id `id` in the entity's backend: `(backend, kind, external_id)`.
    #[must_use]
    pub fn object(entity: &Entity, id: &ExternalId) -> Self {
        let Manifest { backend, kind, .. } = &entity.manifest;
        Self(format!("{}{backend}/{kind}/{id}", Self::OBJECT))
    }

    /// The same object as an identity claim, which kinds hold whose external id is the identity in the desired state.
    #[must_use]
    pub fn object_as_identity(entity: &Entity, id: &ExternalId) -> Self {
        Self(format!("{}{id}", identities(entity)))
    }

    /// Held by an entity that names an object which another entity manages. Never refused, because it contains the
    /// entity's id.
    #[must_use]
    pub fn contender(entity: &Entity, id: &ExternalId) -> Self {
        let Manifest { backend, kind, .. } = &entity.manifest;
        Self(format!("{}{backend}/{kind}/{id}/{}", Self::CONTENDER, entity.id))
    }

    /// Prefix of the contenders for an object, given the claim on the object; `None` for every other claim.
    #[must_use]
    pub fn contenders(&self) -> Option<String> {
        let object = self.0.strip_prefix(Self::OBJECT)?;
        Some(format!("{}{object}/", Self::CONTENDER))
    }

    /// Whether it is a claim on an object, or of a contender for one.
    #[must_use]
    pub fn is_on_object(&self) -> bool {
        self.0.starts_with(Self::OBJECT) || self.0.starts_with(Self::CONTENDER)
    }

    /// The object of a refused claim, given the entity that it was refused to; `None` for claims on anything else.
    #[must_use]
    pub fn object_of(&self, entity: &Entity) -> Option<ExternalId> {
        let none = Self::object(entity, &ExternalId::default());
        self.0.strip_prefix(&none.0).map(ExternalId::from)
    }

    /// A client's idempotency key, scoped by namespace and actor; `None` when the request had none.
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

/// A change of a claim, atomic with the events of its append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Take the claim; another holder fails the append. The stream that holds it may take it again.
    Take {
        /// The claim's key.
        key: ClaimKey,
        /// Stored with the claim.
        value: String,
        /// Index of the event that takes it, within the append.
        event: usize,
    },
    /// Fail the append if another stream holds the claim; takes nothing.
    Share {
        /// The claim's key.
        key: ClaimKey,
    },
    /// Free the claim; no effect when the stream does not hold it.
    Free {
        /// The claim's key.
        key: ClaimKey,
    },
}

impl Claim {
    /// The claim's key.
    #[must_use]
    pub const fn key(&self) -> &ClaimKey {
        match self {
            Self::Take { key, .. } | Self::Share { key } | Self::Free { key } => key,
        }
    }
}

/// Prefix of the identities of the entity's driver in its backend.
fn identities(entity: &Entity) -> String {
    let driver = entity.manifest.kind.as_str().split('.').next().unwrap_or_default();
    format!("identity/{}/{driver}/", entity.manifest.backend)
}

/// The idempotency claim of the request in `envelope`, taken by the append's event number `event`; `None` when it has
/// no idempotency key.
#[must_use]
pub fn of_request(envelope: &Envelope, event: usize) -> Option<Claim> {
    let value = envelope.idempotency.as_ref()?.fingerprint.clone();
    Some(Claim::Take { key: ClaimKey::idempotency(envelope)?, value, event })
}

/// The claims of an entity, idempotency keys excluded:
///
/// - its name until it is deleted;
/// - its identity until the object is proved absent and no stray is left;
/// - under `full`, the object that it names, unless another entity holds it; every stray.
#[must_use]
pub fn held(entity: &Entity) -> BTreeSet<ClaimKey> {
    let mut held = BTreeSet::new();
    if !entity.exists() {
        return held;
    }
    if !entity.is_deleted() {
        held.insert(ClaimKey::name(entity));
    }
    if entity.is_tracked() {
        held.extend(ClaimKey::identity(entity));
    }
    held.extend(entity.strays.keys().map(|id| ClaimKey::object(entity, id)));
    held.extend(entity.managed_object().map(|id| ClaimKey::object(entity, id)));
    held.extend(entity.contended_object().map(|id| ClaimKey::contender(entity, id)));
    held
}

/// Folds `event`, number `number` of its append, into `entity`; returns the changes of claims.
pub fn fold_event(entity: &mut Entity, event: &EntityEvent, number: usize) -> Vec<Claim> {
    if !may_change(entity, event) {
        entity.evolve(event);
        return Vec::new();
    }
    let (before, policy) = (held(entity), entity.manifest.settings.management_policy);
    entity.evolve(event);
    let after = held(entity);
    let freed = before.difference(&after).map(|key| Claim::Free { key: key.clone() });
    let taken = after.difference(&before).map(|key| Claim::Take {
        key: key.clone(),
        value: String::new(),
        event: number,
    });
    let shared = shared(entity, event, policy).into_iter().filter(|key| !after.contains(key));
    freed.chain(taken).chain(shared.map(|key| Claim::Share { key })).collect()
}

/// The changes of claims by `event`, given the entity `before` it: as [`fold_event`], without folding.
#[must_use]
pub fn of_event(before: &Entity, event: &EntityEvent) -> Vec<Claim> {
    if may_change(before, event) { fold_event(&mut before.clone(), event, 0) } else { Vec::new() }
}

/// The entity after `events`, and the changes of claims by their append.
#[must_use]
pub fn fold(
    mut entity: Entity,
    events: &[EntityEvent],
    envelope: &Envelope,
) -> (Entity, Vec<Claim>) {
    let last = events.len().saturating_sub(1);
    let mut changes = Vec::from_iter(of_request(envelope, last));
    for (number, event) in events.iter().enumerate() {
        changes.extend(fold_event(&mut entity, event, number));
    }
    (entity, last_of_each_key(changes))
}

/// Claims that a user's request must not find at another entity, though it takes none of them: the named object,
/// under either of its keys, and a new identity as an object of another entity. `policy` is the management policy
/// before the event.
fn shared(entity: &Entity, event: &EntityEvent, policy: ManagementPolicy) -> Vec<ClaimKey> {
    let names_object = match event {
        EntityEvent::CreateRequested { .. } | EntityEvent::AdoptRequested { .. } => true,
        EntityEvent::DecisionTaken { decision, .. } => matches!(decision, Decision::Adopt(_)),
        EntityEvent::SettingsChanged { .. } => {
            let full = entity.manifest.settings.management_policy == ManagementPolicy::Full;
            full && policy != ManagementPolicy::Full
        }
        _ => false,
    };
    let named = entity.observed.external_id.as_ref().filter(|_| names_object);
    let keys = |id| [ClaimKey::object(entity, id), ClaimKey::object_as_identity(entity, id)];
    let mut shared: Vec<_> = named.into_iter().flat_map(keys).collect();
    if matches!(event, EntityEvent::CreateRequested { .. }) {
        let identity = entity.identity.as_deref().map(ExternalId::from);
        shared.extend(identity.map(|id| ClaimKey::object(entity, &id)));
    }
    shared
}

/// Whether an event may change claims; most cannot, which saves the comparison.
fn may_change(before: &Entity, event: &EntityEvent) -> bool {
    match event {
        EntityEvent::CreateRequested { .. }
        | EntityEvent::AdoptRequested { .. }
        | EntityEvent::DecisionTaken { .. }
        | EntityEvent::SettingsChanged { .. }
        | EntityEvent::ExternalIdRecorded { .. }
        | EntityEvent::StrayFound { .. }
        | EntityEvent::ObjectContested { .. }
        | EntityEvent::Deleted { .. }
        | EntityEvent::Released { .. } => true,
        EntityEvent::SyncStarted { step, .. } => matches!(step, AttemptStep::Create),
        EntityEvent::SyncCompleted { step, observed, .. } => {
            before.is_deleted()
                || matches!(step, AttemptStep::CleanUp { .. })
                || names_another(before, observed)
        }
        EntityEvent::DriftDetected { observed, .. }
        | EntityEvent::DriftCleared { observed, .. }
        | EntityEvent::ObservedChanged { observed, .. }
        | EntityEvent::ErrorCleared { observed, .. } => names_another(before, observed),
        _ => false,
    }
}

fn names_another(before: &Entity, observed: &Observed) -> bool {
    before.contested.is_some() || before.observed.external_id != observed.external_id
}

/// The last change of each key decides, because one append may create and delete. A key that is taken or freed need
/// not be shared.
fn last_of_each_key(changes: Vec<Claim>) -> Vec<Claim> {
    let shares = |claim: &Claim| matches!(claim, Claim::Share { .. });
    let mut kept: Vec<Claim> = Vec::with_capacity(changes.len());
    for change in changes {
        let known = kept.iter().any(|earlier| earlier.key() == change.key());
        if known && shares(&change) {
            continue;
        }
        kept.retain(|earlier| earlier.key() != change.key());
        kept.push(change);
    }
    kept
}
