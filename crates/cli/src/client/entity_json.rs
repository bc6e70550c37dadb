//! Reads the JSON of an entity: its label, conditions and most important message.

use serde_json::Value;

use crate::json_text::{single_line, text};

/// `KIND/NAME`: what every verb takes.
pub(crate) fn label(entity: &Value) -> String {
    format!("{}/{}", text(entity, "/kind"), text(entity, "/name"))
}

/// A condition of an entity; `Null` when it has none of this type.
pub(crate) fn condition<'a>(entity: &'a Value, name: &str) -> &'a Value {
    let conditions = entity["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == name).unwrap_or(&Value::Null)
}

/// Whether the entity is blocked until a person decides.
pub(crate) fn awaits_decision(entity: &Value) -> bool {
    let blocked = condition(entity, "blocked");
    blocked["status"] == true && blocked["reason"] == "DecisionNeeded"
}

/// Member that [`explain_pauses`](super::backend_pause::explain_pauses) adds; never printed as JSON.
pub(crate) const BACKEND_PAUSE: &str = "backend_pause";

/// The most important message in one line: the error, else the pause of its backend, what it is blocked on, the drift,
/// or its own pause; empty without any of them.
pub(crate) fn message(entity: &Value) -> String {
    let error = text(entity, "/error/message");
    if !error.is_empty() {
        return single_line(&error);
    }
    if let Some(pause) = entity[BACKEND_PAUSE].as_str() {
        return single_line(pause);
    }
    let holds = |name: &&str| condition(entity, name)["status"] == true;
    let Some(name) = ["blocked", "drifted", "paused"].into_iter().find(holds) else {
        return String::new();
    };
    let condition = condition(entity, name);
    let message = format!("{}: {}", text(condition, "/reason"), text(condition, "/message"));
    single_line(message.trim_end_matches([' ', ':']))
}
