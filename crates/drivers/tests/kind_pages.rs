//! Checks that the pages in `docs/kinds` match the kinds; `make docs` generates them.
#![expect(clippy::unwrap_used, reason = "tests stop at what they find")]

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use stateward_domain::entity::state::DriftPolicy;
use stateward_domain::kind::{KindSpec, OnLost};

/// Set by `make docs`.
const UPDATE: &str = "UPDATE_DOCS";

#[test]
fn the_pages_say_what_the_kinds_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/kinds");
    let mut pages: Vec<_> = stateward_drivers::kinds()
        .iter()
        .map(|kind| (format!("{}.md", kind.name), page(kind)))
        .collect();
    pages.push(("README.md".to_owned(), index(&stateward_drivers::kinds())));
    if std::env::var_os(UPDATE).is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in &pages {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    for (name, text) in &pages {
        let written = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(&written, text, "docs/kinds/{name} is out of date: make docs");
    }
    let there = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(there, pages.len(), "docs/kinds has a page of a kind that is gone");
}

fn index(kinds: &[KindSpec]) -> String {
    let mut text = "# Kinds\n\nMade from the schemas by `make docs`; `stateward explain KIND` says the same.\n\n\
                    | Kind | What it is |\n|---|---|\n"
        .to_owned();
    for kind in kinds {
        writeln!(text, "| [{0}]({0}.md) | {1} |", kind.name, kind.summary).unwrap();
    }
    text
}

fn page(kind: &KindSpec) -> String {
    let mut text = format!("# {}\n\n{}\n\n", kind.name, kind.summary);
    if let Some(description) = kind.schema["description"].as_str() {
        writeln!(text, "{description}\n").unwrap();
    }
    text.push_str("| Field | Type | | Meaning |\n|---|---|---|---|\n");
    fields(&mut text, kind, "", &kind.schema);
    text.push('\n');
    let mark = match (&kind.identity, kind.owner_key) {
        (Some(identity), _) => {
            let fields: Vec<_> =
                identity.split_whitespace().map(|field| format!("`{field}`")).collect();
            let names = if fields.len() > 1 { "together name" } else { "names" };
            format!("{} {names} the object in its backend", fields.join(" and "))
        }
        (None, true) => "the object carries the owner key".to_owned(),
        (None, false) => {
            "the object has no place for the owner key: doubts are for a person".to_owned()
        }
    };
    let lost = match kind.on_lost {
        OnLost::Ask => "a person is asked (`decide`)",
        OnLost::Recreate => "it is made again",
        OnLost::Report => "it is reported and left so",
    };
    writeln!(text, "- Whose it is: {mark}.").unwrap();
    writeln!(
        text,
        "- When the object is gone: {lost}, unless the backend's `on_lost` says otherwise."
    )
    .unwrap();
    if kind.drift_policy == DriftPolicy::Report {
        text.push_str(
            "- Drift is only reported, unless the entity's `drift_policy` says otherwise.\n",
        );
    }
    writeln!(text, "- Failures in a row before it is `erred`: {}.", kind.retry_budget).unwrap();
    writeln!(text, "- Version of the schema: {}.", kind.schema_version).unwrap();
    actions(&mut text, kind);
    text
}

fn fields(text: &mut String, kind: &KindSpec, at: &str, schema: &Value) {
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|names| names.iter().any(|n| n == name))
    };
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let pointer = format!("{at}/{name}");
        let mut marks = Vec::new();
        marks.extend(required(name).then_some("required"));
        marks.extend(kind.immutable.contains(&pointer).then_some("immutable"));
        let write_only = kind.write_only.contains(&pointer);
        marks.extend(write_only.then_some("write-only: `{\"$secret\": NAME}`"));
        let path = pointer.trim_start_matches('/').replace('/', ".");
        let (marks, meaning) = (marks.join(", "), meaning(field));
        writeln!(text, "| `{path}` | {} | {marks} | {meaning} |", type_of(field)).unwrap();
        if !write_only {
            fields(text, kind, &pointer, field);
        }
    }
}

fn type_of(field: &Value) -> String {
    match &field["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
        }
        _ if field["enum"].is_array() => "one of".to_owned(),
        _ => "any".to_owned(),
    }
}

fn meaning(field: &Value) -> String {
    let mut parts = Vec::new();
    parts.extend(field["description"].as_str().map(str::to_owned));
    if let Some(words) = field["enum"].as_array() {
        let words: Vec<_> = words.iter().map(|word| format!("`{}`", plain(word))).collect();
        parts.push(format!("One of {}.", words.join(", ")));
    }
    if let Some(pattern) = field["pattern"].as_str() {
        parts.push(format!("Pattern `{}`.", pattern.replace('|', "\\|")));
    }
    if !field["default"].is_null() {
        parts.push(format!("Default `{}`.", plain(&field["default"])));
    }
    parts.join(" ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn actions(text: &mut String, kind: &KindSpec) {
    if kind.actions.is_empty() {
        return;
    }
    text.push_str("\n| Action | When nobody knows whether it was done |\n|---|---|\n");
    for action in &kind.actions {
        let doubt =
            if action.idempotent { "it is repeated" } else { "it fails, with `effect: maybe`" };
        writeln!(text, "| `{}` | {doubt} |", action.name).unwrap();
    }
}
