//! Whether a kind's schema allows a field.

use serde_json::Value;
use stateward_domain::json_pointer;

/// `$ref`s followed in a row: a schema may refer to itself.
const REFERENCES_MAX: usize = 32;
/// Wildcards are not supported, so `*` never matches a field that the schema does not name.
const WILDCARD: &str = "*";

/// Whether `text` is a JSON pointer (RFC 6901) to a value below the root.
pub(crate) fn is_pointer(text: &str) -> bool {
    let escapes = |token: &str| {
        token.split('~').skip(1).all(|rest| rest.starts_with('0') || rest.starts_with('1'))
    };
    text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(escapes))
}

/// Whether a value that is valid for `schema` can have something at `pointer`. A field that the schema does not name
/// exists if additional ones are allowed; an array item is addressed by its index.
pub(crate) fn allows(schema: &Value, pointer: &str) -> bool {
    let tokens: Vec<String> = pointer.split('/').skip(1).map(json_pointer::unescape).collect();
    Schemas { root: schema, followed: 0 }.allow(schema, &tokens)
}

#[derive(Clone, Copy)]
struct Schemas<'a> {
    root: &'a Value,
    followed: usize,
}

impl Schemas<'_> {
    fn allow(self, schema: &Value, tokens: &[String]) -> bool {
        let Some(members) = schema.as_object() else {
            return *schema != Value::Bool(false) && names_fields(tokens);
        };
        let Some((token, below)) = tokens.split_first() else { return true };
        if let Some(target) = members.get("$ref").and_then(Value::as_str) {
            return self.follow_reference(target, tokens);
        }
        let alternatives = ["anyOf", "oneOf", "allOf"].map(|name| members.get(name));
        let mut branches = alternatives.into_iter().flatten().filter_map(Value::as_array).flatten();
        if is_silent(schema) && branches.clone().next().is_some() {
            return branches.any(|branch| self.allow(branch, tokens));
        }
        let named = branches.any(|branch| !is_silent(branch) && self.allow(branch, tokens));
        named || self.allows_member(schema, token, below) || self.allows_item(schema, token, below)
    }

    fn allows_member(self, schema: &Value, token: &str, below: &[String]) -> bool {
        if !may_be(schema, "object") {
            return false;
        }
        if let Some(known) = schema.get("properties").and_then(|all| all.get(token)) {
            return self.allow(known, below);
        }
        // Any pattern may match: the name itself is checked with the desired state.
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        if patterns.is_some_and(|all| all.values().any(|of| self.allow(of, below))) {
            return true;
        }
        let others = ["additionalProperties", "unevaluatedProperties"];
        let others = others.into_iter().find_map(|name| schema.get(name));
        token != WILDCARD && others.map_or_else(|| names_fields(below), |of| self.allow(of, below))
    }

    fn allows_item(self, schema: &Value, token: &str, below: &[String]) -> bool {
        let number = token.parse::<u32>().ok().filter(|number| number.to_string() == token);
        if number.is_none() || !may_be(schema, "array") {
            return false;
        }
        schema.get("items").map_or_else(|| names_fields(below), |of| self.allow(of, below))
    }

    fn follow_reference(self, target: &str, tokens: &[String]) -> bool {
        let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let next = Self { followed: self.followed + 1, ..self };
        // A schema that is not understood here refuses nothing.
        next.followed > REFERENCES_MAX || found.is_none_or(|schema| next.allow(schema, tokens))
    }
}

/// Whether no token is a wildcard; used where the schema allows any name.
fn names_fields(tokens: &[String]) -> bool {
    !tokens.iter().any(|token| token == WILDCARD)
}

/// Whether `schema` allows a value of this JSON type.
fn may_be(schema: &Value, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => true,
    }
}

/// Whether `schema` does not constrain members or items.
fn is_silent(schema: &Value) -> bool {
    let names = [
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "items",
        "oneOf",
        "patternProperties",
        "properties",
        "type",
        "unevaluatedProperties",
    ];
    let branches = ["allOf", "anyOf", "oneOf"];
    schema.as_object().is_none_or(|members| {
        !members
            .keys()
            .any(|key| names.contains(&key.as_str()) && !branches.contains(&key.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_are_those_of_the_standard() {
        for text in ["/a", "/a/b", "/", "/a~0b/~1", "/ä"] {
            assert!(is_pointer(text), "{text}");
        }
        for text in ["", "a", "/~2", "/a~", "/a/~", "~0"] {
            assert!(!is_pointer(text), "{text}");
        }
    }

    #[test]
    fn only_what_can_be_there_is_allowed() {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "name": { "type": "string" },
                "tags": { "type": "array", "items": { "type": "string" } },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                "a/b": {},
                "size": { "type": ["integer", "null"] },
                "source": { "anyOf": [
                    { "type": "string" },
                    { "type": "object", "properties": { "id": {} }, "additionalProperties": false },
                ] },
                "part": { "$ref": "#/$defs/part" },
            },
            "$defs": { "part": {
                "type": "object",
                "additionalProperties": false,
                "properties": { "size": {}, "part": { "$ref": "#/$defs/part" } },
            } },
        });
        for pointer in [
            "/name",
            "/tags",
            "/tags/0",
            "/labels/a",
            "/a~1b",
            "/a~1b/any",
            "/size",
            "/source",
            "/source/id",
            "/part/part/part/size",
        ] {
            assert!(allows(&schema, pointer), "{pointer}");
        }
        for pointer in [
            "/names",
            "/name/x",
            "/tags/*",
            "/tags/-",
            "/tags/00",
            "/tags/0/x",
            "/labels/*",
            "/*",
            "/labels/a/b",
            "/a",
            "/size/0",
            "/source/name",
            "/part/part/name",
            "/",
        ] {
            assert!(!allows(&schema, pointer), "{pointer}");
        }
        for pointer in ["/any/thing/0", "/"] {
            assert!(allows(&json!({ "type": "object" }), pointer), "{pointer}");
        }
        assert!(!allows(&json!({ "type": "object" }), "/any/*"));
    }
}
