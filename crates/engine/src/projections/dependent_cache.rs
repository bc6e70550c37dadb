//! By what the users of an entity were last judged, so that all of them are judged anew only when that changed: one that
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
type Answer = Result<Value, Unready>;

/// Every user of a name in here was judged by these answers, or does not depend on them before an event of its own, at
/// which it is. Forgetting is always right: it costs a look at all users.
#[derive(Default)]
pub(super) struct Told {
    names: HashMap<ClaimKey, Known>,
}

#[derive(Default)]
struct Known {
    answers: Vec<(Field, Answer)>,
    /// No longer being learned: all users were looked at.
    complete: bool,
}

impl Told {
    /// Whether `entity`, whose name this is, may answer anything else than its users were judged by.
    pub(super) fn is_news(&self, name: &ClaimKey, entity: &Entity) -> bool {
        let Some(known) = self.names.get(name).filter(|known| known.complete) else { return true };
        known
            .answers
            .iter()
            .any(|(field, answer)| references::value(Some(entity), field, Purpose::Use) != *answer)
    }

    /// From now until [`end`](Self::end) all users of these are looked at.
    pub(super) fn begin(&mut self, names: &[ClaimKey]) {
        if self.names.len() + names.len() > NAMES_MAX {
            self.names.clear();
        }
        self.names.extend(names.iter().map(|name| (name.clone(), Known::default())));
    }

    /// A user in `namespace` was judged by what `references` stand for; `newest` answers the folds it was done with.
    pub(super) fn judged<'a>(
        &mut self,
        namespace: &Namespace,
        references: &[Reference],
        newest: impl Fn(&Target) -> Option<&'a Entity>,
    ) {
        for Reference { target, field, .. } in references {
            let answer = references::value(newest(target), field, Purpose::Use);
            self.heard(&ClaimKey::name_of(namespace, &target.kind, &target.name), field, answer);
        }
    }

    fn heard(&mut self, name: &ClaimKey, field: &Field, answer: Answer) {
        let Some(known) = self.names.get_mut(name) else { return };
        let same = match known.answers.iter().find(|(of, _)| of == field) {
            Some((_, before)) => *before == answer,
            None if known.complete || known.answers.len() == FIELDS_MAX || is_large(&answer) => {
                false
            }
            None => {
                known.answers.push((field.clone(), answer));
                true
            }
        };
        if !same {
            self.names.remove(name);
        }
    }

    /// All users of these were looked at.
    pub(super) fn end(&mut self, names: &[ClaimKey]) {
        for name in names {
            match self.names.get_mut(name) {
                Some(known) if !known.answers.is_empty() => known.complete = true,
                // Nearly all have no users, and whoever comes first would be news.
                _ => drop(self.names.remove(name)),
            }
        }
    }
}

fn is_large(answer: &Answer) -> bool {
    match answer {
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

    fn hears(told: &mut Told, entity: &Entity, field: &Field) {
        told.heard(&name(), field, references::value(Some(entity), field, Purpose::Use));
    }

    /// One whose users have asked for these fields.
    fn told(entity: &Entity, fields: &[Field]) -> Told {
        let mut told = Told::default();
        told.begin(&[name()]);
        for field in fields {
            hears(&mut told, entity, field);
        }
        told.end(&[name()]);
        told
    }

    #[test]
    fn only_what_users_refer_to_is_news() {
        let told = told(&entity("id-1", 1), &[Field::ExternalId]);
        assert!(!told.is_news(&name(), &entity("id-1", 2)));
        assert!(told.is_news(&name(), &entity("id-2", 1)));
        let in_doubt = Entity { replacing: true, ..entity("id-1", 1) };
        assert!(told.is_news(&name(), &in_doubt));
        assert!(told.is_news(&ClaimKey("name/n/fake.thing/other".to_owned()), &entity("id-1", 1)));
    }

    #[test]
    fn each_field_counts() {
        let told = told(&entity("id-1", 1), &[Field::ExternalId, field("size")]);
        assert!(!told.is_news(&name(), &entity("id-1", 1)));
        assert!(told.is_news(&name(), &entity("id-1", 2)));
    }

    #[test]
    fn one_that_was_judged_by_something_else_makes_the_next_change_news() {
        let (now, other) = (entity("id-1", 1), entity("id-2", 1));
        let mut known = told(&now, &[Field::ExternalId]);
        hears(&mut known, &now, &Field::ExternalId);
        assert!(!known.is_news(&name(), &now));
        hears(&mut known, &other, &Field::ExternalId);
        assert!(known.is_news(&name(), &now), "by another answer");
        let mut known = told(&now, &[Field::ExternalId]);
        hears(&mut known, &now, &field("size"));
        assert!(known.is_news(&name(), &now), "by another field");
    }

    #[test]
    fn what_was_not_told_to_the_end_or_differently_is_news() {
        let (now, other) = (entity("id-1", 1), entity("id-2", 1));
        let mut open = Told::default();
        open.begin(&[name()]);
        hears(&mut open, &now, &Field::ExternalId);
        assert!(open.is_news(&name(), &now));
        hears(&mut open, &other, &Field::ExternalId);
        hears(&mut open, &other, &Field::ExternalId);
        open.end(&[name()]);
        assert!(open.is_news(&name(), &now) && open.is_news(&name(), &other));
    }

    #[test]
    fn it_is_bounded() {
        let now = entity("id-1", 1);
        assert!(told(&now, &[]).names.is_empty(), "without users");
        assert!(told(&now, &[field("tags")]).names.is_empty(), "what is large is not kept");
        assert!(told(&entity(&"x".repeat(TEXT_MAX + 1), 1), &[Field::ExternalId]).names.is_empty());
        let fields: Vec<_> = (0..=FIELDS_MAX).map(|number| field(&number.to_string())).collect();
        assert!(!told(&now, &fields[1..]).names.is_empty());
        assert!(told(&now, &fields).names.is_empty());
        let mut told = Told::default();
        for number in 0..=NAMES_MAX {
            let name = [ClaimKey(number.to_string())];
            told.begin(&name);
            told.heard(&name[0], &Field::ExternalId, Ok(json!("id")));
            told.end(&name);
        }
        assert_eq!(told.names.len(), 1);
    }
}
