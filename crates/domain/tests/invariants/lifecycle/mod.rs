//! Runs moves and checks the invariants after each.

mod intents;

use std::collections::BTreeSet;

use stateward_domain::entity::claims::{self, Claim, ClaimKey};
use stateward_domain::entity::command::Intent;
use stateward_domain::entity::operation::{OperationChange, changes};
use stateward_domain::entity::state::{AttemptStep, Presence, State};
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::envelope::Envelope;
use stateward_domain::id::OperationId;
use stateward_domain::time::Timestamp;

use super::moves::Move;

/// An entity's history, with the operations and claims that a reader derives from its events alone.
#[derive(Default)]
pub(crate) struct Lifecycle {
    pub(crate) entity: Entity,
    pub(crate) events: Vec<EntityEvent>,
    open: BTreeSet<OperationId>,
    ended: BTreeSet<OperationId>,
    /// Claims derived append by append, as the log does.
    claimed: BTreeSet<ClaimKey>,
    /// Claims derived event by event, as a copy of the log does.
    followed: BTreeSet<ClaimKey>,
    intents: BTreeSet<(u64, String)>,
}

impl Lifecycle {
    /// Decides `one`; a refusal changes nothing.
    pub(crate) fn play(&mut self, one: &Move, turn: usize) {
        let turn = u32::try_from(turn).unwrap();
        let at = Timestamp(i64::from(turn + 1) * 1_000_000);
        let Some(intent) = self.intent(one, u128::from(turn) + 1) else { return };
        let Ok(events) = self.entity.decide(at, &intent) else {
            return;
        };
        let before = self.entity.clone();
        let (_, appended) = claims::fold(before.clone(), &events, &Envelope::default());
        apply(&mut self.claimed, appended);
        for event in events {
            self.fold(event);
        }
        self.check(&before, &intent);
    }

    fn fold(&mut self, event: EntityEvent) {
        let before = self.entity.clone();
        apply(&mut self.followed, claims::fold_event(&mut self.entity, &event, 0));
        for change in changes(&event, before.change().is_some()) {
            match change {
                OperationChange::Opened { id, .. } => {
                    assert!(self.open.insert(id) && !self.ended.contains(&id), "opened twice");
                }
                OperationChange::Ended { ids, .. } => {
                    for id in ids {
                        assert!(self.open.remove(&id), "{id} ended and was not open: {event:?}");
                        assert!(self.ended.insert(id), "{id} ended twice");
                    }
                }
                OperationChange::Running { ids } => {
                    assert!(ids.iter().all(|id| self.open.contains(id)), "ended, and runs");
                }
                OperationChange::Tried { .. } => {}
            }
        }
        self.check_event(&before, &event);
        self.events.push(event);
    }

    /// Invariants of single events.
    fn check_event(&mut self, before: &Entity, event: &EntityEvent) {
        if self.entity.manifest.desired != before.manifest.desired {
            let request = matches!(
                event,
                EntityEvent::CreateRequested { .. }
                    | EntityEvent::UpdateRequested { .. }
                    | EntityEvent::OperationCancelled { .. }
            );
            assert!(request, "2: {event:?} changed what is desired");
            assert!(self.entity.generation > before.generation, "2: an uncounted desired state");
        }
        match event {
            EntityEvent::SyncStarted { attempt, step, .. } => {
                if matches!(step, AttemptStep::Replace { .. }) {
                    assert!(before.replaceable().is_ok(), "5: replaced what has to stay");
                }
                assert!(*attempt > before.attempt, "attempts are numbered upwards");
                self.intents.insert((attempt.0, format!("{step:?}")));
            }
            EntityEvent::SyncCompleted { attempt, step, .. }
                if !matches!(step, AttemptStep::None | AttemptStep::CleanUp { .. }) =>
            {
                let intended = self.intents.contains(&(attempt.0, format!("{step:?}")));
                assert!(intended, "3: {step:?} ended without an intent");
                assert!(before.running.is_some() && before.attempt == *attempt, "4: stale");
            }
            EntityEvent::Deleted { .. } => {
                let proved = before.observed.presence == Presence::Absent;
                assert!(proved, "5: deleted without proof of absence: {before:#?}");
                assert!(!before.manifest.settings.protected || before.deletion.is_some(), "5");
            }
            _ => {}
        }
    }

    /// Invariants between appends.
    fn check(&self, before: &Entity, intent: &Intent) {
        let entity = &self.entity;
        assert!(entity.observed.generation <= entity.generation, "2");
        let still_there = entity.observed.presence == Presence::Present;
        assert!(!entity.replacing || !still_there, "3: a second half beside the old object");
        if entity.synced() {
            assert_eq!(
                entity.observed.generation, entity.generation,
                "2: synced with an old desired state"
            );
        }
        let open: BTreeSet<_> = entity.operations.iter().map(|open| open.id).collect();
        assert_eq!(open, self.open, "6: fold and read model differ after {intent:?}");
        assert!(open.len() <= Entity::MAX_OPEN + 8, "6: unbounded");
        if entity.is_deleted() {
            assert!(open.is_empty(), "6: an operation outlived its entity after {intent:?}");
        }
        if before.is_deleted() {
            assert!(entity.is_deleted(), "there is no way back");
        }
        self.check_progress();
        // Claims are a function of the fold, however they were derived.
        let held = claims::held(entity);
        assert_eq!((&self.claimed, &self.followed), (&held, &held), "7: {intent:?}");
        let name = ClaimKey::name(entity);
        assert_eq!(held.contains(&name), entity.exists() && !entity.is_deleted(), "7");
        if let Some(identity) = ClaimKey::identity(entity) {
            let holds = entity.exists() && (!entity.is_deleted() || !entity.strays.is_empty());
            assert_eq!(held.contains(&identity), holds, "7: {intent:?}");
        }
        for id in entity.strays.keys() {
            assert!(held.contains(&ClaimKey::object(entity, id)), "7: a stray is free to be taken");
        }
        if entity.contends() {
            let shown = (&entity.observed.attributes, &entity.drift);
            assert_eq!(shown, (&None, &None), "7: another's content after {intent:?}");
        }
    }

    /// Invariant 6: every unsettled entity has a due time, and every open operation has work.
    fn check_progress(&self) {
        let entity = &self.entity;
        let waits = entity.paused.is_some() || entity.blocked.is_some();
        let settled =
            matches!(entity.state, State::Nonexistent | State::Ok | State::Erred | State::Deleted);
        if !settled && !waits {
            assert!(entity.work().is_some(), "6: in between without a due time: {entity:#?}");
        }
        if !entity.operations.is_empty() && !waits {
            assert!(entity.work().is_some(), "6: an operation waits for nothing: {entity:#?}");
        }
        if entity.running.is_some() {
            assert!(entity.work().is_some(), "6: an attempt without work: {entity:#?}");
        }
    }
}

fn apply(held: &mut BTreeSet<ClaimKey>, changes: Vec<Claim>) {
    for change in changes {
        match change {
            Claim::Take { key, .. } => held.insert(key),
            Claim::Free { key } => held.remove(&key),
            Claim::Share { .. } => false,
        };
    }
}
