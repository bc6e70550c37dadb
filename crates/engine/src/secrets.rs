//! Secrets: write-only fields hold references (`{"$secret": NAME}`), and their values go from memory to the driver.
//! No value is ever in an event, a read model, a log or an error.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::Namespace;
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::{FieldError, Outcome, covers};

/// The one member of a reference.
pub const REFERENCE: &str = "$secret";
/// Values shorter than this are not looked for in texts: they would be found everywhere.
const SCRUBBED_CHARS_MIN: usize = 4;
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
    known: RwLock<Arc<BTreeMap<String, Secret>>>,
}

impl Secrets {
    pub(crate) fn replace(&self, secrets: BTreeMap<String, Secret>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(secrets);
    }

    fn known(&self) -> Arc<BTreeMap<String, Secret>> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is wrong with the secrets of a desired state: a write-only field with anything but a reference to one that
    /// the namespace may use, or a reference anywhere else.
    #[must_use]
    pub fn faults(&self, kind: &KindSpec, scope: &Namespace, desired: &Value) -> Vec<FieldError> {
        let known = self.known();
        let fault = |pointer: &str, message: &str| FieldError {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
        };
        let mut faults = Vec::new();
        for pointer in &kind.write_only {
            let Some(value) = desired.pointer(pointer) else { continue };
            match reference(value) {
                None => faults.push(fault(pointer, "takes only {\"$secret\": NAME}")),
                Some(name) if usable(&known, name, scope).is_none() => {
                    faults.push(fault(pointer, "names no secret that this namespace may use"));
                }
                Some(_) => {}
            }
        }
        misplaced("", desired, &kind.write_only, &mut |pointer| {
            faults.push(fault(pointer, "only a write-only field takes a secret"));
        });
        faults
    }

    /// The write-only fields whose references are others than they were when they were last applied. Nothing else tells
    /// whether they have to be written, because they are never observed.
    pub(crate) fn rewritten(kind: &KindSpec, entity: &Entity) -> Vec<String> {
        let desired = &entity.manifest.desired;
        let applied = entity.applied.as_ref().map(|applied| &applied.desired);
        let before = |pointer: &str| applied.and_then(|applied| applied.pointer(pointer));
        let pointers = kind.write_only.iter().filter(|pointer| {
            let now = desired.pointer(pointer);
            now.is_some() && now != before(pointer)
        });
        pointers.cloned().collect()
    }

    /// `desired` with the values of its secrets in their places.
    ///
    /// # Errors
    /// `secret_missing` with the name of one that is not configured any more, or not for this namespace.
    pub(crate) fn resolve(
        &self,
        kind: &KindSpec,
        scope: &Namespace,
        desired: &Value,
    ) -> Result<Resolved, Failure> {
        let known = self.known();
        let mut resolved = Resolved { spec: desired.clone(), values: Vec::new() };
        for pointer in &kind.write_only {
            let Some(place) = resolved.spec.pointer_mut(pointer) else { continue };
            let name = reference(place).unwrap_or_default().to_owned();
            let Some(secret) = usable(&known, &name, scope) else {
                let message = format!("{pointer}: there is no secret {name:?} for this namespace");
                return Err(Failure::harmless(
                    ErrorClass::Misconfigured,
                    "secret_missing",
                    message,
                ));
            };
            *place = Value::from(secret.value.expose_secret());
            resolved.values.push(secret.value.clone());
        }
        Ok(resolved)
    }
}

/// A desired state as the driver gets it. Not `Debug`: it holds values.
pub(crate) struct Resolved {
    pub(crate) spec: Value,
    values: Vec<SecretString>,
}

impl Resolved {
    /// A desired state that the driver gets as it is.
    pub(crate) fn plain(spec: &Value) -> Self {
        Self { spec: spec.clone(), values: Vec::new() }
    }

    /// What came of a call, without any of the values, in case the backend repeated one.
    pub(crate) fn guard(&self, outcome: Result<Outcome, Failure>) -> Result<Outcome, Failure> {
        match outcome {
            Ok(Outcome::Pending { handle, .. }) if self.leaks_into(&handle) => {
                let message = "the driver put a secret into a handle";
                Err(Failure::doubtful(ErrorClass::Bug, "secret_in_handle", message))
            }
            outcome => outcome.map_err(|failure| self.scrub(failure)),
        }
    }

    fn scrub(&self, mut failure: Failure) -> Failure {
        for value in self.long() {
            failure.message = failure.message.replace(value, SCRUBBED);
            failure.code = failure.code.replace(value, SCRUBBED);
        }
        failure
    }

    /// Whether one of the values is in `value`, which is about to be recorded.
    fn leaks_into(&self, value: &Value) -> bool {
        let mut values = self.long().peekable();
        if values.peek().is_none() {
            return false;
        }
        let text = value.to_string();
        values.any(|value| text.contains(value))
    }

    fn long(&self) -> impl Iterator<Item = &str> {
        let values = self.values.iter().map(ExposeSecret::expose_secret);
        values.filter(|value| value.len() >= SCRUBBED_CHARS_MIN)
    }
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
fn misplaced(at: &str, value: &Value, allowed: &[String], tell: &mut dyn FnMut(&str)) {
    if covers(allowed, at) {
        return;
    }
    match value {
        Value::Object(members) if members.contains_key(REFERENCE) => tell(at),
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                misplaced(&format!("{at}/{name}"), value, allowed, tell);
            }
        }
        Value::Array(items) => {
            for (number, value) in items.iter().enumerate() {
                misplaced(&format!("{at}/{number}"), value, allowed, tell);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
