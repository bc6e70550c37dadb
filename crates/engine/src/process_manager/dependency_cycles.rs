//! Cycles of dependencies. A declaration that closes one is refused; two concurrent declarations can still close one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::references;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{EntityId, Position};
use stateward_domain::ports::sync_queue::SyncQueue;

use crate::admission::proposed_state::cycle_message;
use crate::backends::answer_limits::{MESSAGE_CHARS_MAX, shortened};
use crate::entity_repository::EntityRepository;
use crate::error::QueryError;

/// Entities that are followed at most. A cycle through more of them is not found.
const FOLLOWED_MAX: usize = 500;

/// By entity: what it depends on, and whether it uses a value of it.
type Dependencies = BTreeMap<EntityId, BTreeMap<EntityId, bool>>;

/// `entity` and all that it depends on, directly or through others, among entities that are being deleted.
///
/// # Errors
/// When an entity cannot be read.
pub(super) async fn left_with(
    entities: &EntityRepository,
    entity: &Entity,
) -> Result<Dependencies, QueryError> {
    let mut found = Dependencies::new();
    let mut open = vec![Arc::new(entity.clone())];
    while let Some(next) = open.pop().filter(|_| found.len() < FOLLOWED_MAX) {
        if found.contains_key(&next.id) {
            continue;
        }
        let mut values = references::targets(&references::declared(&next.manifest.desired));
        values.extend(next.made_from.iter().cloned());
        let mut on = BTreeMap::new();
        for target in next.dependencies() {
            let other = entities.readable_by_name(&next.manifest.namespace, &target).await?;
            if let Some(other) = other.filter(|other| is_being_deleted(other)) {
                on.insert(other.id, values.contains(&target));
                open.push(other);
            }
        }
        found.insert(next.id, on);
    }
    Ok(found)
}

/// Dependents that do not keep `entity` from being deleted: they are on a cycle with it, and it goes first. `found` is
/// what it [leaves with](left_with).
///
/// Invariant: of each cycle exactly one entity goes first: the smallest id among those of which none of the others
/// uses a value, or the smallest of all. The others wait for it, so the rest is a smaller cycle, or none.
pub(super) fn passed_over(entity: EntityId, found: &Dependencies) -> BTreeSet<EntityId> {
    let mut cycle = BTreeSet::new();
    loop {
        let before = cycle.len();
        for (id, on) in found {
            if on.keys().any(|other| *other == entity || cycle.contains(other)) {
                cycle.insert(*id);
            }
        }
        if cycle.len() == before {
            break;
        }
    }
    let is_used = |id: &EntityId| {
        cycle.iter().any(|other| other != id && found[other].get(id) == Some(&true))
    };
    let first = cycle.iter().find(|id| !is_used(id)).or_else(|| cycle.first());
    if first == Some(&entity) { cycle } else { BTreeSet::new() }
}

/// The dependent that keeps an entity from being deleted.
pub(super) struct Keeper {
    /// `None` = there is none.
    pub(super) by: Option<EntityId>,
    /// The last event that this takes into account.
    pub(super) as_of: Position,
}

/// The first dependent that keeps `entity` from being deleted.
///
/// # Errors
/// When the queue or an entity cannot be read.
pub(super) async fn keeper(
    entities: &EntityRepository,
    queue: &dyn SyncQueue,
    entity: &Entity,
) -> Result<Keeper, QueryError> {
    let name = [ClaimKey::name(entity)];
    let mut page = queue.dependents(&name, None, 1).await?;
    if !page.entities.is_empty() && !entity.dependencies().is_empty() {
        let passed = passed_over(entity.id, &left_with(entities, entity).await?);
        if !passed.is_empty() {
            page = queue.dependents(&name, None, passed.len() + 1).await?;
            page.entities.retain(|id| !passed.contains(id));
        }
    }
    Ok(Keeper { by: page.entities.first().copied(), as_of: page.as_of })
}

/// Adds to `failure`, for which `entity` is not created yet, the cycle that it is a part of.
///
/// # Errors
/// When an entity cannot be read.
pub(super) async fn name_cycle(
    entities: &EntityRepository,
    entity: &Entity,
    failure: &mut Failure,
) -> Result<(), QueryError> {
    let ErrorClass::ReferenceNotReady { on } = &failure.class else { return Ok(()) };
    if let Some(cycle) = of_creations(entities, entity, on).await? {
        let message = format!("{}; it {}", failure.message, cycle_message(&cycle));
        failure.message = shortened(message, MESSAGE_CHARS_MAX);
    }
    Ok(())
}

/// The cycle from `entity`, which is to be created, through `on`, which it waits for, back to `entity`, by entities
/// that are not created yet; `None` = there is none.
///
/// # Errors
/// When an entity cannot be read.
async fn of_creations(
    entities: &EntityRepository,
    entity: &Entity,
    on: &Target,
) -> Result<Option<Vec<Target>>, QueryError> {
    let start = entity.manifest.target();
    let mut found = BTreeMap::from([(start.clone(), vec![on.clone()])]);
    let mut open = vec![on.clone()];
    while let Some(next) = open.pop().filter(|_| found.len() < FOLLOWED_MAX) {
        if found.contains_key(&next) {
            continue;
        }
        let other = entities.readable_by_name(&entity.manifest.namespace, &next).await?;
        let other = other.filter(|other| other.applied.is_none() && !other.is_deleted());
        let targets = other.map(|other| other.manifest.declared_targets()).unwrap_or_default();
        let targets: Vec<_> = targets.into_iter().collect();
        open.extend(targets.iter().cloned());
        found.insert(next, targets);
    }
    Ok(references::cycle(&start, |of| found.get(of).cloned().unwrap_or_default()))
}

/// Whether its deletion goes on by itself.
pub(super) fn is_being_deleted(entity: &Entity) -> bool {
    entity.deletion.is_some() && !entity.is_deleted() && !entity.trouble.erred
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> EntityId {
        EntityId(Uuid::from_u128(number))
    }

    /// Which of these does not wait for the others; each edge = dependent, dependency, whether it uses a value.
    fn first(edges: &[(u128, u128, bool)]) -> Vec<u128> {
        let mut found = Dependencies::new();
        for (from, to, value) in edges {
            found.entry(id(*from)).or_default().insert(id(*to), *value);
            found.entry(id(*to)).or_default();
        }
        let numbers = found.keys().map(|id| id.0.as_u128());
        numbers.filter(|number| !passed_over(id(*number), &found).is_empty()).collect()
    }

    #[test]
    fn of_a_cycle_one_goes_first() {
        assert!(first(&[(1, 2, true), (2, 3, false)]).is_empty(), "no cycle");
        for value in [false, true] {
            assert_eq!(first(&[(1, 2, value), (2, 1, value)]), [1]);
            assert_eq!(first(&[(3, 2, value), (2, 4, value), (4, 3, value)]), [2]);
        }
        let names = "whose values are used goes later";
        assert_eq!(first(&[(2, 1, true), (1, 2, false)]), [2], "{names}");
        assert_eq!(first(&[(1, 3, true), (3, 2, true), (2, 1, false)]), [1], "{names}");
    }

    #[test]
    fn what_is_not_on_the_cycle_is_waited_for() {
        let mut found = Dependencies::new();
        found.insert(id(1), BTreeMap::from([(id(2), false), (id(3), false)]));
        found.insert(id(2), BTreeMap::from([(id(1), false)]));
        found.insert(id(3), BTreeMap::new());
        assert_eq!(passed_over(id(1), &found), BTreeSet::from([id(1), id(2)]));
    }
}
