//! The object is there: it goes, it is as desired, it has drifted, or it is to be changed.

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::command::ObservationReport;
use stateward_domain::entity::references;
use stateward_domain::entity::state::{
    AttemptStep, Difference, ManagementPolicy, Observed, OpenOperation,
};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::Generation;
use stateward_domain::json_pointer::{self, covers};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::{Driver, Object, Plan};

use super::action_builders::{self, asked, complete, fail, observation, observed_before, start};
use super::blocked::{in_use, unresolved};
use super::{Action, Requeue, Resolution, Resolved, RoundContext};
use crate::secrets::Secrets;

/// Whether the object is to be deleted for good.
pub(super) fn is_removed(entity: &Entity) -> bool {
    entity.deletion.is_some() && !entity.trouble.erred
}

pub(super) fn present(
    c: &RoundContext<'_>,
    object: &Object,
    resolution: &Resolution<'_>,
) -> Action {
    if is_removed(c.entity) {
        return match resolution {
            Resolution::Dependents(Some(failure)) => uncompared(c, object, in_use(c, failure)),
            _ => start(c, AttemptStep::Delete, Some(object.external_id.clone()), None),
        };
    }
    match resolution {
        Resolution::Ready(resolved) => compared(c, object, resolved),
        // The failure that made it erred stays the one that is shown.
        Resolution::Waiting(_) if c.entity.trouble.erred => {
            let observed = action_builders::unchanged(c, c.entity, object);
            let action = only_observed(c, observed, known_difference(c.entity), resolution);
            uncompared(c, object, action)
        }
        Resolution::Waiting(reference) => uncompared(c, object, unresolved(c, reference)),
        Resolution::None | Resolution::Dependents(_) => Action::Wait(Requeue::Now),
    }
}

/// Records what was observed of an object that was not compared, before `action`.
fn uncompared(c: &RoundContext<'_>, object: &Object, action: Action) -> Action {
    let observed = action_builders::unchanged(c, c.entity, object);
    observed_before(c, observed, known_difference(c.entity), action)
}

fn compared(c: &RoundContext<'_>, object: &Object, resolved: &Resolved<'_>) -> Action {
    let entity = c.entity;
    // A reference whose value changed is a change of the desired state, not drift.
    let outdated = entity.is_outdated(&resolved.references);
    let driver = &*c.settings.driver;
    let mut comparison = compare(driver, c.kind, entity, resolved, &object.attributes);
    let full = entity.manifest.settings.management_policy == ManagementPolicy::Full;
    let as_observed = comparison.plan == Plan::Noop;
    if full {
        comparison.also_write(c.kind, Secrets::unwritten(c.kind, entity));
    }
    if comparison.plan == Plan::Noop {
        return in_sync(c, object, resolved, comparison.diff);
    }
    let before = &entity.observed;
    let matched = if c.takes_over.is_none() { before.generation } else { Generation::default() };
    let observed = action_builders::present(c, object, matched, before.references.clone());
    let resolution = || Resolution::Ready(resolved.clone());
    if entity.trouble.erred {
        let diff = comparison.diff;
        let action = only_observed(c, observed.clone(), diff.clone(), &resolution());
        return observed_before(c, observed, diff, action);
    }
    let write_only_alone = as_observed && full;
    let wanted = entity.wants_sync() || outdated || write_only_alone;
    if !wanted && c.takes_over.is_none() {
        let report = observation(c, observed.clone(), comparison.diff.clone());
        let unchanged = if entity.corrects_drift() {
            correct(c, object, comparison)
        } else {
            only_observed(c, observed, comparison.diff, &resolution())
        };
        let unchanged = Box::new(unchanged);
        return Action::Observe { report, recorded: Requeue::Now, unchanged };
    }
    if entity.manifest.settings.management_policy == ManagementPolicy::ObserveOnly {
        return complete(c, observed, comparison.diff);
    }
    let action = correct(c, object, comparison);
    // A first try records its observation at its end; what waits, or is tried again, may never come to one.
    if c.may_change() && entity.error.is_none() {
        return action;
    }
    observed_before(c, observed, known_difference(entity), action)
}

/// It is as desired, but for `additions` of others: end what was asked for, then do what was asked besides.
fn in_sync(
    c: &RoundContext<'_>,
    object: &Object,
    resolved: &Resolved<'_>,
    additions: Vec<Difference>,
) -> Action {
    let entity = c.entity;
    let references = &resolved.references;
    let wanted = entity.wants_sync() || entity.error.is_some() || entity.is_outdated(references);
    let observed = action_builders::present(c, object, entity.generation, references.clone());
    let report =
        ObservationReport { in_sync: true, ..observation(c, observed.clone(), additions.clone()) };
    let action = if asked(c) || (!entity.trouble.erred && wanted) {
        complete(c, observed, additions)
    } else if let Some(action) = entity.next_action() {
        act(c, action, object.external_id.clone().into(), Ok(resolved))
    } else {
        let (recorded, unchanged) = (Requeue::OnChange, Box::new(Action::AWAIT_CHANGE));
        return Action::Observe { report, recorded, unchanged };
    };
    if entity.trouble.erred && c.takes_over.is_none() {
        return Action::Observe { report, recorded: Requeue::Now, unchanged: Box::new(action) };
    }
    action
}

/// Ends refreshes and retries; leaves the object as it is, also when it differs.
fn only_observed(
    c: &RoundContext<'_>,
    observed: Observed,
    diff: Vec<Difference>,
    resolution: &Resolution<'_>,
) -> Action {
    if asked(c) {
        return complete(c, observed, diff);
    }
    let Some(action) = c.entity.next_action() else { return Action::AWAIT_CHANGE };
    let resolved = match resolution {
        Resolution::Waiting(reference) => Err(reference),
        Resolution::Ready(resolved) => Ok(resolved),
        Resolution::None | Resolution::Dependents(_) => return Action::Wait(Requeue::Now),
    };
    act(c, action, observed.external_id, resolved)
}

fn act(
    c: &RoundContext<'_>,
    action: &OpenOperation,
    object: Option<stateward_domain::id::ExternalId>,
    resolved: Result<&Resolved<'_>, &super::UnresolvedReference>,
) -> Action {
    let spec = match resolved {
        Ok(resolved) => Some((resolved.desired.clone().into_owned(), Value::Null)),
        Err(reference) if c.may_change() && c.may_send => return unresolved(c, reference),
        Err(_) => None,
    };
    start(c, AttemptStep::Action { operation_id: action.id }, object, spec)
}

fn correct(c: &RoundContext<'_>, object: &Object, comparison: Comparison) -> Action {
    let id = Some(object.external_id.clone());
    match comparison.plan {
        Plan::Noop => Action::AWAIT_CHANGE,
        Plan::Update { fields } => {
            let spec = Some((comparison.spec, object.attributes.clone()));
            start(c, AttemptStep::Update { fields }, id, spec)
        }
        // The first half: the object's proved absence lets the next round make another.
        Plan::Replace { fields } => {
            if let Err(why) = c.entity.replaceable() {
                let message = format!("{} cannot change in place, and {why}", fields.join(", "));
                let class = ErrorClass::Immutable;
                return fail(c, &Failure::harmless(class, "replacement_needed", message), None);
            }
            // With its spec: an object that could not be made anew for want of a secret is not deleted.
            let spec = Some((comparison.spec, Value::Null));
            start(c, AttemptStep::Replace { fields }, id, spec)
        }
    }
}

/// The difference that was last recorded.
pub(super) fn known_difference(entity: &Entity) -> Vec<Difference> {
    entity.drift.as_ref().map(|drift| drift.diff.clone()).unwrap_or_default()
}

/// How an object compares with a desired state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    /// The desired state, with ignored fields as they were observed.
    pub(crate) spec: Value,
    /// What would make the object as desired.
    pub(crate) plan: Plan,
    /// The differing fields with both values; write-only ones never differ.
    pub(crate) diff: Vec<Difference>,
}

impl Comparison {
    /// Plans to write `fields`, which cannot be compared.
    fn also_write(&mut self, kind: &KindSpec, fields: Vec<String>) {
        if fields.is_empty() {
            return;
        }
        let immutable = fields.iter().any(|field| covers(&kind.immutable, field));
        self.plan = match std::mem::replace(&mut self.plan, Plan::Noop) {
            Plan::Noop if immutable => Plan::Replace { fields },
            Plan::Noop => Plan::Update { fields },
            Plan::Update { fields: compared } if immutable => {
                Plan::Replace { fields: [compared, fields].concat() }
            }
            Plan::Update { fields: compared } => {
                Plan::Update { fields: [compared, fields].concat() }
            }
            Plan::Replace { fields: compared } => {
                Plan::Replace { fields: [compared, fields].concat() }
            }
        };
    }
}

/// Compares, passing over the fields that the entity's settings ignore. What others added is a difference and no part of
/// the plan.
pub(crate) fn compare(
    driver: &dyn Driver,
    kind: &KindSpec,
    entity: &Entity,
    resolved: &Resolved<'_>,
    observed: &Value,
) -> Comparison {
    let mut spec = Value::clone(&resolved.desired);
    for pointer in &entity.manifest.settings.ignore_fields {
        ignore_field(&mut spec, observed, pointer);
    }
    let strict = driver.plan(&kind.name, observed, &spec);
    let before = earlier_values(entity, &resolved.attempted);
    let left = match strict {
        Plan::Noop => None,
        _ => driver.with_additions(&kind.name, observed, &spec, before.as_ref()),
    };
    let plan = match &left {
        Some(left) => driver.plan(&kind.name, observed, left),
        None => strict.clone(),
    };
    let value = |of: &Value, field: &str| of.pointer(field).cloned().unwrap_or(Value::Null);
    let diff = fields_of(&strict)
        .iter()
        .filter(|field| !covers(&kind.write_only, field))
        .map(|field| Difference {
            field: field.clone(),
            desired: value(&spec, field),
            observed: value(observed, field),
            addition: !fields_of(&plan).contains(field),
        })
        .collect();
    Comparison { spec: left.unwrap_or(spec), plan, diff }
}

fn fields_of(plan: &Plan) -> &[String] {
    match plan {
        Plan::Noop => &[],
        Plan::Update { fields } | Plan::Replace { fields } => fields,
    }
}

/// What the object may have been given before: the desired state that was last applied, together with those that were
/// attempted since. `None` = nothing was.
fn earlier_values(entity: &Entity, attempted: &[Value]) -> Option<Value> {
    let applied = applied_values(entity);
    let mut all = applied.iter().chain(attempted);
    let mut union = all.next()?.clone();
    all.for_each(|more| unite(&mut union, more));
    Some(union)
}

/// Adds members and entries that `more` has and `union` has not. An entry that both have stays as often as in the one
/// that has it more often.
pub(super) fn unite(union: &mut Value, more: &Value) {
    match (union, more) {
        (Value::Object(union), Value::Object(more)) => {
            for (name, value) in more {
                match union.get_mut(name) {
                    Some(known) => unite(known, value),
                    None => drop(union.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(union), Value::Array(more)) => {
            let mut known = union.clone();
            for entry in more {
                match known.iter().position(|known| known == entry) {
                    Some(index) => drop(known.swap_remove(index)),
                    None => union.push(entry.clone()),
                }
            }
        }
        // A list was given to it, whatever else stood in its place before.
        (union, Value::Array(_)) => union.clone_from(more),
        _ => {}
    }
}

/// The desired state that was last applied, with the values of its references; one whose value is not known any more stays
/// a reference. `None` = nothing was applied.
fn applied_values(entity: &Entity) -> Option<Value> {
    let applied = entity.applied.as_ref()?;
    if entity.observed.generation == applied.generation {
        return Some(references::resolve(&applied.desired, &entity.observed.references));
    }
    Some(applied.desired.clone())
}

/// Copies the observed value at `pointer` into `spec`, so that the two are equal there.
fn ignore_field(spec: &mut Value, observed: &Value, pointer: &str) {
    match (spec.pointer_mut(pointer), observed.pointer(pointer)) {
        (Some(place), Some(value)) => *place = value.clone(),
        (Some(_), None) => remove(spec, pointer),
        (None, _) => {}
    }
}

fn remove(spec: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    let key = json_pointer::unescape(key);
    if let Some(parent) = spec.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.remove(&key);
    }
}
