//! The aggregate: one managed entity, folded from its events and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::entity::reference_target::Target;
use crate::entity::state::{
    Blocked, Contested, DeletionPolicy, Drift, Lost, ManagementPolicy, Manifest, Observed,
    OpenOperation, OperationKind, Presence, RunningAttempt, State,
};
use crate::failure::{ErrorClass, Failure};
use crate::id::{
    Attempt, EntityId, ExternalId, Generation, Incarnation, OperationId, OwnerKey, Revision,
    Version,
};
use crate::skip_serializing::is_false;
use crate::time::Timestamp;

/// The desired state that was last applied to the object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Its generation.
    pub generation: Generation,
    /// The desired state itself: a cancelled change reverts to it.
    pub desired: Value,
}

/// Who ended the retries of an entity besides its retry budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// A person decided to give up.
    Person,
    /// A bug of a driver or of the engine.
    Bug,
}

/// Retry counters since the last success, change or retry request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryState {
    /// Failures that count against the retry budget.
    pub failures: u32,
    /// Consecutive attempts whose worker vanished.
    pub abandoned: u32,
    /// Consecutive changes that the backend accepted without effect, with the same fields left over.
    pub unconverged: u32,
    /// Those fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remaining: Vec<String>,
    /// Retries have ended until a user changes or retries the entity.
    #[serde(rename = "given_up", skip_serializing_if = "is_false")]
    pub erred: bool,
    /// Why it is erred, if an observation must not end that; a later failure does not change it. `None` = it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EndedBy>,
    /// Earliest time of the next attempt; `None` = at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// A managed entity. Fields are public to be read; only [`Entity::evolve`] changes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entity {
    /// Its id, which is also the id of its stream.
    pub id: EntityId,
    /// Number of folded events.
    pub version: Version,
    /// Its state.
    pub state: State,
    /// What users declared: the newest desired state and settings.
    pub manifest: Manifest,
    /// Version of the kind's schema that the desired state was checked against.
    pub schema_version: u32,
    /// Its identity in the backend; `None` for kinds that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Number of desired states.
    pub generation: Generation,
    /// Number of changes by users.
    pub revision: Revision,
    /// Last observation of the object.
    pub observed: Observed,
    /// The last applied desired state; `None` = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// Number of creations of the object. 0 = none was intended.
    pub incarnation: Incarnation,
    /// Whether an object of this incarnation was observed; then the next creation begins a new incarnation.
    #[serde(skip_serializing_if = "is_false")]
    pub materialised: bool,
    /// Whether its object is one that it adopted, and did not make: it carries no owner key of this entity.
    #[serde(skip_serializing_if = "is_false")]
    pub adopted: bool,
    /// Time of the last create intent; `None` = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_intended_at: Option<Timestamp>,
    /// When the newest creation ended without a known outcome: its request was sent before, and may still run in the
    /// backend. `None` = the creation runs, or its outcome is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_lost_at: Option<Timestamp>,
    /// Number of the newest attempt.
    pub attempt: Attempt,
    /// The attempt that runs; `None` = none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<RunningAttempt>,
    /// Operations that have not ended, oldest first; bounded by [`Entity::MAX_OPEN`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OpenOperation>,
    /// Policy of the pending deletion; `None` = none is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionPolicy>,
    /// Targets whose values the object may have been made from. Grows with each attempt that writes such values;
    /// replaced by the targets of the applied desired state when an attempt succeeds. Bounded, because an attempt
    /// begins only when its targets exist.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub made_from: BTreeSet<Target>,
    /// Desired states that an attempt to create or change the object was begun with since one was applied: the object may
    /// have parts of each. Distinct, oldest first; bounded by [`Entity::MAX_ATTEMPTED`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempted: Vec<Value>,
    /// A replacement is in progress: from the intent to delete the old object until the new one is present.
    #[serde(skip_serializing_if = "is_false")]
    pub replacing: bool,
    /// The request for the newest desired state allowed a replacement. Void once that state is reached or superseded.
    #[serde(skip_serializing_if = "is_false")]
    pub replace_once: bool,
    /// Retry counters. (Stored as `trouble`.)
    pub trouble: RetryState,
    /// The last failure, until the next success or change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What it waits for; `None` = it is not blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// Whether the object's write-only values may differ from the applied desired state: an attempt that wrote them
    /// did not succeed, or it is another object. They cannot be observed, so they have to be written again.
    #[serde(rename = "unseen_in_doubt", skip_serializing_if = "is_false")]
    pub write_only_dirty: bool,
    /// Known drift; `None` = none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Set while the object is absent though it was present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// When it was paused; `None` = it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Timestamp>,
    /// Objects to clean up: external id, and the attempt that left it; bounded by [`Entity::MAX_STRAYS`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub strays: BTreeMap<ExternalId, Attempt>,
    /// Set while another entity of this log names the same object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contested: Option<Contested>,
    /// A person allowed a creation that the engine must not decide on.
    #[serde(skip_serializing_if = "is_false")]
    pub create_allowed: bool,
    /// Released, not deleted: the object still exists.
    #[serde(skip_serializing_if = "is_false")]
    pub released: bool,
    /// When `synced` and `ready` last changed.
    pub synced_since: Timestamp,
    /// See `synced_since`.
    pub ready_since: Timestamp,
    /// Time of the first event.
    pub created_at: Timestamp,
    /// Time of the newest event.
    pub updated_at: Timestamp,
}

impl Entity {
    /// Open operations, at most; a further request is refused.
    pub const MAX_OPEN: usize = 32;
    /// Strays that are tracked for clean-up, at most; the log has all of them.
    pub const MAX_STRAYS: usize = 64;
    /// Attempted desired states, at most; of more, the oldest is forgotten.
    pub const MAX_ATTEMPTED: usize = 8;
    /// Consecutive abandoned attempts after which no further one starts.
    pub const MAX_ABANDONED: u32 = 3;
    /// Consecutive changes that leave the same difference before the entity is blocked.
    pub const MAX_UNCONVERGED: u32 = 3;

    /// Whether it was ever declared.
    #[must_use]
    pub const fn exists(&self) -> bool {
        !matches!(self.state, State::Nonexistent)
    }

    /// Whether it is deleted or released.
    #[must_use]
    pub const fn is_deleted(&self) -> bool {
        matches!(self.state, State::Deleted)
    }

    /// Whether a bug of a driver or of the engine stopped it: nothing happens until a person acts.
    #[must_use]
    pub fn is_dead_letter(&self) -> bool {
        let shown = self.error.as_ref().is_some_and(|error| error.class == ErrorClass::Bug);
        self.trouble.erred && (shown || self.trouble.ended_by == Some(EndedBy::Bug))
    }

    /// The open operation with this id; `None` = it is not open.
    #[must_use]
    pub fn operation(&self, id: OperationId) -> Option<&OpenOperation> {
        self.operations.iter().find(|operation| operation.id == id)
    }

    /// The open operation for the newest desired state; `None` when there is none.
    #[must_use]
    pub fn change(&self) -> Option<&OpenOperation> {
        self.operations.iter().find(|operation| operation.kind.is_change())
    }

    /// The oldest open action; `None` when there is none.
    #[must_use]
    pub fn next_action(&self) -> Option<&OpenOperation> {
        self.operations.iter().find(|operation| matches!(operation.kind, OperationKind::Action(_)))
    }

    /// Whether the object has the newest desired state, as far as is known.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.observed.presence == Presence::Present
            && self.observed.generation == self.generation
            && self.drift.is_none()
            && self.lost.is_none()
            && self.deletion.is_none()
            && !self.is_deleted()
    }

    /// Whether the object can be used, as far as is known.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.observed.presence == Presence::Present
            && self.observed.unready.is_none()
            && self.deletion.is_none()
            && !self.is_deleted()
    }

    /// Whether the object may exist: false only if its absence is proved.
    #[must_use]
    pub const fn may_exist(&self) -> bool {
        !matches!(self.observed.presence, Presence::Absent)
    }

    /// The incarnation of the next creation: the same one while none of its objects was observed, so that a repeated
    /// create carries the same owner key.
    #[must_use]
    pub const fn next_incarnation(&self) -> Incarnation {
        if self.incarnation.0 == 0 || self.materialised {
            self.incarnation.next()
        } else {
            self.incarnation
        }
    }

    /// Whether it may only adopt a named object, never create one.
    #[must_use]
    pub const fn only_adopts(&self) -> bool {
        self.manifest.external_id.is_some()
            && self.applied.is_none()
            && !self.create_allowed
            && !self.replacing
    }

    /// The object that it manages: it names it, may change it, and no other entity holds it. `None` = none.
    #[must_use]
    pub fn managed_object(&self) -> Option<&ExternalId> {
        self.named_under_full().filter(|_| !self.contends())
    }

    /// The object that it would manage if another entity did not hold it. `None` = none.
    #[must_use]
    pub fn contended_object(&self) -> Option<&ExternalId> {
        self.named_under_full().filter(|_| self.contends())
    }

    fn named_under_full(&self) -> Option<&ExternalId> {
        let full = self.manifest.settings.management_policy == ManagementPolicy::Full;
        let living = full && self.exists() && !self.is_deleted();
        self.observed.external_id.as_ref().filter(|_| living)
    }

    /// Whether another entity holds the object that it names.
    #[must_use]
    pub fn contends(&self) -> bool {
        self.contested.as_ref().is_some_and(|contested| !contested.holds)
    }

    /// The owner key of the current incarnation.
    #[must_use]
    pub fn owner_key(&self) -> OwnerKey {
        OwnerKey::new(self.id, self.incarnation)
    }

    /// The owner key for calls that concern its object. That of an adopted object has incarnation 0, under which none was
    /// ever made: a driver neither misses nor writes it.
    #[must_use]
    pub fn object_key(&self) -> OwnerKey {
        let incarnation = if self.adopted { Incarnation::default() } else { self.incarnation };
        OwnerKey::new(self.id, incarnation)
    }
}
