//! The calls of a driver that read: one object, those with an owner key, all of a kind.

use serde_json::Value;
use stateward_domain::failure::Failure;
use stateward_domain::ports::driver::{Listing, Object, ObjectRef, Observation, Search};

use super::{Kind, owner_mark, to_external_id, unknown_members};
use crate::openstack::client::{ApiError, CallClient, ErrorKind};

/// See `Driver::observe`. Only the service's own "not found" of this id proves absence.
pub(in crate::openstack) async fn observe(
    kind: &dyn Kind,
    client: CallClient<'_>,
    target: &ObjectRef,
) -> Result<Observation, Failure> {
    let id = target.external_id.as_str();
    let row = match kind.get(client, id).await {
        Ok((row, _)) => row,
        Err(error) if error.proves_absence_of(id) => {
            let id = error.request_id.unwrap_or_else(|| "none".to_owned());
            let proof = format!("{}, request {id}", error.message);
            return Ok(Observation::Absent { proof });
        }
        Err(error) if error.kind == ErrorKind::NotFound => {
            return Ok(Observation::Unknown { reason: error.message });
        }
        Err(error) => return Err(error.into()),
    };
    if kind.id(&row) != Some(id) {
        return Err(wrong_object(kind).into());
    }
    let mut object = observed_object(kind, client, &row).await?;
    if let Value::Object(attributes) = &mut object.attributes {
        owner_mark::observe(kind, &row, target, attributes);
    }
    Ok(Observation::Present(object))
}

async fn observed_object(
    kind: &dyn Kind,
    client: CallClient<'_>,
    row: &Value,
) -> Result<Object, Failure> {
    let mut object = object_from_row(kind, row).ok_or_else(|| wrong_object(kind))?;
    if let Value::Object(attributes) = &mut object.attributes {
        kind.complete_attributes(client, row, attributes).await?;
    }
    Ok(object)
}

/// The object without the attributes that need further requests.
pub(super) fn object_from_row(kind: &dyn Kind, row: &Value) -> Option<Object> {
    let external_id = to_external_id(kind.id(row)?);
    let mut attributes = kind.attributes(row);
    unknown_members::separate(kind, row, &mut attributes);
    // Spelled like the desired state. What is wrong with an existing object is no fault of a desired state.
    let _ = kind.normalise(&mut attributes);
    Some(Object { external_id, attributes: Value::Object(attributes), owner_key: kind.owner(row) })
}

/// See `Driver::find`. The owner key of each row is checked, because some services ignore filters that they do not
/// know.
pub(in crate::openstack) async fn find(
    kind: &dyn Kind,
    client: CallClient<'_>,
    search: &Search,
) -> Result<Vec<Object>, Failure> {
    let rows = kind.search(client, search).await?;
    let ours = |row: &&Value| {
        !kind.meta().owner_key || kind.owner(row).as_ref() == Some(&search.owner_key)
    };
    let mut found = Vec::new();
    for row in rows.iter().filter(ours) {
        found.push(observed_object(kind, client, row).await?);
    }
    // Where the name itself is unique, a second creation is refused, so no proof is needed.
    if found.is_empty() && kind.meta().owner_key {
        client.proves_absence(kind.meta().service)?;
    }
    Ok(found)
}

/// See `Driver::list`.
pub(in crate::openstack) async fn list(
    kind: &dyn Kind,
    client: CallClient<'_>,
    cursor: Option<&str>,
) -> Result<Listing, Failure> {
    let (rows, cursor) = kind.page(client, cursor).await?;
    let partial = kind.list_is_partial();
    let mut objects = Vec::new();
    let rows = rows.iter().map(|row| without_wrapper(kind, row));
    for row in rows.filter(|row| kind.is_top_level(row)) {
        if partial {
            objects.extend(object_from_row(kind, row));
        } else {
            objects.push(observed_object(kind, client, row).await?);
        }
    }
    Ok(Listing { objects, cursor, partial })
}

/// Nova wraps each row of a list of keypairs once more.
fn without_wrapper<'a>(kind: &dyn Kind, row: &'a Value) -> &'a Value {
    match row.get(kind.meta().row) {
        Some(inner) if inner.is_object() => inner,
        _ => row,
    }
}

fn wrong_object(kind: &dyn Kind) -> ApiError {
    let message = format!("{} shows another object", kind.meta().service.name());
    ApiError::harmless(ErrorKind::Transient, "nonsense_reply", message)
}
