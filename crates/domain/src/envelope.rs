//! Events with their envelope: who caused them, why, and what they follow from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

mod metadata;

/// Type and version of a stored event.
pub use cqrs_es::DomainEvent;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::document::{self, EVENT_BYTES_MAX, EVENT_DEPTH_MAX, Excess};
use crate::id::{BackendName, EntityId, EventId, Namespace, OperationId, Position, Version};
use crate::time::Timestamp;

/// Name of a stream: a category and an id within it (`entity`, `0199…`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// Category; `postgres-es`' `aggregate_type`.
    pub category: String,
    /// Id within the category.
    pub id: String,
}

impl StreamId {
    /// Category of entities' streams.
    pub const ENTITY: &'static str = "entity";
    /// Category of backends' streams.
    pub const BACKEND: &'static str = "backend";
    /// Category of the stream of namespaces and tokens.
    pub const ACCESS: &'static str = "access";
    /// Category of the stream of the control plane itself.
    pub const SYSTEM: &'static str = "system";

    /// Whether this version knows the category. A projection that meets another one stops, it never skips.
    #[must_use]
    pub fn is_known(&self) -> bool {
        [Self::ENTITY, Self::BACKEND, Self::ACCESS, Self::SYSTEM].contains(&&*self.category)
    }

    /// The stream of an entity.
    #[must_use]
    pub fn entity(id: EntityId) -> Self {
        Self { category: Self::ENTITY.to_owned(), id: id.to_string() }
    }

    /// The stream of a backend's control events.
    #[must_use]
    pub fn backend(name: &BackendName) -> Self {
        Self { category: Self::BACKEND.to_owned(), id: name.0.clone() }
    }

    /// The stream of namespaces and tokens.
    #[must_use]
    pub fn access() -> Self {
        Self { category: Self::ACCESS.to_owned(), id: "main".to_owned() }
    }

    /// The stream of the control plane itself.
    #[must_use]
    pub fn system() -> Self {
        Self { category: Self::SYSTEM.to_owned(), id: "main".to_owned() }
    }

    /// The entity whose stream this is; `None` for every other category.
    #[must_use]
    pub fn entity_id(&self) -> Option<EntityId> {
        if self.category == Self::ENTITY { self.id.parse().ok() } else { None }
    }
}

/// The text is not the name of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a stream: CATEGORY/ID")]
pub struct BadStream;

impl FromStr for StreamId {
    type Err = BadStream;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (category, id) = text.split_once('/').ok_or(BadStream)?;
        Ok(Self { category: category.to_owned(), id: id.to_owned() })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.category, self.id)
    }
}

/// The actor behind an event: opaque ids only, so that names can be erased outside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// `user`, `system`, `worker`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Opaque id.
    pub id: String,
    /// The token that was used; `None` for the system itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
}

impl Actor {
    /// Type of the control plane's own components.
    pub const SYSTEM: &'static str = "system";

    /// A component of the control plane (`process-manager`, `sweep`, …).
    #[must_use]
    pub fn system(part: &str) -> Self {
        Self { kind: Self::SYSTEM.to_owned(), id: part.to_owned(), token_id: None }
    }
}

/// The idempotency key of a client's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// Digest of the client's key (hex SHA-256); the key itself may be sensitive.
    pub key: String,
    /// Digest of method, path and body, to detect another request with the same key.
    pub fingerprint: String,
}

/// Metadata of an event. Stored as a flat map of strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Scope of the entity; empty for control streams.
    pub namespace: Namespace,
    /// The actor.
    pub actor: Actor,
    /// Reason given by the actor (at most 500 characters).
    pub reason: Option<String>,
    /// Reference of a change ticket.
    pub change: Option<String>,
    /// The operation that this event opens, serves or ends.
    pub operation: Option<OperationId>,
    /// Id of the HTTP request or of the round.
    pub request: Option<String>,
    /// Groups all events that follow from one cause.
    pub correlation: Option<String>,
    /// The event that caused this one.
    pub causation: Option<EventId>,
    /// W3C `traceparent`.
    pub trace: Option<String>,
    /// Address of the client.
    pub client: Option<String>,
    /// Set on the events of an append that a client may repeat.
    pub idempotency: Option<Idempotency>,
}

impl Envelope {
    /// The envelope of an event that the control plane causes itself.
    #[must_use]
    pub fn system(part: &str, namespace: Namespace) -> Self {
        Self { namespace, actor: Actor::system(part), ..Self::default() }
    }
}

/// An event to be appended. Payload and metadata are the bytes that will be stored and hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The log recognises a repeated append by this id.
    pub id: EventId,
    /// `entity.create_requested`.
    pub event_type: String,
    /// Version of the payload's schema.
    pub schema_version: u32,
    /// JSON text; shared, because many readers keep it and it never changes.
    pub payload: Arc<str>,
    /// JSON text: a flat map of strings.
    pub metadata: Arc<str>,
}

impl NewEvent {
    /// Encodes `event` with its envelope. The only place where events become bytes, so nothing is appended that
    /// cannot be decoded again.
    ///
    /// # Errors
    /// The limit that the event exceeds. What enters an event has narrower limits ([`document::Limits`]).
    ///
    /// # Panics
    /// Never for the events of this crate: all of their values are valid JSON.
    pub fn encode<E: DomainEvent>(
        id: EventId,
        event: &E,
        envelope: &Envelope,
    ) -> Result<Self, Excess> {
        let payload = serde_json::to_string(event).expect("events are plain data");
        if payload.len() > EVENT_BYTES_MAX {
            return Err(Excess::Bytes(EVENT_BYTES_MAX));
        }
        if document::depth(&payload) > EVENT_DEPTH_MAX {
            return Err(Excess::Depth(EVENT_DEPTH_MAX));
        }
        Ok(Self {
            id,
            event_type: event.event_type(),
            schema_version: event
                .event_version()
                .parse()
                .expect("versions are written as integers"),
            payload: payload.into(),
            metadata: envelope.to_json().into(),
        })
    }
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Position in the log.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Version within the stream, from 1.
    pub version: Version,
    /// Its own id.
    pub id: EventId,
    /// `entity.create_requested`.
    pub event_type: String,
    /// Version of the payload's schema, as stored.
    pub schema_version: u32,
    /// When the log accepted it; always later than the previous event of the stream.
    pub recorded_at: Timestamp,
    /// JSON text as stored.
    pub payload: Arc<str>,
    /// JSON text as stored.
    pub metadata: Arc<str>,
    /// SHA-256 over the previous hash and all of the above but the position.
    pub hash: [u8; 32],
}

/// A stored event that this version cannot decode. A projection that meets one stops, it never skips.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The type or its schema version is unknown to this version.
    #[error("event {id} at {position}: type {event_type} version {schema_version} is unknown here")]
    Unknown {
        /// The event.
        id: EventId,
        /// Its position.
        position: Position,
        /// Its type.
        event_type: String,
        /// Its schema version.
        schema_version: u32,
    },
    /// The payload does not fit its type.
    #[error("event {id} at {position}: the payload does not fit its type")]
    Malformed {
        /// The event.
        id: EventId,
        /// Its position.
        position: Position,
        /// The decoder's error.
        #[source]
        source: serde_json::Error,
    },
}

impl DecodeError {
    /// Type of an event that is unknown here; `None` = the payload does not fit its type.
    #[must_use]
    pub fn unknown(&self) -> Option<String> {
        match self {
            Self::Unknown { event_type, .. } => Some(event_type.clone()),
            Self::Malformed { .. } => None,
        }
    }
}

impl Recorded {
    /// Decodes the payload after checking type and schema version. A payload nested deeper than a parser accepts,
    /// which only older versions wrote, is decoded with omitted parts: see [`document::shallow`].
    ///
    /// # Errors
    /// [`DecodeError::Unknown`] when `known(type, version)` is false, [`DecodeError::Malformed`] when the
    /// payload does not fit.
    pub fn decode<E: DeserializeOwned>(
        &self,
        known: fn(&str, u32) -> bool,
    ) -> Result<E, DecodeError> {
        if !known(&self.event_type, self.schema_version) {
            return Err(DecodeError::Unknown {
                id: self.id,
                position: self.position,
                event_type: self.event_type.clone(),
                schema_version: self.schema_version,
            });
        }
        serde_json::from_str(&self.payload)
            .or_else(|error| match document::shallow(&self.payload) {
                Cow::Owned(shallow) => serde_json::from_str(&shallow),
                Cow::Borrowed(_) => Err(error),
            })
            .map_err(|source| DecodeError::Malformed {
                id: self.id,
                position: self.position,
                source,
            })
    }

    /// Bytes of payload and metadata.
    #[must_use]
    pub fn size(&self) -> usize {
        self.payload.len() + self.metadata.len()
    }

    /// The metadata; empty if it cannot be decoded.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        Envelope::from_json(&self.metadata)
    }

    /// The payload without its tag, as the API shows it in `data`; made [shallow](document::shallow), so that every
    /// client can parse it. Always an object: what is not tagged by one member, which only another program appends, is
    /// shown whole, and what is no object as the member `payload` of one.
    ///
    /// # Errors
    /// When the stored text is not JSON.
    pub fn data(&self) -> Result<Box<RawValue>, serde_json::Error> {
        let payload = document::shallow(&self.payload);
        let tagged = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&payload);
        let shown = match tagged.map(BTreeMap::into_values) {
            Ok(mut members) if members.len() == 1 => members.next(),
            _ => None,
        };
        let shown = shown.map_or_else(|| RawValue::from_string(payload.into_owned()), Ok)?;
        if shown.get().starts_with('{') {
            return Ok(shown);
        }
        RawValue::from_string(format!(r#"{{"payload": {}}}"#, shown.get()))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// Enums without members are texts in serde's form, and other programs tag inside.
    #[test]
    fn a_payload_of_any_form_is_shown() {
        for (payload, shown) in [
            (r#"{"paused": {"at": 1}}"#, r#"{"at": 1}"#),
            (r#"{"paused": 1e999}"#, r#"{"payload": 1e999}"#),
            (r#""Opened""#, r#"{"payload": "Opened"}"#),
            (r#"{"type": "Opened", "by": "x"}"#, r#"{"type": "Opened", "by": "x"}"#),
            ("{}", "{}"),
            (" {} ", "{}"),
            ("7", r#"{"payload": 7}"#),
            ("null", r#"{"payload": null}"#),
            (" [1, 2] ", r#"{"payload": [1, 2]}"#),
        ] {
            let recorded = Recorded {
                position: Position::START,
                stream: StreamId::system(),
                version: Version(1),
                id: EventId(Uuid::nil()),
                event_type: String::new(),
                schema_version: 1,
                recorded_at: Timestamp(1),
                payload: payload.into(),
                metadata: "{}".into(),
                hash: [0; 32],
            };
            assert_eq!(recorded.data().expect("JSON").get(), shown);
        }
    }
}
