//! The owner key as OpenStack's objects carry it: `managed-entity.<entity>.<incarnation>`.
//!
//! Lower case, because databases compare it case-insensitively; a dot, because it is no separator in tags, names or
//! metadata; at most 60 characters, the limit of Nova's tags.

use serde_json::Value;
use stateward_domain::id::{Incarnation, OwnerKey};

/// Key of the metadata or property that holds it.
pub(super) const PROPERTY: &str = "managed_entity";

/// The encoded key. A malformed key, which never occurs, is encoded to a text that matches no other.
pub(super) fn encode(key: &OwnerKey) -> String {
    match key.parse() {
        Some((entity, incarnation)) => format!("{}.{entity}.{incarnation}", OwnerKey::MARKER),
        None => format!("{}.{}", OwnerKey::MARKER, key.0.to_lowercase()),
    }
}

/// The decoded key; `None` if `text` is none.
pub(super) fn decode(text: &str) -> Option<OwnerKey> {
    let (entity, incarnation) =
        text.strip_prefix(OwnerKey::MARKER)?.strip_prefix('.')?.split_once('.')?;
    let key = OwnerKey::new(entity.parse().ok()?, Incarnation(incarnation.parse().ok()?));
    // A search by the encoded key would not find another spelling of the same id.
    (encode(&key) == text).then_some(key)
}

/// The owner key in a list of tags.
pub(super) fn from_tags(tags: &Value) -> Option<OwnerKey> {
    tags.as_array()?.iter().filter_map(Value::as_str).find_map(decode)
}

/// The tags that are owner keys.
pub(super) fn marks(tags: &Value) -> impl Iterator<Item = &Value> {
    let tags = tags.as_array().into_iter().flatten();
    tags.filter(|tag| tag.as_str().and_then(decode).is_some())
}

/// The key to write into an object that carries `there`: another owner's stays, and so does any key of an object that
/// was adopted (`ours` of incarnation 0).
pub(super) fn kept<'a>(there: &'a OwnerKey, ours: &'a OwnerKey) -> &'a OwnerKey {
    match (there.parse(), ours.parse()) {
        (Some((theirs, _)), Some((own, incarnation)))
            if theirs == own && incarnation > Incarnation::default() =>
        {
            ours
        }
        _ => there,
    }
}

/// The user's tags and the key of an object that is created.
pub(super) fn tags_with_key(users: Option<&Value>, key: &OwnerKey) -> Value {
    let mut tags = users.and_then(Value::as_array).cloned().unwrap_or_default();
    tags.push(Value::from(encode(key)));
    Value::Array(tags)
}

/// The user's tags with the keys that are in `there`, an older one of ours as the present one beside no other's. Without
/// a key there, none is added: the object may have been adopted.
pub(super) fn with_tags(users: &Value, there: &Value, ours: &OwnerKey) -> Value {
    let mut tags = users.as_array().cloned().unwrap_or_default();
    let there = there.as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut keys: Vec<_> =
        there.filter_map(decode).map(|there| encode(kept(&there, ours))).collect();
    let own = encode(ours);
    if keys.iter().any(|key| *key != own) {
        keys.retain(|key| *key != own);
    }
    keys.dedup();
    tags.extend(keys.into_iter().map(Value::from));
    Value::Array(tags)
}

/// The owner key in a map of metadata or properties.
pub(super) fn from_properties(properties: &Value) -> Option<OwnerKey> {
    properties[PROPERTY].as_str().and_then(decode)
}

/// A name with the owner key as suffix, for objects that have no other place.
pub(super) fn append_to_name(name: &str, key: &OwnerKey) -> String {
    format!("{name} [{}]", encode(key))
}

/// The name without the suffix, and the owner key.
pub(super) fn split_name(name: &str) -> (&str, Option<OwnerKey>) {
    let split = name.strip_suffix(']').and_then(|rest| rest.rsplit_once(" ["));
    match split.map(|(name, text)| (name, decode(text))) {
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
        let encoded = encode(&key());
        assert_eq!(encoded, "managed-entity.ffffffff-ffff-ffff-ffff-fffffffffff8.12");
        assert_eq!(decode(&encoded), Some(key()));
        let longest = OwnerKey::new(EntityId(Uuid::nil()), Incarnation(9_999_999));
        assert!(encode(&longest).len() <= 60);
    }

    #[test]
    fn nothing_else_is_a_mark() {
        let encoded = encode(&key());
        for other in [
            &encoded.to_uppercase(),
            &format!(" {encoded}"),
            &format!("{encoded}0x"),
            "managed-entity",
            "",
        ] {
            assert_eq!(decode(other), None, "{other}");
        }
        let padded = encoded.replace(".12", ".012");
        assert_eq!(decode(&padded), None, "another spelling");
    }

    #[test]
    fn the_key_of_another_owner_is_kept_and_an_older_one_of_ours_is_not() {
        let other = OwnerKey::new(EntityId(Uuid::from_u128(1)), Incarnation(1));
        let older = OwnerKey::new(EntityId(Uuid::from_u128(u128::MAX - 7)), Incarnation(11));
        let adopted = OwnerKey::new(EntityId(Uuid::from_u128(u128::MAX - 7)), Incarnation(0));
        assert_eq!(kept(&other, &key()), &other);
        assert_eq!(kept(&older, &key()), &key());
        assert_eq!(kept(&older, &adopted), &older);
        for (there, written) in [
            (json!([]), vec![]),
            (json!(["a", encode(&older)]), vec![encode(&key())]),
            (json!([encode(&key()), encode(&other)]), vec![encode(&other)]),
        ] {
            let mut expected = vec!["x".to_owned()];
            expected.extend(written);
            assert_eq!(with_tags(&json!(["x"]), &there, &key()), json!(expected), "{there}");
        }
    }

    #[test]
    fn every_place_is_read() {
        let encoded = encode(&key());
        assert_eq!(from_tags(&json!(["a", encoded])), Some(key()));
        assert_eq!(from_tags(&Value::Null), None);
        assert_eq!(from_properties(&json!({"managed_entity": encoded, "b": "c"})), Some(key()));
        let name = append_to_name("web [1]", &key());
        assert_eq!(split_name(&name), ("web [1]", Some(key())));
        assert_eq!(split_name("web [1]"), ("web [1]", None));
    }
}
