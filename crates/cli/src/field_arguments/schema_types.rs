//! The JSON types that a schema allows for a field.

use std::collections::BTreeSet;

use serde_json::Value;

/// `$ref`s followed at most: a bound for schemas that refer to themselves.
const REFERENCES_MAX: usize = 16;

/// The types of the member at `names`; `None` = the schema does not restrict them.
pub(super) fn of<'a>(schema: &'a Value, names: &[String]) -> Option<BTreeSet<&'a str>> {
    let mut at = schema;
    for name in names {
        at = resolved(at, schema)?;
        at = match at["properties"].get(name) {
            Some(member) => member,
            None => at.get("additionalProperties")?,
        };
    }
    types(at, schema, REFERENCES_MAX)
}

/// The schema that `at` refers to, or `at` itself.
fn resolved<'a>(mut at: &'a Value, root: &'a Value) -> Option<&'a Value> {
    for _ in 0..REFERENCES_MAX {
        match at["$ref"].as_str() {
            None => return Some(at),
            Some(reference) => at = root.pointer(reference.strip_prefix('#')?)?,
        }
    }
    None
}

fn types<'a>(at: &'a Value, root: &'a Value, steps: usize) -> Option<BTreeSet<&'a str>> {
    let (at, steps) = (resolved(at, root)?, steps.checked_sub(1)?);
    match &at["type"] {
        Value::String(one) => return Some(BTreeSet::from([one.as_str()])),
        Value::Array(several) => return several.iter().map(Value::as_str).collect(),
        _ => {}
    }
    if let Some(choices) = at["enum"].as_array() {
        return Some(choices.iter().map(name).collect());
    }
    if let Some(only) = at.get("const") {
        return Some(BTreeSet::from([name(only)]));
    }
    let choices = at["oneOf"].as_array().or_else(|| at["anyOf"].as_array())?;
    choices.iter().try_fold(BTreeSet::new(), |mut all, choice| {
        all.append(&mut types(choice, root, steps)?);
        Some(all)
    })
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_found_through_members_references_and_choices() {
        let schema = json!({
            "$defs": {"quota": {"type": "integer"}, "loop": {"$ref": "#/$defs/loop"}},
            "properties": {
                "content": {"type": "string"},
                "size": {"type": ["integer", "null"]},
                "quotas": {"properties": {"cores": {"$ref": "#/$defs/quota"}}, "additionalProperties": {"$ref": "#/$defs/quota"}},
                "network": {"oneOf": [{"type": "string"}, {"type": "object"}]},
                "policy": {"enum": ["a", "b"]},
                "any": true, "open": {}, "loop": {"$ref": "#/$defs/loop"},
                "mixed": {"anyOf": [{"type": "string"}, {}]},
            },
        });
        let cases = [
            ("content", Some(&["string"][..])),
            ("size", Some(&["integer", "null"])),
            ("quotas.cores", Some(&["integer"])),
            ("quotas.gpus", Some(&["integer"])),
            ("network", Some(&["object", "string"])),
            ("policy", Some(&["string"])),
            ("any", None),
            ("open", None),
            ("open.below", None),
            ("loop", None),
            ("mixed", None),
            ("unknown", None),
        ];
        for (field, expected) in cases {
            let names: Vec<_> = field.split('.').map(str::to_owned).collect();
            let expected = expected.map(|types| types.iter().copied().collect());
            assert_eq!(of(&schema, &names), expected, "{field}");
        }
    }
}
