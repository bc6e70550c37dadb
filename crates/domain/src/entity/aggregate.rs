//! The aggregate: one managed thing, folded from its events and from nothing else.

use std::collections::{BTreeMap, BTreeSet};

use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::entity::command::{Command, Refusal};
use crate::entity::event::EntityEvent;
use crate::entity::state::{
    Blocked, Contested, DeletionPolicy, Drift, Lost, ManagementPolicy, Manifest, Observed,
    OpenOperation, OperationKind, Presence, RunningAttempt, State,
};
use crate::entity::target::Target;
use crate::entity::{decide, evolve};
use crate::failure::{ErrorClass, Failure};
use crate::id::{
    Attempt, EntityId, ExternalId, Generation, Incarnation, OperationId, OwnerKey, Revision,
    Version,
};
use crate::serde_util::is_false;
use crate::time::Timestamp;

/// The desired state that the object last was brought to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Its generation.
    pub generation: Generation,
    /// The desired state itself: what a cancelled change goes back to.
    pub desired: Value,
}

/// How tries have gone since the last success, change or retry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryState {
    /// Failures that use up the budget.
    pub failures: u32,
    /// Attempts whose worker vanished, in a row.
    pub abandoned: u32,
    /// Changes that the backend accepted and did not do, with the same fields left over.
    pub unconverged: u32,
    /// Those fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remaining: Vec<String>,
    /// Left alone until a user does something.
    #[serde(rename = "given_up", skip_serializing_if = "is_false")]
    pub erred: bool,
    /// Not before this time; `None` = at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// A managed entity. Fields are public to be read; only [`Aggregate::apply`] changes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entity {
    /// Its id, also of its stream.
    pub id: EntityId,
    /// Number of folded events.
    pub version: Version,
    /// Where it stands.
    pub state: State,
    /// What users declared, with the newest desired state and settings.
    pub manifest: Manifest,
    /// Version of the kind's schema that the desired state was checked against.
    pub schema_version: u32,
    /// The identity that it holds in its backend; `None` for kinds that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Counts desired states.
    pub generation: Generation,
    /// Counts what users changed.
    pub revision: Revision,
    /// What is known of the object.
    pub observed: Observed,
    /// What the object was last brought to; `None` = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// Counts creations of the object. 0 = none was ever intended.
    pub incarnation: Incarnation,
    /// Whether an object of this incarnation was seen; the next creation then begins a new one.
    #[serde(skip_serializing_if = "is_false")]
    pub materialised: bool,
    /// When the last create intent was recorded; `None` = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_intended_at: Option<Timestamp>,
    /// Number of the newest attempt.
    pub attempt: Attempt,
    /// The attempt that has begun and not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<RunningAttempt>,
    /// Operations that have not ended, oldest first; bounded by [`Entity::MAX_OPEN`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OpenOperation>,
    /// How the pending deletion shall go; `None` = none is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionPolicy>,
    /// Everyone whom its object may be made from: grows with each attempt that gives it something, and is as the
    /// applied desired state says once one succeeded. Bounded by those that exist: an attempt begins only with them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub made_from: BTreeSet<Target>,
    /// Being replaced, from the intent to remove the old object until the new one is there.
    #[serde(skip_serializing_if = "is_false")]
    pub replacing: bool,
    /// Whoever asked for the newest desired state allowed a replacement for it; void once it is reached or another
    /// takes its place.
    #[serde(skip_serializing_if = "is_false")]
    pub replace_once: bool,
    /// How tries have gone.
    pub trouble: RetryState,
    /// The last failure, until the next success or change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// Whether the object may hold other write-only values than the applied desired state refers to: an attempt that
    /// wrote them did not succeed, or it is another object. Nobody can look, so they have to be written again.
    #[serde(rename = "unseen_in_doubt", skip_serializing_if = "is_false")]
    pub write_only_dirty: bool,
    /// Known drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Set while an object that was there is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// Paused since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Timestamp>,
    /// Objects to be cleaned up: external id and the attempt that left it; bounded by [`Entity::MAX_STRAYS`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub strays: BTreeMap<ExternalId, Attempt>,
    /// Set while another entity of this log names the same object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contested: Option<Contested>,
    /// A person allowed a creation where the engine must not decide by itself.
    #[serde(skip_serializing_if = "is_false")]
    pub create_allowed: bool,
    /// Released rather than deleted: the object lives on.
    #[serde(skip_serializing_if = "is_false")]
    pub released: bool,
    /// Since when `synced` and `ready` are what they are.
    pub synced_since: Timestamp,
    /// See `synced_since`.
    pub ready_since: Timestamp,
    /// Time of the first event.
    pub created_at: Timestamp,
    /// Time of the newest event.
    pub updated_at: Timestamp,
}

impl Entity {
    /// Open operations at most; a request beyond is refused.
    pub const MAX_OPEN: usize = 32;
    /// Strays kept for clean-up at most; the log has them all.
    pub const MAX_STRAYS: usize = 64;
    /// Attempts abandoned in a row before the entity is given up.
    pub const MAX_ABANDONED: u32 = 3;
    /// Changes in a row that leave the same difference before the entity is blocked.
    pub const MAX_UNCONVERGED: u32 = 3;

    /// Folds `event` into the state.
    pub fn evolve(&mut self, event: &EntityEvent) {
        evolve::evolve(self, event);
    }

    /// Folds a whole stream.
    #[must_use]
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a EntityEvent>) -> Self {
        let mut entity = Self::default();
        events.into_iter().for_each(|event| entity.evolve(event));
        entity
    }

    /// Whether it was ever declared.
    #[must_use]
    pub const fn exists(&self) -> bool {
        !matches!(self.state, State::Nonexistent)
    }

    /// Whether its life is over.
    #[must_use]
    pub const fn is_deleted(&self) -> bool {
        matches!(self.state, State::Deleted)
    }

    /// Whether a fault of a driver or of ours stopped it: nothing happens until a person looks.
    #[must_use]
    pub fn is_dead_letter(&self) -> bool {
        self.trouble.erred
            && self.error.as_ref().is_some_and(|error| error.class == ErrorClass::Bug)
    }

    /// The open operation with this id.
    #[must_use]
    pub fn operation(&self, id: OperationId) -> Option<&OpenOperation> {
        self.operations.iter().find(|operation| operation.id == id)
    }

    /// The open wish for the newest desired state; `None` when there is none.
    #[must_use]
    pub fn change(&self) -> Option<&OpenOperation> {
        self.operations.iter().find(|operation| operation.kind.is_change())
    }

    /// The oldest action that waits; `None` when there is none.
    #[must_use]
    pub fn next_action(&self) -> Option<&OpenOperation> {
        self.operations.iter().find(|operation| matches!(operation.kind, OperationKind::Action(_)))
    }

    /// Whether the object is as the newest desired state wants it, as far as is known.
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
        self.observed.presence == Presence::Present && self.deletion.is_none() && !self.is_deleted()
    }

    /// Whether the object may exist: anything but proved absent.
    #[must_use]
    pub const fn may_exist(&self) -> bool {
        !matches!(self.observed.presence, Presence::Absent)
    }

    /// The incarnation that the next creation belongs to: the same one while none of its objects was seen, so
    /// that a repeated create carries the same owner key.
    #[must_use]
    pub const fn next_incarnation(&self) -> Incarnation {
        if self.incarnation.0 == 0 || self.materialised {
            self.incarnation.next()
        } else {
            self.incarnation
        }
    }

    /// Whether it takes an object that is named, and never makes one by itself.
    #[must_use]
    pub const fn only_adopts(&self) -> bool {
        self.manifest.external_id.is_some()
            && self.applied.is_none()
            && !self.create_allowed
            && !self.replacing
    }

    /// The object that it manages: it names it, may change it, and no other entity has it. `None` = none.
    #[must_use]
    pub fn managed_object(&self) -> Option<&ExternalId> {
        self.named_under_full().filter(|_| !self.contends())
    }

    /// The object that it would manage if another entity did not. `None` = none.
    #[must_use]
    pub fn contended_object(&self) -> Option<&ExternalId> {
        self.named_under_full().filter(|_| self.contends())
    }

    fn named_under_full(&self) -> Option<&ExternalId> {
        let full = self.manifest.settings.management_policy == ManagementPolicy::Full;
        let living = full && self.exists() && !self.is_deleted();
        self.observed.external_id.as_ref().filter(|_| living)
    }

    /// Whether another entity has the object that it names.
    #[must_use]
    pub fn contends(&self) -> bool {
        self.contested.as_ref().is_some_and(|contested| !contested.holds)
    }

    /// The owner key of the present incarnation.
    #[must_use]
    pub fn owner_key(&self) -> OwnerKey {
        OwnerKey::new(self.id, self.incarnation)
    }
}

impl Aggregate for Entity {
    const TYPE: &'static str = "entity";
    type Command = Command;
    type Event = EntityEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        _service: &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in decide::decide(self, command.at, &command.intent)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        self.evolve(&event);
    }
}
