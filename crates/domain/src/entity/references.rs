//! References: `{"$ref": "KIND/NAME", "field": "observed.attributes.x"}` anywhere in a desired state stands for a
//! value of another entity of the same namespace.
//!
//! The desired state keeps the reference as it was written; [`resolve`] substitutes the values where they are needed.
//! So a request never becomes stale, and a changed value shows as a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use crate::entity::reference_target::Target;
use crate::field_error::FieldError;
use crate::json_pointer;

mod cycle;
mod dependencies;
#[cfg(test)]
mod tests;
mod value;

pub use cycle::cycle;
pub(crate) use dependencies::targets_in;
pub use value::{Purpose, Unready, Waiting, usable, value, values};

/// The member that makes an object a reference.
pub const REFERENCE: &str = "$ref";
/// References in one desired state, at most: bounds the lookups of a round.
pub const REFERENCES_MAX: usize = 64;
const FIELD: &str = "field";
const EXTERNAL_ID: &str = "observed.external_id";
const ATTRIBUTES: &str = "observed.attributes.";

/// The part of the target that a reference takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The external id of its object.
    ExternalId,
    /// An attribute of its last observation: the path of member names and array indices, never empty.
    Attribute(Vec<String>),
}

impl Field {
    /// Its JSON pointer in the attributes; `None` = it is no attribute.
    #[must_use]
    pub fn pointer(&self) -> Option<String> {
        let Self::Attribute(names) = self else { return None };
        Some(names.iter().map(|name| format!("/{}", json_pointer::escape(name))).collect())
    }
}

/// In the syntax of `field`.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExternalId => f.write_str(EXTERNAL_ID),
            Self::Attribute(names) => write!(f, "{ATTRIBUTES}{}", names.join(".")),
        }
    }
}

/// One reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// JSON pointer to it in the desired state.
    pub pointer: String,
    /// The target.
    pub target: Target,
    /// The part of the target.
    pub field: Field,
}

/// All references of a desired state, in the order of their pointers.
///
/// # Errors
/// Every malformed reference, and too many references.
pub fn references(desired: &Value) -> Result<Vec<Reference>, Vec<FieldError>> {
    let mut found = Vec::new();
    let mut faults = Vec::new();
    if !mentions(desired, REFERENCE) {
        // Fast path: most desired states have no reference, and this runs for every event.
        return Ok(found);
    }
    walk(desired, &mut String::new(), &mut |pointer, members| match parse(pointer, members) {
        Ok(reference) => found.push(reference),
        Err(fault) => faults.push(fault),
    });
    if found.len() > REFERENCES_MAX {
        let message = format!("{} references, at most {REFERENCES_MAX} are taken", found.len());
        faults.push(FieldError { pointer: String::new(), message });
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

/// All references of a desired state in the log, which was checked when it was declared; empty if it is malformed
/// nevertheless.
#[must_use]
pub fn declared(desired: &Value) -> Vec<Reference> {
    references(desired).unwrap_or_default()
}

/// `desired` with its references replaced by `values` (by pointer). A reference without a value stays as it is.
#[must_use]
pub fn resolve(desired: &Value, values: &BTreeMap<String, Value>) -> Value {
    let mut resolved = desired.clone();
    for (pointer, value) in values {
        // The original decides what a reference is: a plain value is never overwritten, and a substituted value is
        // never searched for references.
        if !desired.pointer(pointer).is_some_and(is_reference) {
            continue;
        }
        if let Some(place) = resolved.pointer_mut(pointer) {
            *place = value.clone();
        }
    }
    resolved
}

/// The targets of `references`, each once.
#[must_use]
pub fn targets(references: &[Reference]) -> BTreeSet<Target> {
    references.iter().map(|reference| reference.target.clone()).collect()
}

/// Whether `value` is a reference, well-formed or not.
#[must_use]
pub fn is_reference(value: &Value) -> bool {
    value.as_object().is_some_and(|members| members.contains_key(REFERENCE))
}

/// Whether any object in `value` has this member. Cheaper than a walk that builds pointers.
#[must_use]
pub fn mentions(value: &Value, member: &str) -> bool {
    match value {
        Value::Object(members) => {
            members.contains_key(member) || members.values().any(|value| mentions(value, member))
        }
        Value::Array(items) => items.iter().any(|item| mentions(item, member)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Calls `see` for each reference; does not descend into it.
fn walk(value: &Value, pointer: &mut String, see: &mut impl FnMut(&str, &Map<String, Value>)) {
    let mut below = |token: &str, value: &Value| {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&json_pointer::escape(token));
        walk(value, pointer, see);
        pointer.truncate(length);
    };
    match value {
        Value::Object(members) if members.contains_key(REFERENCE) => see(pointer, members),
        Value::Object(members) => members.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| below(&index.to_string(), item));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn parse(pointer: &str, members: &Map<String, Value>) -> Result<Reference, FieldError> {
    let fault =
        |message: &str| FieldError { pointer: pointer.to_owned(), message: message.to_owned() };
    if pointer.is_empty() {
        return Err(fault("a field may be a reference, the whole desired state may not"));
    }
    if members.keys().any(|name| name != REFERENCE && name != FIELD) {
        return Err(fault("a reference has no members but `$ref` and `field`"));
    }
    let target = members
        .get(REFERENCE)
        .and_then(Value::as_str)
        .and_then(Target::parse)
        .ok_or_else(|| fault("`$ref` takes \"KIND/NAME\""))?;
    let field = match members.get(FIELD) {
        None => Field::ExternalId,
        Some(text) => text.as_str().and_then(field).ok_or_else(|| {
            fault("`field` takes \"observed.external_id\" or \"observed.attributes.NAME\"")
        })?,
    };
    Ok(Reference { pointer: pointer.to_owned(), target, field })
}

fn field(text: &str) -> Option<Field> {
    if text == EXTERNAL_ID {
        return Some(Field::ExternalId);
    }
    let names: Vec<_> = text.strip_prefix(ATTRIBUTES)?.split('.').map(str::to_owned).collect();
    names.iter().all(|name| !name.is_empty()).then_some(Field::Attribute(names))
}
