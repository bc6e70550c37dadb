//! Secrets: write-only fields hold references (`{"$secret": NAME}`), whose values go from memory to the driver only. No
//! value is ever in an event, a read model, a log or an error.

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

/// The only member of a reference to a secret.
pub const REFERENCE: &str = "$secret";
/// Shorter values are not searched for in texts.
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
    /// Every form in which a value may appear in a text, longest first, so that replacing one form does not break
    /// another.
    forms: Vec<SecretString>,
}

impl Secrets {
    /// Replaces all secrets; true when any of them changed.
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

    /// `text` with every secret value replaced.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let known = self.known();
        let forms = known.forms.iter().map(ExposeSecret::expose_secret);
        forms.fold(text.to_owned(), |text, form| {
            if text.contains(form) { text.replace(form, SCRUBBED) } else { text }
        })
    }

    /// Whether `text` contains a secret value.
    pub(crate) fn holds(&self, text: &str) -> bool {
        self.known().forms.iter().any(|form| text.contains(form.expose_secret()))
    }

    /// `value` with every secret value in its texts and member names replaced.
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

    /// Faults in the use of secrets in a desired state: a write-only field without a reference to a secret of its
    /// namespace, or a reference in another field.
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
        // Most desired states have none.
        if references::mentions(desired, REFERENCE) {
            misplaced("", desired, &kind.write_only, &mut |pointer| {
                faults.push(fault(pointer, "only a write-only field takes a secret"));
            });
        }
        faults
    }

    /// Write-only fields that have to be written: those whose references changed since they were last applied, or all
    /// if the object's contents are uncertain. They are never observed, so there is no other way to know.
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

    /// `desired` with references replaced by secret values. The result must be given to the driver only.
    ///
    /// # Errors
    /// `secret_missing` with the name of a secret that is not configured, or not for this namespace.
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

/// The forms in which a value may appear in a text: as it is, JSON-escaped and Rust-escaped. None for short values,
/// which would match everywhere.
#[must_use]
pub fn forms(value: &str) -> BTreeSet<String> {
    if value.len() < SCRUBBED_BYTES_MIN {
        return BTreeSet::new();
    }
    let inside = |quoted: String| quoted.trim_matches('"').to_owned();
    [value.to_owned(), inside(Value::from(value).to_string()), inside(format!("{value:?}"))].into()
}

/// The secret's name in a reference; `None` when the value is no reference.
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

/// Reports every reference to a secret outside of the write-only fields.
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
