//! Members that this version does not understand.
//!
//! **Invariant:** nothing is written back that was not understood. An entry with a member of unknown meaning is shown
//! under [`UNMANAGED`], and a field that is written as a whole does not change while it holds one: without that member
//! a rule for some addresses is a rule for all of them.

use serde_json::{Map, Value};
use stateward_domain::failure::{ErrorClass, Failure};

use super::Kind;
use crate::openstack::client::{ApiError, ErrorKind};

/// Attribute with the entries that are not understood, as the API shows them, by field. Absent = there are none.
pub(super) const UNMANAGED: &str = "unmanaged";

/// A field whose value is an object of the API, or a list of such objects.
pub(in crate::openstack) struct Part {
    /// Name of the field.
    pub(super) field: &'static str,
    /// Its name in the API.
    pub(super) member: &'static str,
    /// Members of an entry that this version understands.
    pub(super) known: &'static [&'static str],
    /// Members that the API keeps for itself, and that no change has to repeat.
    pub(super) bookkeeping: &'static [&'static str],
    /// Of these members, those with a value that is not understood.
    pub(super) strange: fn(&Value) -> Vec<&'static str>,
    pub(super) written: Written,
}

/// How a change of a [`Part`] is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// All entries in one request, which drops what it does not repeat.
    AsAWhole,
    /// Entry by entry; those that are not understood stay.
    ByEntry,
}

impl Part {
    /// A field of the same name in the API, that is written as a whole.
    pub(super) const fn whole(field: &'static str, known: &'static [&'static str]) -> Self {
        let (bookkeeping, strange, written) = (&[], no_strange as fn(&_) -> _, Written::AsAWhole);
        Self { field, member: field, known, bookkeeping, strange, written }
    }

    /// The members of `entry` that are not understood. A further member without a value says nothing.
    pub(super) fn unknown(&self, entry: &Value) -> Vec<String> {
        let listed = |name: &str| self.known.contains(&name) || self.bookkeeping.contains(&name);
        let members = entry.as_object().into_iter().flatten();
        let further = members.filter(|(name, value)| !listed(name) && !is_unset(value));
        let strange = (self.strange)(entry).into_iter().map(str::to_owned);
        further.map(|(name, _)| name.clone()).chain(strange).collect()
    }
}

fn no_strange(_: &Value) -> Vec<&'static str> {
    Vec::new()
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Adds to `attributes` the entries of `row` that are not understood. Fields that are written as a whole keep the known
/// members of their entries, so that what is not understood is no difference.
pub(super) fn separate(kind: &dyn Kind, row: &Value, attributes: &mut Map<String, Value>) {
    let mut unmanaged = Map::new();
    for part in kind.parts() {
        let strange = entries(&row[part.member]).into_iter();
        let strange: Vec<_> =
            strange.filter(|entry| !part.unknown(entry).is_empty()).cloned().collect();
        if !strange.is_empty() {
            unmanaged.insert(part.field.to_owned(), Value::Array(strange));
        }
        if part.written == Written::AsAWhole
            && let Some(Value::Array(shown)) = attributes.get_mut(part.field)
        {
            for entry in shown.iter_mut().filter_map(Value::as_object_mut) {
                entry.retain(|name, _| part.known.contains(&name.as_str()));
            }
        }
    }
    if !unmanaged.is_empty() {
        attributes.insert(UNMANAGED.to_owned(), Value::Object(unmanaged));
    }
}

fn entries(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(entries) => entries.iter().collect(),
        Value::Object(_) => vec![value],
        _ => Vec::new(),
    }
}

/// Whether an observed object holds something that is not understood.
pub(super) fn is_partly(observed: &Value) -> bool {
    observed.get(UNMANAGED).is_some()
}

/// Refuses a change of `fields` (JSON pointers) that would drop what is not understood. A field that becomes `null`
/// drops it on purpose.
///
/// # Errors
/// `Invalid`, without effect.
pub(super) fn refuse(
    kind: &dyn Kind,
    observed: &Value,
    spec: &Value,
    fields: &[String],
) -> Result<(), ApiError> {
    for part in kind.parts().iter().filter(|part| part.written == Written::AsAWhole) {
        let changes = fields.iter().any(|field| field.strip_prefix('/') == Some(part.field));
        let strange = entries(&observed[UNMANAGED][part.field]);
        if changes && !strange.is_empty() && !spec[part.field].is_null() {
            return Err(not_understood(part, &strange));
        }
    }
    Ok(())
}

/// The refusal of a change of `part`, whose entries `strange` are not understood.
pub(super) fn not_understood(part: &Part, strange: &[&Value]) -> ApiError {
    let mut members: Vec<_> = strange.iter().flat_map(|entry| part.unknown(entry)).collect();
    members.sort();
    members.dedup();
    let message = format!(
        "{} has {}, which this version does not understand: it is not changed",
        part.field,
        members.join(", ")
    );
    ApiError::harmless(ErrorKind::Invalid, "not_understood", message)
}

/// The refusal of a replacement, which would make the object without what is not understood.
pub(super) fn not_replaced(field: &str, observed: &Value) -> Failure {
    let parts = observed[UNMANAGED].as_object().into_iter().flatten();
    let parts: Vec<_> = parts.map(|(name, _)| name.as_str()).collect();
    let message = format!(
        "{field} cannot change, and the object is not replaced: {} holds what this version does not understand",
        parts.join(", ")
    );
    Failure::harmless(ErrorClass::Immutable, "not_understood", message)
}
