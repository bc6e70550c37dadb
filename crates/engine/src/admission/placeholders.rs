//! Placeholders for references whose values are not known yet, so that the rest of a desired state can be checked when
//! it is declared.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stateward_domain::entity::references::{Reference, resolve};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::KindName;
use stateward_domain::json_pointer::covers;
use stateward_domain::ports::driver::Driver;
use uuid::Uuid;

use crate::admission::compiled_schemas::Kinds;
use crate::error::AdmissionError;

#[cfg(test)]
mod tests;

/// A desired state whose references are replaced by placeholders.
pub(crate) struct Placeholders<'a> {
    declared: &'a Value,
    value: Cow<'a, Value>,
    /// Pointers to the references in `declared`.
    open: Vec<String>,
    /// By placeholder: the reference as declared.
    originals: BTreeMap<String, Value>,
}

impl<'a> Placeholders<'a> {
    /// Replaces `references`, which are all references of `desired`, by placeholders. Equal references get the same
    /// placeholder, so that `uniqueItems` still finds duplicates.
    pub(crate) fn of(desired: &'a Value, references: &[Reference]) -> Self {
        if references.is_empty() {
            return Self {
                declared: desired,
                value: Cow::Borrowed(desired),
                open: Vec::new(),
                originals: BTreeMap::new(),
            };
        }
        let all = desired.to_string();
        let mut unused = (0..).map(placeholder).filter(|text| !all.contains(text));
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut originals = BTreeMap::new();
        let mut values = BTreeMap::new();
        for Reference { pointer, .. } in references {
            let Some(reference) = desired.pointer(pointer) else { continue };
            let text = known
                .entry(reference.to_string())
                .or_insert_with(|| unused.next().unwrap_or_default())
                .clone();
            values.insert(pointer.clone(), Value::from(text.as_str()));
            originals.insert(text, reference.clone());
        }
        let value = Cow::Owned(resolve(desired, &values));
        Self { declared: desired, value, open: values.into_keys().collect(), originals }
    }

    /// The desired state as schema and driver accept it: normalised, with its references as declared. Faults of
    /// placeholders are dropped. If the driver rejects only placeholders, the desired state stays as declared: it is
    /// checked again once the values are known.
    ///
    /// # Errors
    /// [`AdmissionError::UnknownKind`], [`AdmissionError::Invalid`] with every fault.
    pub(crate) fn check(
        &self,
        kinds: &Kinds,
        driver: &dyn Driver,
        kind: &KindName,
    ) -> Result<Value, AdmissionError> {
        self.check_schema(kinds, kind, &[])?;
        self.check_driver(|value| driver.check(kind, value)).map_err(AdmissionError::Invalid)
    }

    /// Checks the desired state against the kind's schema; faults at the pointers `others` are dropped.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub(crate) fn check_schema(
        &self,
        kinds: &Kinds,
        kind: &KindName,
        others: &[String],
    ) -> Result<(), AdmissionError> {
        let open: Vec<_> = self.open.iter().chain(others).cloned().collect();
        kinds.check(kind, &self.value, &open)
    }

    /// As [`check`](Self::check), without the schema; `check` is the driver's.
    pub(crate) fn check_driver(
        &self,
        check: impl FnOnce(&Value) -> Result<Value, Vec<FieldError>>,
    ) -> Result<Value, Vec<FieldError>> {
        match check(&self.value) {
            Ok(normal) => Ok(self.restore(normal).unwrap_or_else(|| self.declared.clone())),
            Err(mut faults) if !self.open.is_empty() => {
                faults.retain(|fault| !covers(&self.open, &fault.pointer));
                if faults.is_empty() { Ok(self.declared.clone()) } else { Err(faults) }
            }
            Err(faults) => Err(faults),
        }
    }

    /// `normal` with placeholders replaced by their references, wherever the driver moved them; `None` when one is
    /// missing.
    fn restore(&self, mut normal: Value) -> Option<Value> {
        if self.originals.is_empty() {
            return Some(normal);
        }
        let mut found = BTreeSet::new();
        restore(&mut normal, &self.originals, &mut found);
        (found.len() == self.originals.len()).then_some(normal)
    }
}

fn restore<'m>(
    value: &mut Value,
    originals: &'m BTreeMap<String, Value>,
    found: &mut BTreeSet<&'m str>,
) {
    match value {
        Value::String(text) => {
            if let Some((placeholder, reference)) = originals.get_key_value(text.as_str()) {
                found.insert(placeholder);
                *value = reference.clone();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| restore(item, originals, found)),
        Value::Object(members) => {
            members.values_mut().for_each(|member| restore(member, originals, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A placeholder looks like an id, which most references stand for: short, and spelt in one way only, so no driver
/// rewrites it.
fn placeholder(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}
