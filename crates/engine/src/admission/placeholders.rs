//! Texts that stand in for references whose values nobody knows yet, so that everything that is written beside them can
//! be checked as soon as it is declared.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stateward_domain::entity::references::{Reference, resolve};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::KindName;
use stateward_domain::json_pointer::covers;
use stateward_domain::ports::driver::Driver;
use uuid::Uuid;

use crate::admission::kinds::Kinds;
use crate::error::Error;

#[cfg(test)]
mod tests;

/// A desired state with stand-ins in the place of its references.
pub(crate) struct StandIns<'a> {
    written: &'a Value,
    value: Cow<'a, Value>,
    /// Where references stand in `written`.
    open: Vec<String>,
    /// By stand-in: the reference as it was written.
    meant: BTreeMap<String, Value>,
}

impl<'a> StandIns<'a> {
    /// Puts stand-ins into `desired`, of which `references` are all references. The same text for the same reference,
    /// so that what has to be unique is seen to be.
    pub(crate) fn of(desired: &'a Value, references: &[Reference]) -> Self {
        if references.is_empty() {
            return Self {
                written: desired,
                value: Cow::Borrowed(desired),
                open: Vec::new(),
                meant: BTreeMap::new(),
            };
        }
        let all = desired.to_string();
        let mut unused = (0..).map(text).filter(|text| !all.contains(text));
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut meant = BTreeMap::new();
        let mut values = BTreeMap::new();
        for Reference { pointer, .. } in references {
            let Some(reference) = desired.pointer(pointer) else { continue };
            let stand_in = known
                .entry(reference.to_string())
                .or_insert_with(|| unused.next().unwrap_or_default())
                .clone();
            values.insert(pointer.clone(), Value::from(stand_in.as_str()));
            meant.insert(stand_in, reference.clone());
        }
        let value = Cow::Owned(resolve(desired, &values));
        Self { written: desired, value, open: values.into_keys().collect(), meant }
    }

    /// What schema and driver make of the desired state: normalised, with the references as they were written. What
    /// they say of a stand-in is not told. Where they choke on one, the desired state stays as it was written: it is
    /// checked again with the values.
    ///
    /// # Errors
    /// [`Error::UnknownKind`], [`Error::Invalid`] with every fault.
    pub(crate) fn checked(
        &self,
        kinds: &Kinds,
        driver: &dyn Driver,
        kind: &KindName,
    ) -> Result<Value, Error> {
        self.fits(kinds, kind, &[])?;
        self.normal(|value| driver.check(kind, value)).map_err(Error::Invalid)
    }

    /// Whether the kind's schema takes the desired state; `others` are pointers of which nothing is told.
    ///
    /// # Errors
    /// As for [`checked`](Self::checked).
    pub(crate) fn fits(
        &self,
        kinds: &Kinds,
        kind: &KindName,
        others: &[String],
    ) -> Result<(), Error> {
        let open: Vec<_> = self.open.iter().chain(others).cloned().collect();
        kinds.check(kind, &self.value, &open)
    }

    /// As [`checked`](Self::checked), without the schema: `check` is the driver's.
    pub(crate) fn normal(
        &self,
        check: impl FnOnce(&Value) -> Result<Value, Vec<FieldError>>,
    ) -> Result<Value, Vec<FieldError>> {
        match check(&self.value) {
            Ok(normal) => Ok(self.put_back(normal).unwrap_or_else(|| self.written.clone())),
            Err(mut faults) if !self.open.is_empty() => {
                faults.retain(|fault| !covers(&self.open, &fault.pointer));
                if faults.is_empty() { Ok(self.written.clone()) } else { Err(faults) }
            }
            Err(faults) => Err(faults),
        }
    }

    /// `normal` with the references again, wherever the driver moved them; `None` when it lost one.
    fn put_back(&self, mut normal: Value) -> Option<Value> {
        if self.meant.is_empty() {
            return Some(normal);
        }
        let mut found = BTreeSet::new();
        put_back(&mut normal, &self.meant, &mut found);
        (found.len() == self.meant.len()).then_some(normal)
    }
}

fn put_back<'m>(
    value: &mut Value,
    meant: &'m BTreeMap<String, Value>,
    found: &mut BTreeSet<&'m str>,
) {
    match value {
        Value::String(text) => {
            if let Some((stand_in, reference)) = meant.get_key_value(text.as_str()) {
                found.insert(stand_in);
                *value = reference.clone();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| put_back(item, meant, found)),
        Value::Object(members) => {
            members.values_mut().for_each(|member| put_back(member, meant, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A stand-in looks like an id, which is what most references stand for: short, and nothing that a driver would spell
/// otherwise.
fn text(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}
