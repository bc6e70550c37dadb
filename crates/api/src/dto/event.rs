//! An event in responses.

use serde::Serialize;
use serde_json::value::RawValue;
use stateward_domain::envelope::{Actor, Recorded};

use super::time;
use crate::problem::Problem;

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct EventView {
    id: String,
    position: String,
    stream: String,
    version: u64,
    #[serde(rename = "type")]
    kind: String,
    recorded_at: String,
    #[schema(value_type = crate::schema::objects::ActorSchema)]
    actor: Actor,
    reason: Option<String>,
    operation_id: Option<String>,
    request_id: Option<String>,
    #[schema(value_type = std::collections::HashMap<String, serde_json::Value>)]
    data: Box<RawValue>,
    hash: String,
}

impl TryFrom<&Recorded> for EventView {
    type Error = Problem;

    fn try_from(event: &Recorded) -> Result<Self, Problem> {
        let envelope = event.envelope();
        let unreadable = |error: serde_json::Error| {
            tracing::error!(position = %event.position, %error, "an event's payload is no JSON");
            Problem::unavailable("an event cannot be read")
        };
        Ok(Self {
            id: event.id.to_string(),
            position: event.position.to_string(),
            stream: event.stream.to_string(),
            version: event.version.0,
            kind: event.event_type.clone(),
            recorded_at: time::text(event.recorded_at),
            actor: envelope.actor,
            reason: envelope.reason,
            operation_id: envelope.operation.map(|id| id.to_string()),
            request_id: envelope.request,
            data: event.data().map_err(unreadable)?,
            hash: event.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}
