//! From stored events to those of this reader, as cqrs-es applies them: in this order, to each event.

use cqrs_es::persist::{EventUpcaster, SemanticVersionEventUpcaster, SerializedEvent};
use serde_json::{Value, json};

use crate::event::KNOWN;

/// The newest schema version of an event that this reader knows.
const VERSION: &str = "1";

/// Every stored form that this reader knows becomes an [`Event`](crate::event::Event). The first one marks events that it
/// does not know: an upcaster cannot fail, and serde would take a newer form for an older one that it resembles.
#[must_use]
pub fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
    vec![
        Box::new(MarkUnknown),
        // Version 1 is what is stored. This reader's own version 2 has class and consequence of a failure in one place.
        Box::new(SemanticVersionEventUpcaster::new(
            "entity.sync_failed",
            "2",
            Box::new(flat_failure),
        )),
    ]
}

/// Turns every event of another type or version into `Unknown`.
struct MarkUnknown;

impl EventUpcaster for MarkUnknown {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        event_version != VERSION || !KNOWN.contains(&event_type)
    }

    fn upcast(&self, event: SerializedEvent) -> SerializedEvent {
        let SerializedEvent { event_type, event_version, .. } = &event;
        let payload =
            json!({ "unknown": { "event_type": event_type, "event_version": event_version } });
        // No further upcaster takes it for an older form.
        SerializedEvent { payload, event_type: String::new(), ..event }
    }
}

/// `class` is a text, or an object with one member: `{"rate_limited": {…}}`. `next` says what follows.
fn flat_failure(mut payload: Value) -> Value {
    let failed = &payload["sync_failed"];
    let class = &failed["error"]["class"];
    let name = class.as_str().or_else(|| Some(class.as_object()?.keys().next()?));
    let error = json!({
        "class": name,
        "code": failed["error"]["code"],
        "harmless": failed["error"]["effect"] == "none",
        "last": failed["next"] == "erred",
    });
    payload["sync_failed"]["error"] = error;
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(event_type: &str, event_version: &str, payload: Value) -> SerializedEvent {
        let (event_type, event_version) = (event_type.to_owned(), event_version.to_owned());
        SerializedEvent {
            aggregate_id: String::new(),
            sequence: 1,
            aggregate_type: "entity".to_owned(),
            event_type,
            event_version,
            payload,
            metadata: json!({}),
        }
    }

    fn upcast(event: SerializedEvent) -> SerializedEvent {
        upcasters().iter().fold(event, |event, upcaster| {
            let wanted = upcaster.can_upcast(&event.event_type, &event.event_version);
            if wanted { upcaster.upcast(event) } else { event }
        })
    }

    #[test]
    fn an_older_form_becomes_the_newest_and_an_unknown_one_is_marked() {
        let failed = |class: Value, effect: &str, next: Value| {
            let error = json!({ "class": class, "code": "c", "effect": effect });
            upcast(stored(
                "entity.sync_failed",
                "1",
                json!({ "sync_failed": { "error": error, "next": next, "operations": [] } }),
            ))
        };
        let retry = json!({ "retry": { "at": 1 } });
        for (class, effect, next, expected) in [
            (json!("transient"), "none", retry.clone(), ("transient", true, false)),
            (
                json!({ "rate_limited": { "after_ms": 1 } }),
                "maybe",
                retry,
                ("rate_limited", false, false),
            ),
            (json!("invalid"), "none", json!("erred"), ("invalid", true, true)),
        ] {
            let event = failed(class, effect, next);
            assert_eq!(event.event_version, "2.0.0");
            let error = &event.payload["sync_failed"]["error"];
            let (name, harmless, last) = expected;
            assert_eq!(
                *error,
                json!({ "class": name, "code": "c", "harmless": harmless, "last": last })
            );
        }
        for (event_type, version) in [
            ("entity.paused", "2"),
            ("entity.paused", "1.0"),
            ("entity.sync_failed", "2"),
            ("Opened", "1"),
        ] {
            let event = upcast(stored(event_type, version, json!({ "paused": {} })));
            let unknown = json!({ "event_type": event_type, "event_version": version });
            assert_eq!(event.payload, json!({ "unknown": unknown }), "{event_type} {version}");
        }
    }
}
