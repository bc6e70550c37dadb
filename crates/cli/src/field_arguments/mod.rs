//! `FIELD=VALUE` arguments: from the command line to a JSON document.

mod schema_types;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use stateward_api::json;
use stateward_domain::json_pointer;

use crate::exit::CliError;
use crate::manifests::scalar;

/// Members that make an object a reference to another value.
const REFERENCES: &[&str] = &["$ref", "$secret"];

/// The document of some assignments: `a.b=1` and `/a/b=1` set a nested member. `schema` is the document's JSON Schema,
/// `Null` when it is unknown.
///
/// Where the schema allows only strings, a value is a string, except `null`, a JSON string in quotation marks, and an
/// object with a reference. Elsewhere it is JSON if it parses as JSON, else a string.
///
/// # Errors
/// A usage error: no `=`, no name, two assignments of one field, or a number that JSON cannot represent.
pub(crate) fn document(assignments: &[String], schema: &Value) -> anyhow::Result<Value> {
    let mut document = Map::new();
    for assignment in assignments {
        let (field, text) = assignment
            .split_once('=')
            .ok_or_else(|| CliError::usage(format!("{assignment}: it takes FIELD=VALUE")))?;
        let names = names(field);
        if names.iter().any(String::is_empty) {
            return Err(CliError::usage(format!("{assignment}: {field:?} names no field")));
        }
        let types = schema_types::of(schema, &names);
        let is_text = types.is_some_and(|types| {
            types.contains("string") && types.iter().all(|known| ["string", "null"].contains(known))
        });
        let value = value(text, is_text)
            .map_err(|message| CliError::usage(format!("{assignment}: {message}")))?;
        put(&mut document, &names, value)
            .ok_or_else(|| CliError::usage(format!("{assignment}: {field} is given twice")))?;
    }
    Ok(Value::Object(document))
}

/// `is_text` = the schema allows only strings.
fn value(text: &str, is_text: bool) -> Result<Value, String> {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        if scalar::is_non_finite(text) && !is_text {
            return Err(format!("{text} is no finite number: write '\"{text}\"' for a text"));
        }
        return Ok(Value::from(text));
    }
    let stands_for_another = |value: &Value| match value {
        Value::Null | Value::String(_) => true,
        Value::Object(members) => members.keys().any(|name| REFERENCES.contains(&name.as_str())),
        _ => false,
    };
    match json::value(text.as_bytes()) {
        Ok(value) if !is_text || stands_for_another(&value) => Ok(value),
        _ if is_text => Ok(Value::from(text)),
        Ok(value) => Ok(value),
        Err(error) => Err(error.to_string()),
    }
}

fn names(field: &str) -> Vec<String> {
    match field.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(json_pointer::unescape).collect(),
        None => field.split('.').map(str::to_owned).collect(),
    }
}

/// `None` when the member has a value already.
fn put(members: &mut Map<String, Value>, names: &[String], value: Value) -> Option<()> {
    let (name, below) = names.split_first()?;
    if below.is_empty() {
        return members.insert(name.clone(), value).is_none().then_some(());
    }
    let next = members.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
    put(next.as_object_mut()?, below, value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn typed(assignments: &[&str], schema: &Value) -> anyhow::Result<Value> {
        document(&assignments.iter().map(|&text| text.to_owned()).collect::<Vec<_>>(), schema)
    }

    fn of(assignments: &[&str]) -> anyhow::Result<Value> {
        typed(assignments, &Value::Null)
    }

    #[test]
    fn values_are_json_where_they_are_some_and_no_schema_says_otherwise() {
        let cases = [
            (
                &["size=20", "name=db-1", "tags=[\"a\"]"][..],
                json!({"size": 20, "name": "db-1", "tags": ["a"]}),
            ),
            (
                &["quotas.volume.volumes=3", "quotas.volume.gigabytes=9"],
                json!({"quotas": {"volume": {"volumes": 3, "gigabytes": 9}}}),
            ),
            (
                &["/metadata/a.b~1c=x=y", "gone=null", "text=\"7\""],
                json!({"metadata": {"a.b/c": "x=y"}, "gone": null, "text": "7"}),
            ),
            (&[], json!({})),
        ];
        for (assignments, expected) in cases {
            assert_eq!(of(assignments).expect("well-formed"), expected);
        }
    }

    #[test]
    fn a_field_that_takes_texts_alone_gets_a_text() {
        let schema = json!({"properties": {
            "content": {"type": "string"}, "mode": {"type": ["string", "null"]}, "size": {"type": "integer"},
            "either": {"type": ["string", "integer"]}, "labels": {"additionalProperties": {"type": "string"}},
        }});
        let cases = [
            ("content=123", json!({"content": "123"})),
            ("content=true", json!({"content": "true"})),
            ("content={\"a\": 1}", json!({"content": "{\"a\": 1}"})),
            ("content=18446744073709551616", json!({"content": "18446744073709551616"})),
            ("content=NaN", json!({"content": "NaN"})),
            ("content=null", json!({"content": null})),
            ("content=\"null\"", json!({"content": "null"})),
            ("content={\"$secret\": \"db\"}", json!({"content": {"$secret": "db"}})),
            ("mode=0644", json!({"mode": "0644"})),
            ("mode=644", json!({"mode": "644"})),
            ("labels.tier=1", json!({"labels": {"tier": "1"}})),
            ("size=7", json!({"size": 7})),
            ("either=7", json!({"either": 7})),
            ("unknown=7", json!({"unknown": 7})),
        ];
        for (assignment, expected) in cases {
            assert_eq!(
                typed(&[assignment], &schema).expect("well-formed"),
                expected,
                "{assignment}"
            );
        }
        for refused in
            ["size=18446744073709551616", "size=NaN", "unknown=1e400", "either={\"a\":1,\"a\":2}"]
        {
            assert!(typed(&[refused], &schema).is_err(), "{refused}");
        }
    }

    #[test]
    fn what_says_nothing_or_two_things_is_refused() {
        for assignments in [
            &["size"][..],
            &["=1"],
            &["a..b=1"],
            &["/=1"],
            &["a=1", "a=2"],
            &["a=1", "a.b=2"],
            &["a=18446744073709551616"],
            &["a=-9223372036854775809"],
            &["a=1e400"],
            &["a=NaN"],
            &["a=-Infinity"],
            &["a=.inf"],
            &["a={\"b\":1,\"b\":2}"],
            &["a=\"\\ud800\""],
        ] {
            assert!(of(assignments).is_err(), "{assignments:?}");
        }
    }
}
