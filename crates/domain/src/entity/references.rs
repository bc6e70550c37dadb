//! References: `{"$ref": "KIND/NAME", "field": "observed.attributes.x"}` anywhere in a desired state stands for a
//! value of another entity of the same namespace.
//!
//! The desired state keeps the reference as it was written; [`resolve`] puts the values in where one is needed. So
//! what users asked for never goes stale, and a value that changed shows as a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use crate::entity::target::Target;
use crate::field_error::FieldError;
use crate::id::{EntityName, KindName};
use crate::json_pointer;

mod cycle;
mod dependencies;
#[cfg(test)]
mod tests;
mod value;

pub use cycle::cycle;
pub(crate) use dependencies::targets_in;
pub use value::{Purpose, Unready, Waiting, value, values};

/// The member that makes an object a reference.
pub const REFERENCE: &str = "$ref";
/// References in one desired state: bounds what a round has to look up.
pub const REFERENCES_MAX: usize = 64;
const FIELD: &str = "field";
const EXTERNAL_ID: &str = "observed.external_id";
const ATTRIBUTES: &str = "observed.attributes.";

/// What of the target is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The id of its object in the backend.
    ExternalId,
    /// An attribute of its last observation, by the names that lead to it; never empty.
    Attribute(Vec<String>),
}

/// As it is written.
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
    /// Where it stands in the desired state.
    pub pointer: String,
    /// Whom it names.
    pub target: Target,
    /// What of it.
    pub field: Field,
}

/// All references of a desired state, in the order of their pointers.
///
/// # Errors
/// Every reference that is malformed, and too many of them.
pub fn references(desired: &Value) -> Result<Vec<Reference>, Vec<FieldError>> {
    let mut found = Vec::new();
    let mut faults = Vec::new();
    if !mentions(desired, REFERENCE) {
        // Nearly all have none, and this is asked at every event.
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

/// All references of a desired state that is in the log: it was checked when it was declared. Were it malformed
/// nevertheless, it would refer to nobody.
#[must_use]
pub fn declared(desired: &Value) -> Vec<Reference> {
    references(desired).unwrap_or_default()
}

/// `desired` with the values of `values` (by pointer) in the place of its references. A reference that has no value
/// there stays as it is.
#[must_use]
pub fn resolve(desired: &Value, values: &BTreeMap<String, Value>) -> Value {
    let mut resolved = desired.clone();
    for (pointer, value) in values {
        // What stands there as written decides: a plain value is never overwritten, and a value that was put in
        // is never looked into, whatever it looks like.
        if !desired.pointer(pointer).is_some_and(is_reference) {
            continue;
        }
        if let Some(place) = resolved.pointer_mut(pointer) {
            *place = value.clone();
        }
    }
    resolved
}

/// The entities that `references` name, each once.
#[must_use]
pub fn targets(references: &[Reference]) -> BTreeSet<Target> {
    references.iter().map(|reference| reference.target.clone()).collect()
}

/// Whether `value` is meant as a reference, well-formed or not.
#[must_use]
pub fn is_reference(value: &Value) -> bool {
    value.as_object().is_some_and(|members| members.contains_key(REFERENCE))
}

/// Whether an object somewhere in `value` has this member: looking is less than spelling out every place.
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

/// Calls `see` for each object that is meant as a reference; what is in one is not looked into.
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
        .and_then(target)
        .ok_or_else(|| fault("`$ref` takes \"KIND/NAME\""))?;
    let field = match members.get(FIELD) {
        None => Field::ExternalId,
        Some(text) => text.as_str().and_then(field).ok_or_else(|| {
            fault("`field` takes \"observed.external_id\" or \"observed.attributes.NAME\"")
        })?,
    };
    Ok(Reference { pointer: pointer.to_owned(), target, field })
}

fn target(text: &str) -> Option<Target> {
    let (kind, name) = text.split_once('/')?;
    let whole = !kind.is_empty() && !name.is_empty();
    whole.then(|| Target { kind: KindName::from(kind), name: EntityName::from(name) })
}

fn field(text: &str) -> Option<Field> {
    if text == EXTERNAL_ID {
        return Some(Field::ExternalId);
    }
    let names: Vec<_> = text.strip_prefix(ATTRIBUTES)?.split('.').map(str::to_owned).collect();
    names.iter().all(|name| !name.is_empty()).then_some(Field::Attribute(names))
}
