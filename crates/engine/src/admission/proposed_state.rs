//! A proposed desired state, and all checks that are possible when it is declared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stateward_domain::document::{self, Limits};
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::references::{self, Field, Reference};
use stateward_domain::entity::state::{Manifest, SettingsPatch};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::Namespace;
use stateward_domain::kind::KindSpec;

use crate::admission::compiled_schemas::Kinds;
use crate::admission::names;
use crate::admission::placeholders::Placeholders;
use crate::admission::schema_fields;
use crate::backends::Backend;
use crate::entity_repository::EntityRepository;
use crate::error::AdmissionError;
use crate::secrets::Secrets;

/// Entities that one entity may refer to, directly and through others: bounds the lookups of one declaration.
const REACHABLE_MAX: usize = 1_000;
/// Entities of a cycle that the message names, at most.
const CYCLE_NAMES_MAX: usize = 10;

/// Pointer to the dependencies in a request.
const DEPENDS_ON: &str = "/depends_on";

/// A desired state before admission, with its entity.
pub(crate) struct Proposed<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) namespace: &'a Namespace,
    pub(crate) entity: Target,
    pub(crate) desired: &'a Value,
    /// Entities that it depends on without a value.
    pub(crate) depends_on: &'a BTreeSet<Target>,
    /// What is declared at present; `None` = the entity is new.
    pub(crate) before: Option<&'a Manifest>,
}

impl<'a> Proposed<'a> {
    pub(crate) fn changed(
        manifest: &'a Manifest,
        backend: &'a Backend,
        desired: &'a Value,
        settings: &'a SettingsPatch,
    ) -> Self {
        let Manifest { namespace, kind, name, .. } = manifest;
        let depends_on = settings.depends_on.as_ref();
        Self {
            backend,
            namespace,
            entity: Target { kind: kind.clone(), name: name.clone() },
            desired,
            depends_on: depends_on.unwrap_or(&manifest.settings.depends_on),
            before: Some(manifest),
        }
    }
}

/// What proposed desired states are checked against.
pub(crate) struct Admission<'a> {
    pub(crate) kinds: &'a Kinds,
    pub(crate) secrets: &'a Secrets,
    pub(crate) entities: &'a EntityRepository,
}

impl Admission<'_> {
    /// Checks limits, secrets, references and schema, then the driver's own rules, then cycles through other entities;
    /// returns the normalised desired state.
    pub(crate) async fn admit(&self, proposed: &Proposed<'_>) -> Result<Value, AdmissionError> {
        let Proposed { backend, namespace, entity, desired, depends_on, before } = proposed;
        // An unchanged desired state was admitted earlier, perhaps under other limits, and no event repeats it.
        let changes = before.is_none_or(|before| before.desired != **desired);
        if changes {
            check_limits(desired, &Limits::DOCUMENT)?;
        }
        let spec = self.kinds.get(&entity.kind)?;
        let mut faults = self.secrets.faults(spec, namespace, desired);
        let references = self.checked_references(desired).unwrap_or_else(|more| {
            faults.extend(more);
            Vec::new()
        });
        let placeholders = Placeholders::of(desired, &references);
        // One fault per secret or reference is enough: the schema's faults at these pointers are dropped.
        let mut reported = spec.write_only.clone();
        reported.extend(faults.iter().map(|fault| fault.pointer.clone()));
        match placeholders.check_schema(self.kinds, &entity.kind, &reported) {
            Err(AdmissionError::Invalid(more)) => faults.extend(more),
            outcome => outcome?,
        }
        if !faults.is_empty() {
            return Err(AdmissionError::Invalid(faults));
        }
        let driver = &backend.settings.driver;
        let desired = placeholders
            .check_driver(|value| driver.check(&entity.kind, value))
            .map_err(AdmissionError::Invalid)?;
        if changes {
            // The driver's defaults count too.
            check_limits(&desired, &Limits::DOCUMENT)?;
        }
        let accepted = before.map(|before| &before.settings.depends_on);
        refuse_unknown_kinds(self.kinds, depends_on, accepted)?;
        self.refuse_cycle(namespace, entity, &references, depends_on).await?;
        Ok(desired)
    }

    /// Refuses new dependencies of unknown kinds, and those by which the entity of `manifest` would wait for itself.
    ///
    /// # Errors
    /// [`AdmissionError::BadDocument`], [`AdmissionError::Invalid`] where a reference closes the cycle,
    /// [`AdmissionError::Query`].
    pub(crate) async fn check_dependencies(
        &self,
        manifest: &Manifest,
        depends_on: &BTreeSet<Target>,
    ) -> Result<(), AdmissionError> {
        let references = references::declared(&manifest.desired);
        let accepted = Some(&manifest.settings.depends_on);
        refuse_unknown_kinds(self.kinds, depends_on, accepted)?;
        self.refuse_cycle(&manifest.namespace, &manifest.target(), &references, depends_on).await
    }

    /// The references in `desired`, each to an entity that could be declared.
    fn checked_references(&self, desired: &Value) -> Result<Vec<Reference>, Vec<FieldError>> {
        let found = references::references(desired)?;
        let fault = |Reference { pointer, target, field }: &Reference| {
            let kind = self.kinds.get(&target.kind);
            let message = if kind.is_err() {
                format!("there is no kind {}", target.kind)
            } else if kind.is_ok_and(|kind| !may_have(kind, field)) {
                format!("{} has no {field}", target.kind)
            } else if !names::is_name(target.name.as_str()) {
                "names no entity: letters, digits, . _ - and at most 253".to_owned()
            } else {
                return None;
            };
            Some(FieldError { pointer: pointer.clone(), message })
        };
        let faults: Vec<_> = found.iter().filter_map(fault).collect();
        if faults.is_empty() { Ok(found) } else { Err(faults) }
    }

    /// Refuses a desired state that would wait for itself. Two concurrent declarations can still close a cycle: then
    /// each entity is blocked, and its condition names the other.
    async fn refuse_cycle(
        &self,
        namespace: &Namespace,
        start: &Target,
        references: &[Reference],
        depends_on: &BTreeSet<Target>,
    ) -> Result<(), AdmissionError> {
        let mut targets = references::targets(references);
        targets.extend(depends_on.iter().cloned());
        let uses = self.reachable(namespace, start, targets.into_iter().collect()).await?;
        let answer = |of: &Target| uses.get(of).cloned().unwrap_or_default();
        let Some(cycle) = references::cycle(start, answer) else { return Ok(()) };
        let by = references.iter().find(|reference| cycle.get(1) == Some(&reference.target));
        let fault = |pointer| vec![FieldError { pointer, message: cycle_message(&cycle) }];
        Err(match by {
            Some(reference) => AdmissionError::Invalid(fault(reference.pointer.clone())),
            None => AdmissionError::BadDocument(fault(DEPENDS_ON.to_owned())),
        })
    }

    /// By entity: its targets, for `start`, which has `targets`, and all entities reachable from it.
    async fn reachable(
        &self,
        namespace: &Namespace,
        start: &Target,
        targets: Vec<Target>,
    ) -> Result<BTreeMap<Target, Vec<Target>>, AdmissionError> {
        let mut open = targets;
        let mut uses = BTreeMap::from([(start.clone(), open.clone())]);
        while let Some(next) = open.pop() {
            if uses.contains_key(&next) {
                continue;
            }
            if uses.len() > REACHABLE_MAX {
                let message =
                    format!("refers to more than {REACHABLE_MAX} entities, through others");
                return Err(AdmissionError::Invalid(vec![FieldError {
                    pointer: String::new(),
                    message,
                }]));
            }
            let entity = self.entities.by_name(namespace, &next).await?;
            let found = entity.map(|entity| entity.manifest.declared_targets());
            let found: Vec<_> = found.unwrap_or_default().into_iter().collect();
            open.extend(found.iter().cloned());
            uses.insert(next, found);
        }
        Ok(uses)
    }
}

/// Refuses dependencies of unknown kinds, other than the `accepted` ones, which the entity has already: a kind leaves
/// with its driver.
///
/// # Errors
/// [`AdmissionError::BadDocument`].
fn refuse_unknown_kinds(
    kinds: &Kinds,
    depends_on: &BTreeSet<Target>,
    accepted: Option<&BTreeSet<Target>>,
) -> Result<(), AdmissionError> {
    let is_new = |target: &&Target| !accepted.is_some_and(|accepted| accepted.contains(*target));
    let unknown = |target: &&Target| kinds.get(&target.kind).is_err();
    let Some(Target { kind, .. }) = depends_on.iter().filter(is_new).find(unknown) else {
        return Ok(());
    };
    let (pointer, message) = (DEPENDS_ON.to_owned(), format!("there is no kind {kind}"));
    Err(AdmissionError::BadDocument(vec![FieldError { pointer, message }]))
}

/// Whether an object of the kind may have the part that a reference takes. Attributes that the schema does not name are
/// computed by the backend, and unknown here.
fn may_have(kind: &KindSpec, field: &Field) -> bool {
    let (Field::Attribute(names), Some(pointer)) = (field, field.pointer()) else { return true };
    let declared = kind.schema.get("properties").and_then(|all| all.get(names[0].as_str()));
    declared.is_none() || schema_fields::allows(&kind.schema, &pointer)
}

/// Refuses a document that is larger than an event may hold, or that contains a marker of an omitted value, which a
/// caller sent back.
///
/// # Errors
/// [`AdmissionError::Invalid`].
pub(crate) fn check_limits(document: &Value, limits: &Limits) -> Result<(), AdmissionError> {
    let fault = match document::measure(document, limits) {
        Err(excess) => FieldError { pointer: String::new(), message: excess.to_string() },
        Ok(_) => match document::omitted(document) {
            None => return Ok(()),
            Some(pointer) => {
                let message = "says that something was left out: send the whole value".to_owned();
                FieldError { pointer, message }
            }
        },
    };
    Err(AdmissionError::Invalid(vec![fault]))
}

/// The message for a cycle; a long one is abbreviated in the middle.
pub(crate) fn cycle_message(cycle: &[Target]) -> String {
    let mut names: Vec<_> = cycle.iter().map(ToString::to_string).collect();
    if names.len() > CYCLE_NAMES_MAX {
        let left_out = names.len() - CYCLE_NAMES_MAX;
        names.splice(CYCLE_NAMES_MAX - 1..names.len() - 1, [format!("({left_out} more)")]);
    }
    format!("would wait for itself: {}", names.join(" -> "))
}

#[cfg(test)]
mod tests {
    use stateward_domain::id::{EntityName, KindName};

    use super::*;

    #[test]
    fn a_reference_takes_what_there_can_be() {
        let mut kind = crate::stub_driver::kind();
        let port =
            serde_json::json!({ "properties": { "port": {} }, "additionalProperties": false });
        kind.schema = serde_json::json!({
            "properties": { "networks": { "type": "array", "items": port } },
            "additionalProperties": false,
        });
        let field = |path: &str| Field::Attribute(path.split('.').map(str::to_owned).collect());
        for path in ["networks", "networks.0", "networks.0.port", "status", "addresses.lan.0"] {
            assert!(may_have(&kind, &field(path)), "{path}");
        }
        for path in ["networks.port", "networks.0.prt", "networks.first.port"] {
            assert!(!may_have(&kind, &field(path)), "{path}");
        }
        assert!(may_have(&kind, &Field::ExternalId));
    }

    #[test]
    fn a_dependency_on_a_kind_that_left_is_no_new_fault() {
        let kinds = Kinds::compile([crate::stub_driver::kind()]).expect("valid");
        let known = crate::stub_driver::kind().name;
        let on = |kinds: &[&KindName]| -> BTreeSet<Target> {
            let target = |kind: &&KindName| Target { kind: (*kind).clone(), name: "it".into() };
            kinds.iter().map(target).collect()
        };
        let left = KindName::from("left");
        let both = on(&[&known, &left]);
        assert!(refuse_unknown_kinds(&kinds, &both, None).is_err(), "a new entity");
        assert!(refuse_unknown_kinds(&kinds, &both, Some(&on(&[&known]))).is_err(), "a new one");
        for next in [&both, &on(&[&left]), &on(&[&known]), &on(&[])] {
            assert!(refuse_unknown_kinds(&kinds, next, Some(&on(&[&left]))).is_ok());
        }
    }

    #[test]
    fn a_cycle_is_named_from_end_to_end_and_a_long_one_in_short() {
        let cycle = |names: std::ops::Range<usize>| -> Vec<Target> {
            let named = |name: usize| EntityName::from(name.to_string().as_str());
            let of = |name| Target { kind: KindName::from("k"), name: named(name) };
            names.chain([0]).map(of).collect()
        };
        assert_eq!(cycle_message(&cycle(0..2)), "would wait for itself: k/0 -> k/1 -> k/0");
        assert_eq!(
            cycle_message(&cycle(0..12)),
            "would wait for itself: k/0 -> k/1 -> k/2 -> k/3 -> k/4 -> k/5 -> k/6 -> k/7 -> k/8 -> \
             (3 more) -> k/0"
        );
        assert!(!cycle_message(&cycle(0..9)).contains("more"), "it is named whole while it may be");
    }
}
