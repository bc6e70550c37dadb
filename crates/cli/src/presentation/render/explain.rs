//! The page of `explain`: a kind's fields, from its JSON Schema.

use std::fmt::Write as _;

use serde_json::Value;

use crate::json_text::text;
use crate::presentation::output::ResourcePrinter;
use crate::presentation::output::color::bold;
use crate::presentation::output::table::{Cell, Table};

pub(crate) const KIND: ResourcePrinter =
    ResourcePrinter { name: |kind| text(kind, "/name"), table };

fn table(items: &[Value], _: bool, _: jiff::Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "ACTIONS", "SUMMARY"]);
    for kind in items {
        table.row([
            text(kind, "/name").into(),
            actions(kind).into(),
            text(kind, "/summary").into(),
        ]);
    }
    table
}

fn actions(kind: &Value) -> String {
    let actions = kind["actions"].as_array().into_iter().flatten();
    actions.map(|action| text(action, "/name")).collect::<Vec<_>>().join(",")
}

/// The part of a kind's schema at `path`; `None` when it does not exist.
pub(crate) fn at<'a>(kind: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(&kind["schema"], |schema, name| {
        let inside = if schema["items"].is_object() { &schema["items"] } else { schema };
        inside["properties"].get(*name)
    })
}

/// The page of a kind, or of one of its fields.
pub(crate) fn page(kind: &Value, path: &[&str], schema: &Value, color: bool) -> String {
    let mut page = String::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a text never fails.
            let _ = writeln!(page, "{:<13}{value}", format!("{name}:"));
        }
    };
    field("Kind", &text(kind, "/name"));
    if path.is_empty() {
        field("Summary", &text(kind, "/summary"));
        field("Identity", &text(kind, "/identity"));
        field("Actions", &actions(kind));
        field("When lost", &text(kind, "/on_lost"));
        field("On drift", &text(kind, "/drift_policy"));
    } else {
        field("Field", &path.join("."));
        field("Type", &sort(schema));
        field("Marks", &marks(kind, path, None));
    }
    field("Description", &text(schema, "/description"));
    let inside = if schema["items"].is_object() { &schema["items"] } else { schema };
    if let Some(properties) = inside["properties"].as_object() {
        let _ = write!(page, "\n{}\n", bold("Fields:", color));
        page.push_str(&fields(kind, path, inside, properties).render(color));
    }
    page
}

fn fields(
    kind: &Value,
    path: &[&str],
    schema: &Value,
    properties: &serde_json::Map<String, Value>,
) -> Table {
    let required = schema["required"].as_array();
    let mut table = Table::new(&["NAME", "TYPE", "REQUIRED", "MARKS", "DESCRIPTION"]);
    for (name, field) in properties {
        let needed = required.is_some_and(|names| names.iter().any(|needed| needed == name));
        table.row([
            name.as_str().into(),
            sort(field).into(),
            if needed { "yes" } else { "no" }.into(),
            Cell::from(marks(kind, path, Some(name))),
            description(field).into(),
        ]);
    }
    table
}

/// The type, or the values of an enum.
fn sort(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| text(word, "")).collect::<Vec<_>>().join("|");
    }
    match &schema["type"] {
        Value::Array(_) => super::joined(&schema["type"]).replace(',', "|"),
        Value::String(word) if word == "array" => format!("array of {}", sort(&schema["items"])),
        Value::String(word) => word.clone(),
        _ => "any".to_owned(),
    }
}

fn description(schema: &Value) -> String {
    let mut description = text(schema, "/description");
    for (word, pointer) in [("default", "/default"), ("pattern", "/pattern")] {
        if let Some(value) = schema.pointer(pointer) {
            // Writing to a text never fails.
            let _ = write!(description, " ({word} {value})");
        }
    }
    description
}

/// The engine's marks of a field: identity, immutable, secret.
fn marks(kind: &Value, path: &[&str], name: Option<&String>) -> String {
    let pointer: String = path
        .iter()
        .copied()
        .chain(name.map(String::as_str))
        .map(|step| format!("/{step}"))
        .collect();
    let lists = |member: &str| {
        let pointers = kind[member].as_array().into_iter().flatten();
        pointers.into_iter().any(|listed| *listed == pointer)
    };
    let identity = kind["identity"].as_str().unwrap_or_default();
    let marks = [
        ("identity", identity.split_whitespace().any(|field| field == pointer)),
        ("immutable", lists("immutable")),
        ("secret", lists("write_only")),
    ];
    marks.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect::<Vec<_>>().join(",")
}
