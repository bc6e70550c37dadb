//! How each type of resource is printed.

pub(crate) mod access;
pub(crate) mod backend;
pub(crate) mod describe;
pub(crate) mod diff;
pub(crate) mod entity;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod node;
pub(crate) mod operation;
pub(crate) mod projection;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::json_text::text;

/// `yes` for `true`, else `no`.
fn yes(value: &Value) -> &'static str {
    if *value == Value::Bool(true) { "yes" } else { "no" }
}

/// The items of a list, separated by commas.
fn joined(value: &Value) -> String {
    let items = value.as_array().into_iter().flatten();
    items.map(|item| text(item, "")).collect::<Vec<_>>().join(",")
}
