//! Claims: what the log keeps unique. They follow from events and envelope alone, so a copied log rebuilds them.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entity::aggregate::Entity;
use crate::entity::event::EntityEvent;
use crate::entity::state::{AttemptStep, Decision, ManagementPolicy, Manifest, Observed};
use crate::envelope::Envelope;
use crate::id::{EntityName, ExternalId, KindName, Namespace};

/// Something that at most one stream holds at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimKey(pub String);

impl ClaimKey {
    /// Prefix of idempotency claims, the only ones that are forgotten by age.
    pub const IDEMPOTENCY: &'static str = "idempotency/";

    /// Prefix of the names of undeleted entities.
    pub const NAME: &'static str = "name/";

    /// Prefix of the objects that entities manage, by what the backend calls them.
    pub const OBJECT: &'static str = "external/";

    /// Prefix of [`contender`](Self::contender).
    pub const CONTENDER: &'static str = "contender/";

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
        Some(Self(format!("{}{identity}", identities(entity))))
    }

    /// The object that the entity's backend calls `id`: `(backend, kind, external_id)`.
    #[must_use]
    pub fn object(entity: &Entity, id: &ExternalId) -> Self {
        let Manifest { backend, kind, .. } = &entity.manifest;
        Self(format!("{}{backend}/{kind}/{id}", Self::OBJECT))
    }

    /// The same object as an identity: kinds whose external id is what the desired state names hold it by that.
    #[must_use]
    pub fn object_as_identity(entity: &Entity, id: &ExternalId) -> Self {
        Self(format!("{}{id}", identities(entity)))
    }

    /// Held by an entity that names an object which another one manages. Never refused: it ends with the entity's id.
    #[must_use]
    pub fn contender(entity: &Entity, id: &ExternalId) -> Self {
        let Manifest { backend, kind, .. } = &entity.manifest;
        Self(format!("{}{backend}/{kind}/{id}/{}", Self::CONTENDER, entity.id))
    }

    /// What all contenders for an object begin with, given the claim on the object; `None` for every other claim.
    #[must_use]
    pub fn contenders(&self) -> Option<String> {
        let object = self.0.strip_prefix(Self::OBJECT)?;
        Some(format!("{}{object}/", Self::CONTENDER))
    }

    /// Whether it is about an object: held by whoever manages it, or contends for it.
    #[must_use]
    pub fn is_on_object(&self) -> bool {
        self.0.starts_with(Self::OBJECT) || self.0.starts_with(Self::CONTENDER)
    }

    /// The object that a claim on one is about, for the entity that it was refused to; `None` for every other claim.
    #[must_use]
    pub fn object_of(&self, entity: &Entity) -> Option<ExternalId> {
        let none = Self::object(entity, &ExternalId::default());
        self.0.strip_prefix(&none.0).map(ExternalId::from)
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
        /// Which of the append's events takes it, from 0.
        event: usize,
    },
    /// Refuse the whole append while another stream holds it; takes nothing.
    Share {
        /// What.
        key: ClaimKey,
    },
    /// Give it back; nothing happens when the stream does not hold it.
    Free {
        /// What.
        key: ClaimKey,
    },
}

impl Claim {
    /// What it is about.
    #[must_use]
    pub const fn key(&self) -> &ClaimKey {
        match self {
            Self::Take { key, .. } | Self::Share { key } | Self::Free { key } => key,
        }
    }
}

/// What the identities of the entity's driver in its backend begin with.
fn identities(entity: &Entity) -> String {
    let driver = entity.manifest.kind.as_str().split('.').next().unwrap_or_default();
    format!("identity/{}/{driver}/", entity.manifest.backend)
}

/// The claim of the request that `envelope` came with, taken by the append's event number `event`; `None` when it came
/// without an idempotency key.
#[must_use]
pub fn of_request(envelope: &Envelope, event: usize) -> Option<Claim> {
    let value = envelope.idempotency.as_ref()?.fingerprint.clone();
    Some(Claim::Take { key: ClaimKey::idempotency(envelope)?, value, event })
}

/// Everything that an entity holds, idempotency keys aside:
///
/// - its name while it lives;
/// - its identity until the object is proved gone and nothing is left to be cleaned up;
/// - under `full`, the object that it names, unless another entity has it; every object that it has to clean up.
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

/// Folds `event`, number `number` of its append, into `entity`: what it takes, shares and frees.
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

/// What `event` takes, shares and frees, when it happens to the entity `before`: as [`fold_event`], for whoever folds it
/// elsewhere.
#[must_use]
pub fn of_event(before: &Entity, event: &EntityEvent) -> Vec<Claim> {
    if may_change(before, event) { fold_event(&mut before.clone(), event, 0) } else { Vec::new() }
}

/// The entity after `events`, and the claims of an append of them.
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

/// What a user's request must not meet at another entity, though it takes nothing: the named object, by either of the
/// keys that it may be held by, and a new identity as the object of another entity. `policy` is that before the event.
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

/// Whether an event may change what is held: most do not, and need no comparison to know it.
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
        | EntityEvent::ObservedChanged { observed, .. } => names_another(before, observed),
        _ => false,
    }
}

fn names_another(before: &Entity, observed: &Observed) -> bool {
    before.contested.is_some() || before.observed.external_id != observed.external_id
}

/// An append may create and delete at once; what counts is how it leaves each key. Whoever takes a key, or gives it back,
/// need not share it.
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
