//! The changes that a request asks of an issue's fields: `fields` sets, `update` adds, removes and sets.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::call::Problem;
use super::field_catalog::{FieldDef, FieldKind, field};
use super::field_values::Target;

/// The changes of one request.
#[derive(Default)]
pub(crate) struct FieldChanges {
    /// New canonical values; null = not set any more.
    pub(crate) fields: BTreeMap<String, Value>,
    /// Comments to be added, as in the body of a comment.
    pub(crate) comments: Vec<Value>,
    /// Links to be added, as in the body of a link, without the issue itself.
    pub(crate) links: Vec<Value>,
}

impl FieldChanges {
    /// Reads `fields` and `update` of a body. `old` are the values before; a field that is not `settable` is refused.
    ///
    /// # Errors
    /// 400 with a message for each refused field.
    pub(crate) fn of(
        target: Target<'_>,
        body: &Value,
        old: &BTreeMap<String, Value>,
        settable: &dyn Fn(&FieldDef) -> bool,
    ) -> Result<Self, Problem> {
        let mut changes = Self::default();
        let mut errors = BTreeMap::new();
        for (name, value) in body["fields"].as_object().into_iter().flatten() {
            let found = field(name).filter(|def| settable(def));
            let set =
                found.ok_or_else(|| not_on_screen(name)).and_then(|def| target.set(def, value));
            match set {
                Ok(value) => drop(changes.fields.insert(name.clone(), value)),
                Err(message) => drop(errors.insert(name.clone(), message)),
            }
        }
        for (name, operations) in body["update"].as_object().into_iter().flatten() {
            if let Err(message) = changes.update(target, name, operations, old, settable) {
                errors.insert(name.clone(), message);
            }
        }
        Problem::fields(errors).map_or(Ok(changes), Err)
    }

    fn update(
        &mut self,
        target: Target<'_>,
        name: &str,
        operations: &Value,
        old: &BTreeMap<String, Value>,
        settable: &dyn Fn(&FieldDef) -> bool,
    ) -> Result<(), String> {
        let operations = operations.as_array().map(Vec::as_slice).unwrap_or_default();
        if name == "comment" || name == "issuelinks" {
            let added = operations.iter().filter_map(|operation| operation.get("add")).cloned();
            if name == "comment" {
                self.comments.extend(added);
            } else {
                self.links.extend(added);
            }
            return Ok(());
        }
        let def = field(name).filter(|def| settable(def)).ok_or_else(|| not_on_screen(name))?;
        if self.fields.contains_key(name) {
            return Err(format!("Field '{name}' cannot appear in both 'fields' and 'update'"));
        }
        let mut value = old.get(name).cloned().unwrap_or(Value::Null);
        for operation in operations {
            for (verb, operand) in operation.as_object().into_iter().flatten() {
                value = applied(target, def, value, verb, operand)?;
            }
        }
        self.fields.insert(name.to_owned(), value);
        Ok(())
    }

    /// Applies the changes of fields; returns whether any value changed.
    pub(crate) fn apply(&self, fields: &mut BTreeMap<String, Value>) -> bool {
        let before = fields.clone();
        for (name, value) in &self.fields {
            if value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
                fields.remove(name);
            } else {
                fields.insert(name.clone(), value.clone());
            }
        }
        before != *fields
    }
}

fn not_on_screen(name: &str) -> String {
    format!("Field '{name}' cannot be set. It is not on the appropriate screen, or unknown.")
}

fn applied(
    target: Target<'_>,
    def: &FieldDef,
    value: Value,
    verb: &str,
    operand: &Value,
) -> Result<Value, String> {
    if !def.operations().contains(&verb) {
        return Err(format!("Operation '{verb}' is not supported for field '{}'", def.id));
    }
    if verb == "set" {
        return target.set(def, operand);
    }
    let mut items = match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    // A label or version that is gone can be removed still.
    let item = match (verb, def.kind) {
        ("remove", FieldKind::Labels) => operand.clone(),
        _ => target.item(def, operand)?,
    };
    items.retain(|known| *known != item);
    if verb == "add" {
        items.push(item);
    }
    if def.kind == FieldKind::Labels {
        items.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
    }
    Ok(json!(items))
}
