//! The targets that an entity depends on, and whether it has to follow changes of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{declared, targets, usable};
use crate::entity::Entity;
use crate::entity::claims::ClaimKey;
use crate::entity::reference_target::Target;
use crate::entity::state::{ManagementPolicy, Manifest, Presence};

impl Manifest {
    /// The targets that it declares: of its references, and those that it depends on without a value.
    #[must_use]
    pub fn declared_targets(&self) -> BTreeSet<Target> {
        let mut targets = targets_in(&self.desired);
        targets.extend(self.settings.depends_on.iter().cloned());
        targets
    }
}

impl Entity {
    /// Targets that its object may have been made from, or is to be made from or after. Empty once the entity is
    /// deleted.
    #[must_use]
    pub fn dependencies(&self) -> BTreeSet<Target> {
        if self.is_deleted() {
            return BTreeSet::new();
        }
        let mut dependencies = self.manifest.declared_targets();
        dependencies.extend(self.made_from.iter().cloned());
        dependencies
    }

    /// As [`dependencies`](Self::dependencies), as claim keys of their names.
    #[must_use]
    pub fn dependency_names(&self) -> BTreeSet<ClaimKey> {
        let namespace = &self.manifest.namespace;
        let name = |target: Target| ClaimKey::name_of(namespace, &target.kind, &target.name);
        self.dependencies().into_iter().map(name).collect()
    }

    /// Whether its creation waits for `target`, which it depends on without a value. `newest` is the newest fold of
    /// that; `None` = it is not declared.
    #[must_use]
    pub fn awaits(&self, target: &Target, newest: Option<&Self>) -> bool {
        self.observed.presence != Presence::Present
            && self.deletion.is_none()
            && self.manifest.settings.depends_on.contains(target)
            && usable(newest).is_err()
    }

    /// Whether the object matches the newest desired state with other reference values than `values`, and policy
    /// allows to change it.
    #[must_use]
    pub fn is_outdated(&self, values: &BTreeMap<String, Value>) -> bool {
        self.follows_references() && self.observed.references != *values
    }

    /// Whether a change of reference values alone leads to work.
    #[must_use]
    pub fn follows_references(&self) -> bool {
        self.manifest.settings.management_policy == ManagementPolicy::Full
            && self.exists()
            && !self.is_deleted()
            && self.deletion.is_none()
            && self.paused.is_none()
            && self.lost.is_none()
            && !self.trouble.erred
            && self.observed.generation == self.generation
    }
}

/// The targets of a desired state in the log.
pub(crate) fn targets_in(desired: &Value) -> BTreeSet<Target> {
    targets(&declared(desired))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::entity::state::{DeletionPolicy, State};
    use crate::id::{Generation, Namespace};
    use crate::time::Timestamp;

    fn to(name: &str) -> Value {
        json!({ "to": { "$ref": format!("fake.thing/{name}") } })
    }

    fn dependent() -> Entity {
        let mut dependent = Entity { state: State::Ok, ..Entity::default() };
        dependent.manifest.namespace = Namespace("n".to_owned());
        dependent.manifest.desired = to("new");
        dependent
    }

    fn names(entity: &Entity) -> Vec<String> {
        entity.dependency_names().into_iter().map(|name| name.0).collect()
    }

    #[test]
    fn a_target_it_was_made_from_is_a_dependency_until_it_was_made_otherwise() {
        let mut dependent = dependent();
        assert_eq!(names(&dependent), ["name/n/fake.thing/new"]);
        dependent.made_from = targets_in(&to("old"));
        assert_eq!(names(&dependent), ["name/n/fake.thing/new", "name/n/fake.thing/old"]);
        let on = Target::parse("fake.thing/before").expect("a target");
        dependent.manifest.settings.depends_on.insert(on);
        dependent.deletion = Some(DeletionPolicy::Delete);
        assert_eq!(names(&dependent).len(), 3, "it is still there");
        dependent.state = State::Deleted;
        assert_eq!(names(&dependent), [""; 0]);
    }

    #[test]
    fn it_follows_other_values_only_when_it_was_as_desired_and_may_be_changed() {
        let values = BTreeMap::from([("/to".to_owned(), json!("id-1"))]);
        let mut dependent = dependent();
        assert!(dependent.is_outdated(&values) && dependent.work().is_none());
        assert!(
            dependent.work_of_references(Timestamp(7)).is_some_and(|work| work.due == Timestamp(7))
        );
        dependent.observed.references.clone_from(&values);
        assert!(!dependent.is_outdated(&values));
        dependent.observed.references.clear();
        for held in [
            Entity { paused: Some(Timestamp(1)), ..dependent.clone() },
            Entity { deletion: Some(DeletionPolicy::Delete), ..dependent.clone() },
            Entity { generation: Generation(2), ..dependent.clone() },
            Entity { state: State::Deleted, ..dependent.clone() },
        ] {
            assert!(!held.is_outdated(&values), "{held:?}");
        }
        dependent.manifest.settings.management_policy = ManagementPolicy::ObserveOnly;
        assert!(
            !dependent.is_outdated(&values) && dependent.work_of_references(Timestamp(7)).is_none()
        );
    }
}
