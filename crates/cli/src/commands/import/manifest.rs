//! Builds the manifest of an entity that adopts an object.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Characters of a name at most, without a numeric suffix.
const NAME_CHARS_MAX: usize = 200;

/// Builds manifests with names that are unique among themselves and among existing entities.
pub(super) struct ManifestBuilder {
    backend: String,
    namespace: String,
    taken: BTreeSet<(String, String)>,
}

impl ManifestBuilder {
    pub(super) fn new(backend: &str, namespace: &str) -> Self {
        let (backend, namespace) = (backend.to_owned(), namespace.to_owned());
        Self { backend, namespace, taken: BTreeSet::new() }
    }

    /// Reserves a name.
    pub(super) fn reserve(&mut self, kind: &str, name: &str) {
        self.taken.insert((kind.to_owned(), name.to_owned()));
    }

    /// The manifest of an object, named `name`, else by the object's own name, else by its id.
    pub(super) fn manifest(
        &mut self,
        kind: &str,
        schema: &Value,
        object: &Value,
        name: Option<&str>,
    ) -> Value {
        let id = object["external_id"].as_str().unwrap_or_default();
        let own = name.or_else(|| object["attributes"]["name"].as_str()).unwrap_or_default();
        let name = self.free(kind, &[plain(own), plain(id)]);
        json!({
            "kind": kind, "name": name, "namespace": self.namespace, "backend": self.backend,
            "external_id": id, "management_policy": "observe_only", "deletion_policy": "orphan",
            "desired": desired(schema, &object["attributes"]),
        })
    }

    /// The first of `names` that is valid and not taken; else the last one with a number.
    fn free(&mut self, kind: &str, names: &[String]) -> String {
        let last = names.iter().rfind(|name| !name.is_empty()).map_or("object", |name| name);
        let numbered = (2_u64..).map(|number| format!("{last}-{number}"));
        let candidates = names.iter().filter(|name| !name.is_empty()).cloned().chain(numbered);
        let mut found = String::new();
        for name in candidates {
            if self.taken.insert((kind.to_owned(), name.clone())) {
                found = name;
                break;
            }
        }
        found
    }
}

/// A text as a name: invalid characters become dashes.
fn plain(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let text: String = text.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let text = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).trim_end_matches('-');
    text.chars().take(NAME_CHARS_MAX).collect()
}

/// The attributes that can be declared.
fn desired(schema: &Value, attributes: &Value) -> Value {
    let known = schema["properties"].as_object();
    let open = schema["additionalProperties"] != false;
    let mut desired: Map<String, Value> = attributes.as_object().cloned().unwrap_or_default();
    desired.retain(|name, value| {
        !value.is_null() && (open || known.is_some_and(|known| known.contains_key(name)))
    });
    Value::Object(desired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_and_differ() {
        let mut builder = ManifestBuilder::new("cloud", "default");
        builder.reserve("k.a", "theirs");
        let mut names = Vec::new();
        let mut add = |kind, object: &Value, name| {
            let manifest = builder.manifest(kind, &json!({}), object, name);
            names.push(manifest["name"].as_str().unwrap().to_owned());
        };
        let object =
            |id: &str, name: &str| json!({"external_id": id, "attributes": {"name": name}});
        for (id, name) in
            [("a1", "db (old)"), ("a2", "db (old)"), ("/", ""), ("/", "-"), ("a3", "theirs")]
        {
            add("k.a", &object(id, name), None);
        }
        add("k.b", &object("b1", "db (old)"), None);
        add("k.b", &object("b2", "x"), Some("web.0"));
        assert_eq!(names, ["db--old", "a2", "object-2", "object-3", "a3", "db--old", "web.0"]);
    }

    #[test]
    fn only_what_can_be_declared_is() {
        let schema = json!({"additionalProperties": false, "properties": {"size": {}, "name": {}}});
        let attributes = json!({"size": 1, "name": null, "status": "ok"});
        assert_eq!(desired(&schema, &attributes), json!({"size": 1}));
        assert_eq!(desired(&json!({}), &attributes), json!({"size": 1, "status": "ok"}));
    }
}
