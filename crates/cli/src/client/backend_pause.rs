//! Explains work that waits because a person paused its backend: an entity's JSON does not say so.

use serde_json::Value;

use super::{Client, entity_json};
use crate::json_text::text;
use crate::presentation::output::time;

/// Adds to each of `entities` whose work waits for a paused backend why it waits, for
/// [`entity_json::message`]. Asks for the backends only when work waits; without an answer, nothing is added.
pub(crate) async fn explain_pauses(client: &Client, entities: &mut [Value]) {
    if !entities.iter().any(waits) {
        return;
    }
    // The entities are shown without it.
    let Ok(backends) = client.items("/v1/backends").await else { return };
    explain(&backends, entities);
}

fn explain(backends: &[Value], entities: &mut [Value]) {
    for entity in entities.iter_mut().filter(|entity| waits(entity)) {
        let its = |backend: &&Value| backend["name"] == entity["backend"];
        let pause = backends.iter().find(its).and_then(pause);
        if let (Some(pause), Some(members)) = (pause, entity.as_object_mut()) {
            let why = format!("backend {} is paused {pause}", text(&members["backend"], ""));
            members.insert(entity_json::BACKEND_PAUSE.to_owned(), Value::String(why));
        }
    }
}

/// Whether a change is scheduled and has not begun.
fn waits(entity: &Value) -> bool {
    entity["state"].as_str().is_some_and(|state| state.ends_with("_scheduled"))
}

/// `until TIME: REASON`, as far as they are known; `None` = the backend is not paused.
pub(crate) fn pause(backend: &Value) -> Option<String> {
    if backend["paused"] != true {
        return None;
    }
    let (until, reason) = (text(backend, "/pause/until"), text(backend, "/pause/reason"));
    let until = if until.is_empty() {
        "until it is resumed".to_owned()
    } else {
        format!("until {}", time::moment(&until))
    };
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    Some(format!("{until}{reason}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn work_that_waits_for_a_paused_backend_says_so() {
        let pause = json!({ "until": "2026-11-25T11:00:00.000000Z", "reason": "upgrade" });
        let backends = [
            json!({ "name": "cloud", "paused": true, "pause": pause }),
            json!({ "name": "local", "paused": true, "pause": { "until": null, "reason": null } }),
            json!({ "name": "open", "paused": false, "pause": null }),
        ];
        for (state, backend, message) in [
            (
                "update_scheduled",
                "cloud",
                "backend cloud is paused until 2026-11-25T11:00:00Z: upgrade",
            ),
            ("deletion_scheduled", "local", "backend local is paused until it is resumed"),
            ("ok", "cloud", ""),
            ("creation_scheduled", "open", ""),
            ("creation_scheduled", "gone", ""),
        ] {
            let mut entities = [json!({ "state": state, "backend": backend })];
            explain(&backends, &mut entities);
            assert_eq!(entity_json::message(&entities[0]), message, "{state} {backend}");
        }
    }
}
