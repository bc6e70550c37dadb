//! By what the users of an entity were last record, so that all of them are record anew only when that changed: one that
//! thousands refer to changes more often than what they refer to.

use std::collections::HashMap;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::references::{self, Field, Purpose, Reference, Unready};
use stateward_domain::entity::target::Target;
use stateward_domain::id::Namespace;

/// Names remembered at most; beyond, all are forgotten.
const NAMES_MAX: usize = 10_000;
/// Fields of one that are remembered at most.
const FIELDS_MAX: usize = 16;
/// Bytes of a text that is remembered at most.
const TEXT_MAX: usize = 256;

/// What a reference stands for.
type CachedValue = Result<Value, Unready>;

/// Every user of a name in here was record by these values, or does not depend on them before an event of its own, at
/// which it is. Forgetting is always right: it costs a look at all users.
#[derive(Default)]
pub(super) struct DependentCache {
    names: HashMap<ClaimKey, Entry>,
}

#[derive(Default)]
struct Entry {
    values: Vec<(Field, CachedValue)>,
    /// No longer being learned: all users were looked at.
    complete: bool,
}

impl DependentCache {
    /// Whether `entity`, whose name this is, may value anything else than its users were record by.
    pub(super) fn is_stale(&self, name: &ClaimKey, entity: &Entity) -> bool {
        let Some(entry) = self.names.get(name).filter(|entry| entry.complete) else { return true };
        entry
            .values
            .iter()
            .any(|(field, value)| references::value(Some(entity), field, Purpose::Use) != *value)
    }

    /// From now until [`finish_scan`](Self::finish_scan) all users of these are looked at.
    pub(super) fn begin_scan(&mut self, names: &[ClaimKey]) {
        if self.names.len() + names.len() > NAMES_MAX {
            self.names.clear();
        }
        self.names.extend(names.iter().map(|name| (name.clone(), Entry::default())));
    }

    /// A user in `namespace` was record by what `references` stand for; `newest` values the folds it was done with.
    pub(super) fn record<'a>(
        &mut self,
        namespace: &Namespace,
        references: &[Reference],
        newest: impl Fn(&Target) -> Option<&'a Entity>,
    ) {
        for Reference { target, field, .. } in references {
            let value = references::value(newest(target), field, Purpose::Use);
            self.record_value(
                &ClaimKey::name_of(namespace, &target.kind, &target.name),
                field,
                value,
            );
        }
    }

    fn record_value(&mut self, name: &ClaimKey, field: &Field, value: CachedValue) {
        let Some(entry) = self.names.get_mut(name) else { return };
        let same = match entry.values.iter().find(|(of, _)| of == field) {
            Some((_, before)) => *before == value,
            None if entry.complete || entry.values.len() == FIELDS_MAX || is_large(&value) => false,
            None => {
                entry.values.push((field.clone(), value));
                true
            }
        };
        if !same {
            self.names.remove(name);
        }
    }

    /// All users of these were looked at.
    pub(super) fn finish_scan(&mut self, names: &[ClaimKey]) {
        for name in names {
            match self.names.get_mut(name) {
                Some(entry) if !entry.values.is_empty() => entry.complete = true,
                // Nearly all have no users, and whoever comes first would be news.
                _ => drop(self.names.remove(name)),
            }
        }
    }
}

fn is_large(value: &CachedValue) -> bool {
    match value {
        Ok(Value::Array(_) | Value::Object(_)) => true,
        Ok(Value::String(text)) => text.len() > TEXT_MAX,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stateward_domain::entity::state::{Observed, Presence, State};
    use stateward_domain::id::ExternalId;

    use super::*;

    fn name() -> ClaimKey {
        ClaimKey("name/n/fake.thing/it".to_owned())
    }

    fn entity(id: &str, size: u64) -> Entity {
        let observed = Observed {
            presence: Presence::Present,
            external_id: Some(ExternalId::from(id)),
            attributes: Some(json!({ "size": size, "tags": ["a"] })),
            ..Observed::default()
        };
        Entity { state: State::Ok, observed, ..Entity::default() }
    }

    fn field(name: &str) -> Field {
        Field::Attribute(vec![name.to_owned()])
    }

    fn record_of(cache: &mut DependentCache, entity: &Entity, field: &Field) {
        cache.record_value(&name(), field, references::value(Some(entity), field, Purpose::Use));
    }

    /// One whose users have asked for these fields.
    fn cache(entity: &Entity, fields: &[Field]) -> DependentCache {
        let mut cache = DependentCache::default();
        cache.begin_scan(&[name()]);
        for field in fields {
            record_of(&mut cache, entity, field);
        }
        cache.finish_scan(&[name()]);
        cache
    }

    #[test]
    fn only_a_change_of_what_dependents_refer_to_makes_it_stale() {
        let cache = cache(&entity("id-1", 1), &[Field::ExternalId]);
        assert!(!cache.is_stale(&name(), &entity("id-1", 2)));
        assert!(cache.is_stale(&name(), &entity("id-2", 1)));
        let in_doubt = Entity { replacing: true, ..entity("id-1", 1) };
        assert!(cache.is_stale(&name(), &in_doubt));
        assert!(
            cache.is_stale(&ClaimKey("name/n/fake.thing/other".to_owned()), &entity("id-1", 1))
        );
    }

    #[test]
    fn each_field_counts() {
        let cache = cache(&entity("id-1", 1), &[Field::ExternalId, field("size")]);
        assert!(!cache.is_stale(&name(), &entity("id-1", 1)));
        assert!(cache.is_stale(&name(), &entity("id-1", 2)));
    }

    #[test]
    fn a_dependent_evaluated_with_another_value_makes_it_stale() {
        let (now, other) = (entity("id-1", 1), entity("id-2", 1));
        let mut entry = cache(&now, &[Field::ExternalId]);
        record_of(&mut entry, &now, &Field::ExternalId);
        assert!(!entry.is_stale(&name(), &now));
        record_of(&mut entry, &other, &Field::ExternalId);
        assert!(entry.is_stale(&name(), &now), "by another value");
        let mut entry = cache(&now, &[Field::ExternalId]);
        record_of(&mut entry, &now, &field("size"));
        assert!(entry.is_stale(&name(), &now), "by another field");
    }

    #[test]
    fn an_unfinished_or_contradictory_scan_leaves_it_stale() {
        let (now, other) = (entity("id-1", 1), entity("id-2", 1));
        let mut open = DependentCache::default();
        open.begin_scan(&[name()]);
        record_of(&mut open, &now, &Field::ExternalId);
        assert!(open.is_stale(&name(), &now));
        record_of(&mut open, &other, &Field::ExternalId);
        record_of(&mut open, &other, &Field::ExternalId);
        open.finish_scan(&[name()]);
        assert!(open.is_stale(&name(), &now) && open.is_stale(&name(), &other));
    }

    #[test]
    fn it_is_bounded() {
        let now = entity("id-1", 1);
        assert!(cache(&now, &[]).names.is_empty(), "without dependents");
        assert!(cache(&now, &[field("tags")]).names.is_empty(), "what is large is not kept");
        assert!(
            cache(&entity(&"x".repeat(TEXT_MAX + 1), 1), &[Field::ExternalId]).names.is_empty()
        );
        let fields: Vec<_> = (0..=FIELDS_MAX).map(|number| field(&number.to_string())).collect();
        assert!(!cache(&now, &fields[1..]).names.is_empty());
        assert!(cache(&now, &fields).names.is_empty());
        let mut cache = DependentCache::default();
        for number in 0..=NAMES_MAX {
            let name = [ClaimKey(number.to_string())];
            cache.begin_scan(&name);
            cache.record_value(&name[0], &Field::ExternalId, Ok(json!("id")));
            cache.finish_scan(&name);
        }
        assert_eq!(cache.names.len(), 1);
    }
}
