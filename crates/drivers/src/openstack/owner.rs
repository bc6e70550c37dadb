//! The owner key as it is written into OpenStack's objects: `managed-entity.<entity>.<incarnation>`.
//!
//! Lower case, because databases compare it without regard to case; a dot, because it separates nothing in tags,
//! names or metadata; 60 characters at most, which is what Nova's tags hold.

use serde_json::Value;
use stateward_domain::id::{Incarnation, OwnerKey};

/// Name of the metadata and properties that hold it.
pub(super) const PROPERTY: &str = "managed_entity";

/// The key as a mark. One that is no key of ours, which never happens, marks nothing else either.
pub(super) fn mark(key: &OwnerKey) -> String {
    match key.parse() {
        Some((entity, incarnation)) => format!("{}.{entity}.{incarnation}", OwnerKey::MARKER),
        None => format!("{}.{}", OwnerKey::MARKER, key.0.to_lowercase()),
    }
}

/// The key that `text` is the mark of; `None` when it is none.
pub(super) fn unmark(text: &str) -> Option<OwnerKey> {
    let (entity, incarnation) =
        text.strip_prefix(OwnerKey::MARKER)?.strip_prefix('.')?.split_once('.')?;
    let key = OwnerKey::new(entity.parse().ok()?, Incarnation(incarnation.parse().ok()?));
    // Another spelling of the same id would not be found again by its mark.
    (mark(&key) == text).then_some(key)
}

/// The key among tags.
pub(super) fn in_tags(tags: &Value) -> Option<OwnerKey> {
    tags.as_array()?.iter().filter_map(Value::as_str).find_map(unmark)
}

/// The key in a map of metadata or properties.
pub(super) fn in_properties(properties: &Value) -> Option<OwnerKey> {
    properties[PROPERTY].as_str().and_then(unmark)
}

/// A name that carries a mark, for objects that have no other place.
pub(super) fn marked_name(name: &str, key: &OwnerKey) -> String {
    format!("{name} [{}]", mark(key))
}

/// The name without its mark, and the key.
pub(super) fn unmarked_name(name: &str) -> (&str, Option<OwnerKey>) {
    let split = name.strip_suffix(']').and_then(|rest| rest.rsplit_once(" ["));
    match split.map(|(name, text)| (name, unmark(text))) {
        Some((name, Some(key))) => (name, Some(key)),
        _ => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stateward_domain::id::EntityId;
    use uuid::Uuid;

    use super::*;

    fn key() -> OwnerKey {
        OwnerKey::new(EntityId(Uuid::from_u128(u128::MAX - 7)), Incarnation(12))
    }

    #[test]
    fn a_mark_comes_back_as_the_key_and_fits_into_a_tag() {
        let mark = mark(&key());
        assert_eq!(mark, "managed-entity.ffffffff-ffff-ffff-ffff-fffffffffff8.12");
        assert_eq!(unmark(&mark), Some(key()));
        let longest = OwnerKey::new(EntityId(Uuid::nil()), Incarnation(9_999_999));
        assert!(super::mark(&longest).len() <= 60);
    }

    #[test]
    fn nothing_else_is_a_mark() {
        let mark = mark(&key());
        for other in
            [&mark.to_uppercase(), &format!(" {mark}"), &format!("{mark}0x"), "managed-entity", ""]
        {
            assert_eq!(unmark(other), None, "{other}");
        }
        let padded = mark.replace(".12", ".012");
        assert_eq!(unmark(&padded), None, "another spelling");
    }

    #[test]
    fn every_place_is_read() {
        let mark = mark(&key());
        assert_eq!(in_tags(&json!(["a", mark])), Some(key()));
        assert_eq!(in_tags(&Value::Null), None);
        assert_eq!(in_properties(&json!({"managed_entity": mark, "b": "c"})), Some(key()));
        let name = marked_name("web [1]", &key());
        assert_eq!(unmarked_name(&name), ("web [1]", Some(key())));
        assert_eq!(unmarked_name("web [1]"), ("web [1]", None));
    }
}
