//! Immutable fields: a change is refused, unless the object may be replaced for it.

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::state::SettingsPatch;
use stateward_domain::field_error::FieldError;
use stateward_domain::kind::KindSpec;

use crate::error::AdmissionError;

/// The immutable fields in which `desired` differs from the present desired state; applying it replaces the object.
///
/// # Errors
/// [`AdmissionError::Immutable`] with each field that may not change and why. A field that is the object's identity
/// never changes: another identity is another entity.
pub(crate) fn changed_immutable_fields(
    kind: &KindSpec,
    entity: &Entity,
    desired: &Value,
    settings: &SettingsPatch,
    replace: bool,
) -> Result<Vec<String>, AdmissionError> {
    let before = &entity.manifest.desired;
    let differs = |pointer: &&String| before.pointer(pointer) != desired.pointer(pointer);
    let fields: Vec<String> = kind.immutable.iter().filter(differs).cloned().collect();
    let names_it = |pointer: &String| kind.identity_fields().any(|field| field == pointer);
    let permission = entity.manifest.settings.patched(settings).replaceable(replace);
    // No replacement is needed when no object exists, or when the object already has the desired value.
    let applied = entity.applied.as_ref().map(|applied| &applied.desired);
    let needless = |pointer: &String| {
        let as_applied = |applied: &Value| applied.pointer(pointer) == desired.pointer(pointer);
        !names_it(pointer) && (!entity.may_exist() || applied.is_some_and(as_applied))
    };
    let fields: Vec<String> = fields.into_iter().filter(|pointer| !needless(pointer)).collect();
    let refused = |pointer: &String| {
        let message = if names_it(pointer) {
            "names the object and cannot change: declare another entity".to_owned()
        } else {
            format!("cannot change in place, and {}", permission.err()?)
        };
        Some(FieldError { pointer: pointer.clone(), message })
    };
    let faults: Vec<FieldError> = fields.iter().filter_map(refused).collect();
    if faults.is_empty() { Ok(fields) } else { Err(AdmissionError::Immutable(faults)) }
}
