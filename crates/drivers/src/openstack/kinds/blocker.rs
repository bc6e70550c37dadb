//! What keeps an object from being deleted or changed: named, and waited for.

use serde_json::Value;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::OwnerKey;
use stateward_domain::ports::driver::ObjectRef;

use super::object_stage::{job_for, poll_stage};
use super::pending_job::Phase;
use super::{Kind, Stage};
use crate::openstack::client::{ApiError, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::owner_key;
use crate::openstack::service::Service;

/// Dependents that a message names at most.
const NAMED_MAX: usize = 3;

/// The dependents that block a deletion.
pub(in crate::openstack) struct Blocker {
    pub(super) noun: &'static str,
    /// Names and ids of the first of them, and how many more there are.
    pub(super) names: String,
    /// The owner key of the first that has one.
    pub(super) owner: Option<OwnerKey>,
}

impl Blocker {
    /// All of `rows`; `None` = there are none.
    pub(super) fn of(
        noun: &'static str,
        rows: &[Value],
        owner: fn(&Value) -> Option<OwnerKey>,
    ) -> Option<Self> {
        if rows.is_empty() {
            return None;
        }
        let mut names: Vec<_> = rows.iter().take(NAMED_MAX).map(label).collect();
        if rows.len() > NAMED_MAX {
            names.push(format!("{} more", rows.len() - NAMED_MAX));
        }
        Some(Self { noun, names: names.join(", "), owner: rows.iter().find_map(owner) })
    }

    /// The failure of a deletion that it blocks: one that waits for an entity if the dependent has an owner key.
    fn failure(&self) -> Failure {
        let message = format!("{} {} still uses it", self.noun, self.names);
        let class = match self.owner.as_ref().and_then(OwnerKey::parse) {
            Some((on, _)) => ErrorClass::DependencyNotReady { on },
            None => ErrorClass::InUseOutside,
        };
        Failure::harmless(class, "in_use", message)
    }
}

/// See `Driver::obstacle`.
pub(in crate::openstack) async fn obstacle(
    kind: &dyn Kind,
    client: CallClient<'_>,
    target: &ObjectRef,
) -> Result<Option<Failure>, Failure> {
    let blocker = kind.blocker(client, target.external_id.as_str()).await?;
    Ok(blocker.map(|blocker| blocker.failure()))
}

/// Name and id of an object, and of a port what it is plugged into.
fn label(row: &Value) -> String {
    let text = |member: &str| row[member].as_str().filter(|text| !text.is_empty());
    let id = text("id").unwrap_or("without id");
    let name = text("name").map_or_else(|| id.to_owned(), |name| format!("{name} ({id})"));
    match (text("device_owner"), text("device_id")) {
        (Some(owner), Some(device)) => format!("{name} of {owner} {device}"),
        _ => name,
    }
}

/// The volumes that `are_children`: no service filters by what a volume was made from.
pub(super) async fn volumes_where(
    client: CallClient<'_>,
    are_children: impl Fn(&Value) -> bool,
) -> Result<Option<Blocker>, ApiError> {
    let request = Request::get(Service::Volume, &["volumes", "detail"]);
    let mut volumes = client.rows(request, "volumes", Pagination::Links).await?;
    volumes.retain(are_children);
    Ok(Blocker::of("volume", &volumes, |row| owner_key::from_properties(&row["metadata"])))
}

/// The failure of a deletion that another object blocks. It waits for an entity if that object has an owner key.
pub(super) async fn blocked_failure(
    kind: &dyn Kind,
    client: CallClient<'_>,
    target: &ObjectRef,
    error: ApiError,
) -> Failure {
    let blocker = kind.blocker(client, target.external_id.as_str()).await.ok().flatten();
    let Some(blocker) = blocker else {
        return error.with_kind(ErrorKind::Blocked).into();
    };
    Failure { request_id: error.request_id, ..blocker.failure() }
}

/// A change that the service refuses in the object's present state. If the object is in transition, that ends soon; else
/// something outside has to change first, however long that takes.
pub(super) async fn wrong_state(
    kind: &dyn Kind,
    client: CallClient<'_>,
    target: &ObjectRef,
    error: ApiError,
) -> ApiError {
    if error.kind != ErrorKind::Conflict || kind.poll_ms().is_none() {
        return error;
    }
    match poll_stage(kind, client, &job_for(target, Phase::Update)).await {
        Ok(Some((Stage::Settled, _))) => error.with_kind(ErrorKind::Blocked),
        _ => error,
    }
}

/// The error of a volume that could not be attached: another server has it, or it is in transition.
pub(super) async fn attachment_refused(
    client: CallClient<'_>,
    volume: &str,
    error: ApiError,
) -> ApiError {
    if error.kind != ErrorKind::Invalid {
        return error;
    }
    let row = match client.send(Request::get(Service::Volume, &["volumes", volume])).await {
        Ok(reply) => reply.body["volume"].clone(),
        Err(unread) => return unread,
    };
    match row["attachments"][0]["server_id"].as_str() {
        Some(server) if row["status"] == "in-use" => {
            let message = format!("server {server} uses volume {}", label(&row));
            ApiError::harmless(ErrorKind::Blocked, "in_use", message)
        }
        _ => error.with_kind(ErrorKind::Conflict),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dependents_are_named_and_counted() {
        let row = |n: u32| json!({"id": format!("p{n}"), "name": ""});
        let named = |rows: &[Value]| Blocker::of("port", rows, |_| None).map(|it| it.names);
        assert_eq!(named(&[]), None);
        let plugged = json!({
            "id": "p", "name": "lb", "device_owner": "compute:nova", "device_id": "s",
        });
        assert_eq!(named(&[plugged, row(1)]).unwrap(), "lb (p) of compute:nova s, p1");
        let many: Vec<_> = (1..=5).map(row).collect();
        assert_eq!(named(&many).unwrap(), "p1, p2, p3, 2 more");
    }
}
