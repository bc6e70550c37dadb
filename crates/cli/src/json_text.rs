//! Texts out of JSON values.

use serde_json::Value;

/// The member at `pointer` as text; empty when it is absent or null.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A text in one line, without control characters: texts of backends could contain terminal escapes.
pub(crate) fn single_line(text: &str) -> String {
    let printable = text.replace(|c: char| c.is_control() && !c.is_whitespace(), "");
    printable.split_whitespace().collect::<Vec<_>>().join(" ")
}
