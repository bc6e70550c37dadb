//! The owner key as a part of the object: one that was cleared is drift, and is written again.
//!
//! **Invariant:** the key of another owner is never overwritten. Only the key of an object that the entity made is
//! missed: one that it adopted never had it.

use serde_json::{Map, Value};
use stateward_domain::id::{Incarnation, OwnerKey};
use stateward_domain::ports::driver::ObjectRef;

use super::Kind;
use crate::openstack::client::{ApiError, CallClient};

/// Attribute of an object that lacks its owner key, and pointer to it in a plan.
const ATTRIBUTE: &str = "owner_key";
pub(super) const FIELD: &str = "/owner_key";
const MISSING: &str = "missing";

/// Adds to `attributes` whether the object `row` lacks the owner key of `target`, and can be given it.
pub(super) fn observe(
    kind: &dyn Kind,
    row: &Value,
    target: &ObjectRef,
    attributes: &mut Map<String, Value>,
) {
    let key = &target.owner_key;
    if was_made(key) && kind.owner(row).is_none() && kind.mark_request(row, key).is_some() {
        attributes.insert(ATTRIBUTE.to_owned(), Value::from(MISSING));
    }
}

/// Whether an object was ever made under this key.
fn was_made(key: &OwnerKey) -> bool {
    key.parse().is_some_and(|(_, incarnation)| incarnation > Incarnation::default())
}

/// Whether the observed object lacks its owner key.
pub(super) fn is_missing(observed: &Value) -> bool {
    observed[ATTRIBUTE] == MISSING
}

/// Writes the owner key, if the object still has none. Idempotent.
pub(super) async fn restore(
    kind: &dyn Kind,
    client: CallClient<'_>,
    target: &ObjectRef,
) -> Result<(), ApiError> {
    let (row, _) = kind.get(client, target.external_id.as_str()).await?;
    if kind.owner(&row).is_some() {
        return Ok(());
    }
    match kind.mark_request(&row, &target.owner_key) {
        Some(request) => client.send(request).await.map(drop),
        None => Ok(()),
    }
}
