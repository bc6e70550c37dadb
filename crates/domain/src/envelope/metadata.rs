//! The stored form of an envelope: a flat map of texts.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Actor, Envelope, Idempotency};
use crate::id::Namespace;

impl Envelope {
    /// The envelope as JSON; absent members are left out.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn to_json(&self) -> String {
        let flat = Flat {
            actor_id: Some(Cow::from(&self.actor.id)),
            actor_type: Some(Cow::from(&self.actor.kind)),
            causation: self.causation.map(|id| id.to_string().into()),
            change: lent(self.change.as_ref()),
            client: lent(self.client.as_ref()),
            correlation: lent(self.correlation.as_ref()),
            idempotency_key: self.idempotency.as_ref().map(|idem| Cow::from(&idem.key)),
            idempotency_print: self.idempotency.as_ref().map(|idem| Cow::from(&idem.fingerprint)),
            namespace: Some(Cow::from(&self.namespace.0)).filter(|text| !text.is_empty()),
            operation: self.operation.map(|id| id.to_string().into()),
            reason: lent(self.reason.as_ref()),
            request: lent(self.request.as_ref()),
            token_id: lent(self.actor.token_id.as_ref()),
            trace: lent(self.trace.as_ref()),
        };
        serde_json::to_string(&flat).expect("texts are JSON")
    }

    /// Decodes a stored envelope. Unknown members are ignored, and an unreadable text is an empty envelope.
    #[must_use]
    pub fn from_json(stored: &str) -> Self {
        let flat: Flat<'_> = serde_json::from_str(stored).unwrap_or_default();
        let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        let idempotency = match (flat.idempotency_key, flat.idempotency_print) {
            (Some(key), Some(print)) => {
                Some(Idempotency { key: key.into_owned(), fingerprint: print.into_owned() })
            }
            _ => None,
        };
        Self {
            namespace: Namespace(text(flat.namespace).unwrap_or_default()),
            actor: Actor {
                kind: text(flat.actor_type).unwrap_or_default(),
                id: text(flat.actor_id).unwrap_or_default(),
                token_id: text(flat.token_id),
            },
            reason: text(flat.reason),
            change: text(flat.change),
            operation: flat.operation.and_then(|text| text.parse().ok()),
            request: text(flat.request),
            correlation: text(flat.correlation),
            causation: flat.causation.and_then(|text| text.parse().ok()),
            trace: text(flat.trace),
            client: text(flat.client),
            idempotency,
        }
    }
}

fn lent(text: Option<&String>) -> Option<Cow<'_, str>> {
    text.map(Cow::from)
}

/// The stored members. Their order is that of the stored text.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Flat<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    actor_id: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    actor_type: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    causation: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    change: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    client: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    correlation: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    idempotency_print: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    operation: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    request: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    token_id: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    trace: Option<Cow<'a, str>>,
}
