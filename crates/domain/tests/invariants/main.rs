//! The invariants of an entity, checked on long random histories.
//!
//! `moves` draws what users, process managers, stale workers and observations do, sensible or not; `lifecycle` runs
//! it and checks every invariant after every step.
#![expect(clippy::unwrap_used, reason = "tests stop at what they find")]

mod lifecycle;
mod moves;
mod transitions;

use lifecycle::Lifecycle;
use moves::{AttemptOf, Move, ObjectAfter};
use proptest::collection::vec;
use proptest::prelude::*;
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::time::Timestamp;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// Invariants 2 to 7 hold after every step of every history: see `lifecycle::check`.
    #[test]
    fn every_invariant_holds_after_every_step(moves in vec(moves::any_move(), 1..60)) {
        let mut lifecycle = Lifecycle::default();
        for (turn, one) in moves.iter().enumerate() {
            lifecycle.play(one, turn);
        }
    }

    /// Invariant 1: the state is the fold of the events and of nothing else, also after storage.
    #[test]
    fn a_fold_of_the_stored_events_is_the_entity(moves in vec(moves::any_move(), 1..60)) {
        let mut lifecycle = Lifecycle::default();
        for (turn, one) in moves.iter().enumerate() {
            lifecycle.play(one, turn);
        }
        let stored = serde_json::to_string(&lifecycle.events).unwrap();
        let events: Vec<EntityEvent> = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(&Entity::fold(&events), &lifecycle.entity);
        let snapshot = serde_json::to_string(&lifecycle.entity).unwrap();
        let entity: Entity = serde_json::from_str(&snapshot).unwrap();
        prop_assert_eq!(entity, lifecycle.entity);
    }

    /// A recorded request changes nothing: neither at once, nor anything that follows.
    #[test]
    fn a_mere_record_changes_nothing_but_the_version(
        moves in vec(moves::any_move(), 1..60),
        places in vec(any::<prop::sample::Index>(), 1..5),
    ) {
        let mut lifecycle = Lifecycle::default();
        for (turn, one) in moves.iter().enumerate() {
            lifecycle.play(one, turn);
        }
        // No request is accepted before the declaration.
        prop_assume!(!lifecycle.events.is_empty());
        let mut events = lifecycle.events.clone();
        for place in &places {
            let at = Timestamp(i64::MAX);
            events.insert(1 + place.index(events.len()), EntityEvent::RequestRecorded { at });
        }
        let mut entity = Entity::fold(&events);
        prop_assert_eq!(entity.version.0, (lifecycle.events.len() + places.len()) as u64);
        entity.version = lifecycle.entity.version;
        prop_assert_eq!(entity.work(), lifecycle.entity.work());
        prop_assert_eq!(entity, lifecycle.entity);
    }

    /// Whatever happened, a person can end an entity: a release needs no backend, and no state forbids it.
    #[test]
    fn every_life_can_be_ended(moves in vec(moves::any_move(), 1..60)) {
        let mut lifecycle = Lifecycle::default();
        for (turn, one) in moves.iter().enumerate() {
            lifecycle.play(one, turn);
        }
        if lifecycle.entity.exists() && !lifecycle.entity.is_deleted() {
            lifecycle.play(&Move::Protect(false), 1_000);
            lifecycle.play(&Move::Delete { orphan: true }, 1_001);
            prop_assert!(lifecycle.entity.is_deleted());
            prop_assert!(lifecycle.entity.operations.is_empty());
        }
    }

    /// Folding is total: no order of events makes it panic, not even one that no aggregate would produce.
    #[test]
    fn folding_never_panics(
        moves in vec(moves::any_move(), 1..40),
        order in vec(any::<prop::sample::Index>(), 1..60),
    ) {
        let mut lifecycle = Lifecycle::default();
        for (turn, one) in moves.iter().enumerate() {
            lifecycle.play(one, turn);
        }
        if !lifecycle.events.is_empty() {
            let shuffled: Vec<_> = order.iter().map(|index| index.get(&lifecycle.events)).collect();
            let entity = Entity::fold(shuffled);
            let _ = (entity.work(), entity.conditions());
        }
    }

    /// The same from between the halves of a replacement, which random histories rarely reach.
    #[test]
    fn every_invariant_holds_after_half_a_replacement(
        whole in any::<bool>(),
        moves in vec(moves::any_move(), 1..60),
    ) {
        let mut lifecycle = Lifecycle::default();
        let halves = half_a_replacement();
        // Also from the middle of the first half.
        let passed = if whole { halves.len() } else { halves.len() - 1 };
        for (turn, one) in halves[..passed].iter().chain(&moves).enumerate() {
            lifecycle.play(one, turn);
            if turn + 1 == passed {
                prop_assert!(lifecycle.entity.replacing);
                prop_assert_eq!(lifecycle.entity.is_between_halves(), whole);
            }
        }
    }
}

/// From nothing to an object that was deleted for its replacement.
fn half_a_replacement() -> Vec<Move> {
    let complete = |left| Move::Complete { of: AttemptOf::Own, left, differs: false };
    vec![
        Move::Create { adopts: false, identity: false },
        Move::Start { step: 0, takes_over: false },
        complete(ObjectAfter::Present),
        Move::Update(2),
        Move::Start { step: 3, takes_over: false },
        complete(ObjectAfter::Absent),
    ]
}
