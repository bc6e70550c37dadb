//! Kinds with their compiled JSON Schemas. Validators are compiled once.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::Value;
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{ActionName, KindName};
use stateward_domain::json_pointer::covers;
use stateward_domain::kind::{ActionSpec, KindSpec};

use crate::backends::answer_limits::shortened;
use crate::error::AdmissionError;

/// A kind with its compiled validators.
struct CompiledKind {
    spec: KindSpec,
    desired: Validator,
    actions: BTreeMap<ActionName, Validator>,
}

/// All kinds that this process knows.
#[derive(Default)]
pub struct Kinds {
    kinds: BTreeMap<KindName, CompiledKind>,
}

/// A kind's schema is not valid: a bug of its driver.
#[derive(Debug, thiserror::Error)]
#[error("kind {kind}: the schema is not valid: {message}")]
pub struct InvalidSchema {
    kind: KindName,
    message: String,
}

impl Kinds {
    /// At most this many faults are reported for one document.
    const MAX_FAULTS: usize = 100;
    /// At most this many characters of a fault's pointer and of its message: both repeat names from the document.
    const FAULT_CHARS_MAX: usize = 1_000;

    /// Compiles the schemas of `specs`.
    ///
    /// # Errors
    /// The first schema that is not valid.
    pub fn compile(specs: impl IntoIterator<Item = KindSpec>) -> Result<Self, InvalidSchema> {
        let mut kinds = BTreeMap::new();
        for spec in specs {
            let bad = |message: String| InvalidSchema { kind: spec.name.clone(), message };
            let desired =
                jsonschema::validator_for(&spec.schema).map_err(|error| bad(error.to_string()))?;
            let mut actions = BTreeMap::new();
            for action in &spec.actions {
                let input = jsonschema::validator_for(&action.input)
                    .map_err(|error| bad(error.to_string()))?;
                actions.insert(action.name.clone(), input);
            }
            kinds.insert(spec.name.clone(), CompiledKind { spec, desired, actions });
        }
        Ok(Self { kinds })
    }

    /// The kind called `name`.
    ///
    /// # Errors
    /// [`AdmissionError::UnknownKind`].
    pub fn get(&self, name: &KindName) -> Result<&KindSpec, AdmissionError> {
        self.compiled(name).map(|kind| &kind.spec)
    }

    /// All kinds, by name.
    pub fn iter(&self) -> impl Iterator<Item = &KindSpec> {
        self.kinds.values().map(|kind| &kind.spec)
    }

    /// Checks a desired state against the kind's schema. Faults at or below one of the pointers `open` are ignored:
    /// those values are checked elsewhere, or not known yet.
    ///
    /// # Errors
    /// [`AdmissionError::UnknownKind`], [`AdmissionError::Invalid`] with every fault.
    pub fn check(
        &self,
        name: &KindName,
        desired: &Value,
        open: &[String],
    ) -> Result<(), AdmissionError> {
        faults(&self.compiled(name)?.desired, desired, open)
    }

    /// The kind's action called `action`, after its input was checked.
    ///
    /// # Errors
    /// [`AdmissionError::UnknownKind`], [`AdmissionError::UnknownAction`], [`AdmissionError::Invalid`].
    pub fn check_action(
        &self,
        name: &KindName,
        action: &ActionName,
        input: &Value,
    ) -> Result<&ActionSpec, AdmissionError> {
        let kind = self.compiled(name)?;
        let unknown = || AdmissionError::UnknownAction {
            kind: name.clone(),
            action: action.clone(),
            has: kind.spec.actions.iter().map(|action| action.name.clone()).collect(),
        };
        let spec = kind.spec.action(action).ok_or_else(unknown)?;
        faults(kind.actions.get(action).ok_or_else(unknown)?, input, &[])?;
        Ok(spec)
    }

    fn compiled(&self, name: &KindName) -> Result<&CompiledKind, AdmissionError> {
        self.kinds.get(name).ok_or_else(|| AdmissionError::UnknownKind(name.clone()))
    }
}

fn faults(validator: &Validator, value: &Value, open: &[String]) -> Result<(), AdmissionError> {
    let faults: Vec<_> = validator
        .iter_errors(value)
        .map(|error| (error.instance_path().to_string(), error))
        // Filter before counting: ignored faults must not crowd out reported ones.
        .filter(|(pointer, _)| !covers(open, pointer))
        .take(Kinds::MAX_FAULTS)
        .map(|(pointer, error)| FieldError {
            pointer: shortened(pointer, Kinds::FAULT_CHARS_MAX),
            message: shortened(error.masked().to_string(), Kinds::FAULT_CHARS_MAX),
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(AdmissionError::Invalid(faults)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_that_there_is_not_is_answered_with_those_there_are() {
        let mut spec = crate::stub_driver::kind();
        assert!(spec.actions.len() > 1);
        let message_for = |spec: &KindSpec| {
            let kinds = Kinds::compile([spec.clone()]).expect("valid");
            let asked = kinds.check_action(&spec.name, &ActionName::from("juggle"), &Value::Null);
            asked.expect_err("no such action").to_string()
        };
        let message = message_for(&spec);
        assert!(message.starts_with(&format!("{} has no action juggle: ", spec.name)), "{message}");
        for action in &spec.actions {
            assert!(message.contains(action.name.as_str()), "{message}");
        }
        spec.actions.clear();
        assert!(message_for(&spec).ends_with("it has none of its own"));
    }
}
