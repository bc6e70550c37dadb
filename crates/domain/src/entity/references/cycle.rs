//! Detects references that would wait for each other in a cycle.

use std::collections::BTreeSet;

use crate::entity::reference_target::Target;

/// The cycle through `start`, from `start` back to `start`; `None` = there is none. `dependencies_of` returns the
/// targets of an entity; empty for one that is not declared yet. Each entity is visited once, so the search
/// terminates even among cycles that do not contain `start`.
pub fn cycle(
    start: &Target,
    mut dependencies_of: impl FnMut(&Target) -> Vec<Target>,
) -> Option<Vec<Target>> {
    let mut seen = BTreeSet::from([start.clone()]);
    let mut path = vec![start.clone()];
    let mut open = vec![dependencies_of(start)];
    while let Some(next) = open.last_mut() {
        let Some(target) = next.pop() else {
            open.pop();
            path.pop();
            continue;
        };
        if target == *start {
            path.push(target);
            return Some(path);
        }
        if seen.insert(target.clone()) {
            open.push(dependencies_of(&target));
            path.push(target);
        }
    }
    None
}
