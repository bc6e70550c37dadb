//! Caches, per referenced name, the field values its dependents were last evaluated with, so that a change of a target
//! re-evaluates its dependents only if one of those values changed. A target with thousands of dependents changes far
//! more often than the fields they read.

use std::collections::HashMap;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::references::{self, Field, Purpose, Reference, Unready};
use stateward_domain::id::Namespace;

/// Maximum names; beyond it the cache is cleared.
const NAMES_MAX: usize = 10_000;
/// Maximum fields per name.
const FIELDS_MAX: usize = 16;
/// Maximum bytes of a text value.
const TEXT_MAX: usize = 256;

/// The value of a reference, or why it has none.
type CachedValue = Result<Value, Unready>;

/// Invariant: every dependent of a cached name has been evaluated with these values, or will be re-evaluated by an
/// event of its own. Dropping an entry is always safe; it costs one scan of the dependents.
#[derive(Default)]
pub(super) struct DependentCache {
    names: HashMap<ClaimKey, Entry>,
}

#[derive(Default)]
struct Entry {
    values: Vec<(Field, CachedValue)>,
    /// The scan of all dependents has finished; no field is added after that.
    complete: bool,
}

impl DependentCache {
    /// Whether `entity`, which has this name, may now have other values than its dependents were evaluated with.
    pub(super) fn is_stale(&self, name: &ClaimKey, entity: &Entity) -> bool {
        let Some(entry) = self.names.get(name).filter(|entry| entry.complete) else { return true };
        entry
            .values
            .iter()
            .any(|(field, value)| references::value(Some(entity), field, Purpose::Use) != *value)
    }

    /// Starts a scan of all dependents of these names, up to [`finish_scan`](Self::finish_scan).
    pub(super) fn begin_scan(&mut self, names: &[ClaimKey]) {
        if self.names.len() + names.len() > NAMES_MAX {
            self.names.clear();
        }
        self.names.extend(names.iter().map(|name| (name.clone(), Entry::default())));
    }

    /// Records that a dependent in `namespace` was evaluated with the values of `references`; `newest` returns the
    /// folds that were used.
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

    /// Ends the scan of all dependents of these names.
    pub(super) fn finish_scan(&mut self, names: &[ClaimKey]) {
        for name in names {
            match self.names.get_mut(name) {
                Some(entry) if !entry.values.is_empty() => entry.complete = true,
                // Most names have no dependents; the first one would find no value here, so the entry is dropped.
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

    /// The cache after a scan whose dependents read these fields.
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
