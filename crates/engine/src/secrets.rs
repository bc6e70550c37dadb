//! Secrets: write-only fields hold references (`{"$secret": NAME}`), and their values go from memory to the driver.
//! No value is ever in an event, a read model, a log or an error.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use stateward_domain::entity::{Entity, references};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::Namespace;
use stateward_domain::json_pointer;
use stateward_domain::json_pointer::covers;
use stateward_domain::kind::KindSpec;

/// The one member of a reference.
pub const REFERENCE: &str = "$secret";
/// Values shorter than this are not looked for in texts.
const SCRUBBED_BYTES_MIN: usize = 8;
const SCRUBBED: &str = "[secret]";

/// A configured secret.
pub struct Secret {
    /// Its value.
    pub value: SecretString,
    /// Namespaces whose entities may refer to it; `None` = all.
    pub namespaces: Option<Vec<Namespace>>,
}

/// All secrets of this process.
#[derive(Default)]
pub struct Secrets {
    known: RwLock<Arc<SecretSet>>,
}

#[derive(Default)]
struct SecretSet {
    secrets: BTreeMap<String, Secret>,
    /// Every text that a value shows as, longest first, so that none hides a part of another.
    forms: Vec<SecretString>,
}

impl Secrets {
    /// Takes other secrets; whether any of them is another than before.
    pub(crate) fn replace(&self, secrets: BTreeMap<String, Secret>) -> bool {
        let mut forms: Vec<_> =
            secrets.values().flat_map(|secret| forms(secret.value.expose_secret())).collect();
        forms.sort_by_key(|form| Reverse(form.len()));
        let forms = forms.into_iter().map(SecretString::from).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let same = known.secrets.len() == secrets.len()
            && known.secrets.iter().zip(&secrets).all(|((a, before), (b, after))| {
                a == b
                    && before.namespaces == after.namespaces
                    && before.value.expose_secret() == after.value.expose_secret()
            });
        *known = Arc::new(SecretSet { secrets, forms });
        !same
    }

    fn known(&self) -> Arc<SecretSet> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// `text` without any value.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let known = self.known();
        let forms = known.forms.iter().map(ExposeSecret::expose_secret);
        forms.fold(text.to_owned(), |text, form| {
            if text.contains(form) { text.replace(form, SCRUBBED) } else { text }
        })
    }

    /// Whether a value is in `text`.
    pub(crate) fn holds(&self, text: &str) -> bool {
        self.known().forms.iter().any(|form| text.contains(form.expose_secret()))
    }

    /// `value` without any value in its texts.
    pub(crate) fn scrubbed(&self, value: Value) -> Value {
        if self.known().forms.is_empty() { value } else { self.walk(value) }
    }

    fn walk(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.scrub(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.walk(item)).collect(),
            Value::Object(members) => {
                let walk = |(name, value): (String, Value)| (self.scrub(&name), self.walk(value));
                Value::Object(members.into_iter().map(walk).collect())
            }
            plain => plain,
        }
    }

    /// What is wrong with the secrets of a desired state: a write-only field with anything but a reference to one that
    /// the namespace may use, or a reference anywhere else.
    #[must_use]
    pub fn faults(&self, kind: &KindSpec, scope: &Namespace, desired: &Value) -> Vec<FieldError> {
        let all = self.known();
        let known = &all.secrets;
        let fault = |pointer: &str, message: &str| FieldError {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
        };
        let mut faults = Vec::new();
        for pointer in &kind.write_only {
            let Some(value) = desired.pointer(pointer) else { continue };
            match reference(value) {
                None => faults.push(fault(pointer, "takes only {\"$secret\": NAME}")),
                Some(name) if usable(known, name, scope).is_none() => {
                    faults.push(fault(pointer, "names no secret that this namespace may use"));
                }
                Some(_) => {}
            }
        }
        // Nearly all have none.
        if references::mentions(desired, REFERENCE) {
            misplaced("", desired, &kind.write_only, &mut |pointer| {
                faults.push(fault(pointer, "only a write-only field takes a secret"));
            });
        }
        faults
    }

    /// The write-only fields that have to be written: those whose references are others than they were when they were
    /// last applied, or all when nobody knows what the object holds. They are never observed, so nothing else tells.
    pub(crate) fn unwritten(kind: &KindSpec, entity: &Entity) -> Vec<String> {
        let desired = &entity.manifest.desired;
        let applied = entity.applied.as_ref().map(|applied| &applied.desired);
        let before = |pointer: &str| applied.and_then(|applied| applied.pointer(pointer));
        let ignored = &entity.manifest.settings.ignore_fields;
        let pointers = kind.write_only.iter().filter(|pointer| {
            let now = desired.pointer(pointer);
            now.is_some()
                && (entity.write_only_dirty || now != before(pointer))
                && !covers(ignored, pointer)
        });
        pointers.cloned().collect()
    }

    /// `desired` with the values of its secrets in their places. Whoever gets it must give it to nobody but the driver.
    ///
    /// # Errors
    /// `secret_missing` with the name of one that is not configured any more, or not for this namespace.
    pub(crate) fn resolve(
        &self,
        kind: &KindSpec,
        scope: &Namespace,
        desired: &Value,
    ) -> Result<Value, Failure> {
        let all = self.known();
        let known = &all.secrets;
        let mut resolved = desired.clone();
        for pointer in &kind.write_only {
            let Some(place) = resolved.pointer_mut(pointer) else { continue };
            let name = reference(place).unwrap_or_default().to_owned();
            let Some(secret) = usable(known, &name, scope) else {
                let message = format!("{pointer}: there is no secret {name:?} for this namespace");
                return Err(Failure::harmless(
                    ErrorClass::Misconfigured,
                    "secret_missing",
                    message,
                ));
            };
            *place = Value::from(secret.value.expose_secret());
        }
        Ok(resolved)
    }
}

/// The texts that a value shows as: as it is, and as JSON and Rust write it. None for values so short that they would be
/// found everywhere.
#[must_use]
pub fn forms(value: &str) -> BTreeSet<String> {
    if value.len() < SCRUBBED_BYTES_MIN {
        return BTreeSet::new();
    }
    let inside = |quoted: String| quoted.trim_matches('"').to_owned();
    [value.to_owned(), inside(Value::from(value).to_string()), inside(format!("{value:?}"))].into()
}

/// The name in a reference; `None` when it is none.
fn reference(value: &Value) -> Option<&str> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.get(REFERENCE)?.as_str()
}

fn usable<'a>(
    known: &'a BTreeMap<String, Secret>,
    name: &str,
    scope: &Namespace,
) -> Option<&'a Secret> {
    let open = |secret: &&Secret| {
        secret.namespaces.as_ref().is_none_or(|namespaces| namespaces.contains(scope))
    };
    known.get(name).filter(open)
}

/// Tells of every object with the member of a reference that is in no write-only field.
fn misplaced(at: &str, value: &Value, allowed: &[String], report: &mut dyn FnMut(&str)) {
    if covers(allowed, at) {
        return;
    }
    match value {
        Value::Object(members) if members.contains_key(REFERENCE) => report(at),
        Value::Object(members) => {
            for (name, value) in members {
                let name = json_pointer::escape(name);
                misplaced(&format!("{at}/{name}"), value, allowed, report);
            }
        }
        Value::Array(items) => {
            for (number, value) in items.iter().enumerate() {
                misplaced(&format!("{at}/{number}"), value, allowed, report);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
