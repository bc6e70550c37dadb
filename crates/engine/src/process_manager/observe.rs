//! Looking before changing: `observe` what has a name, `find` what may have been made and never named.

use std::time::Duration;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::state::{Difference, Presence};
use stateward_domain::failure::Failure;
use stateward_domain::id::ExternalId;
use stateward_domain::json_pointer;
use stateward_domain::json_pointer::covers;
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::{Driver, Object, ObjectRef, Observation, Plan, Search};

use crate::process_manager::round::Round;

/// Between looks for an object while the backend proves nothing yet.
const SETTLE_POLL: Duration = Duration::from_secs(1);

/// What a look showed.
#[derive(Debug)]
pub(crate) enum ObserveOutcome {
    /// It is there; `extra` are further objects of the same owner key.
    Present { object: Object, extra: Vec<ExternalId> },
    /// It is certainly not there.
    Absent,
    /// Nothing is certain.
    Unknown { reason: String },
    /// None was found, but one that was made a moment ago might not show yet.
    Settling { left: Duration },
    /// Something that is not known to be ours has the identity.
    Taken { external_id: ExternalId },
}

impl Round<'_> {
    /// Looks for the entity's object.
    pub(crate) async fn observe(&self, entity: &Entity) -> Result<ObserveOutcome, Failure> {
        let confirmation = self.backend.availability.confirmation();
        let seen = match &entity.observed.external_id {
            Some(id) => self.observe_known(entity, id).await,
            None => self.find_created(entity).await,
        };
        if matches!(seen, Ok(ObserveOutcome::Present { .. } | ObserveOutcome::Absent)) {
            self.baseline.record(confirmation);
        }
        seen
    }

    /// Observes the object called `id`.
    ///
    /// Absence is what a successful answer says. A failure of any class, `NotFound` too, proves nothing: a gateway
    /// that has no route, a replica that is behind and a policy that hides objects all answer "not found".
    pub(crate) async fn observe_known(
        &self,
        entity: &Entity,
        id: &ExternalId,
    ) -> Result<ObserveOutcome, Failure> {
        let target = object_ref(entity, id);
        let context = self.call_context(entity.attempt, entity);
        let observation = self.call(self.driver().observe(&context, &target)).await;
        Ok(match observation {
            Ok(Observation::Present(object)) => {
                ObserveOutcome::Present { object, extra: Vec::new() }
            }
            Ok(Observation::Absent { .. }) => ObserveOutcome::Absent,
            Ok(Observation::Unknown { reason }) => ObserveOutcome::Unknown { reason },
            Err(failure) => return Err(failure),
        })
    }

    async fn find_created(&self, entity: &Entity) -> Result<ObserveOutcome, Failure> {
        let intended = entity.create_intended_at;
        let named = !self.kind.owner_key && self.kind.identity.is_some();
        if intended.is_none() && !named {
            // No create was ever intended, so there is nothing that could be ours.
            return Ok(ObserveOutcome::Absent);
        }
        let desired = &entity.manifest.desired;
        let spec = match self.resolve_for_comparison(entity, desired).await {
            Ok(Ok(resolved)) => resolved.desired.into_owned(),
            // The owner key alone finds it.
            Ok(Err(_)) if self.kind.owner_key => desired.clone(),
            // Nothing can have been made without the values.
            Ok(Err(_)) if intended.is_none() => return Ok(ObserveOutcome::Absent),
            Ok(Err(unresolved)) => return Err(unresolved.into()),
            Err(error) => return Ok(ObserveOutcome::Unknown { reason: error.to_string() }),
        };
        let search = Search {
            kind: entity.manifest.kind.clone(),
            owner_key: entity.owner_key(),
            spec,
            since: intended,
        };
        let context = self.call_context(entity.attempt, entity);
        let mut found = match self.call(self.driver().find(&context, &search)).await {
            // Waiting for a proof is no failed try.
            Err(failure) if failure.is_settling() => {
                return Ok(ObserveOutcome::Settling { left: SETTLE_POLL });
            }
            found => found?,
        };
        let lost_track = entity.observed.presence == Presence::Unknown;
        if found.is_empty() {
            // A wall clock that is set forward proves nothing sooner.
            let passed = intended.map(|at| self.shared.clock.log_clock.since(at));
            let left = self.kind.settle.saturating_sub(passed.unwrap_or(Duration::MAX));
            let settles = lost_track && !left.is_zero();
            return Ok(if settles {
                ObserveOutcome::Settling { left }
            } else {
                ObserveOutcome::Absent
            });
        }
        let object = found.remove(0);
        // Between the halves of a replacement ours is gone: whoever has its name now is somebody else's.
        let had = entity.applied.is_some() && !entity.is_between_halves();
        let ours = !named || (lost_track && intended.is_some()) || had;
        if ours {
            let extra = found.into_iter().map(|object| object.external_id).collect();
            Ok(ObserveOutcome::Present { object, extra })
        } else {
            Ok(ObserveOutcome::Taken { external_id: object.external_id })
        }
    }
}

/// The object called `id` as a target of calls.
pub(crate) fn object_ref(entity: &Entity, id: &ExternalId) -> ObjectRef {
    ObjectRef {
        kind: entity.manifest.kind.clone(),
        external_id: id.clone(),
        owner_key: entity.owner_key(),
    }
}

/// How an object compares with a desired state.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// The desired state with the fields that are to be ignored as they are.
    pub(crate) spec: Value,
    /// What is to be done.
    pub(crate) plan: Plan,
    /// The differing fields with both values; write-only ones never differ.
    pub(crate) diff: Vec<Difference>,
}

impl Comparison {
    /// Plans to write fields that cannot be compared.
    pub(crate) fn also_write(&mut self, kind: &KindSpec, unseen: Vec<String>) {
        if unseen.is_empty() {
            return;
        }
        let fixed = unseen.iter().any(|field| covers(&kind.immutable, field));
        self.plan = match std::mem::replace(&mut self.plan, Plan::Noop) {
            Plan::Noop if fixed => Plan::Replace { fields: unseen },
            Plan::Noop => Plan::Update { fields: unseen },
            Plan::Update { fields } if fixed => Plan::Replace { fields: [fields, unseen].concat() },
            Plan::Update { fields } => Plan::Update { fields: [fields, unseen].concat() },
            Plan::Replace { fields } => Plan::Replace { fields: [fields, unseen].concat() },
        };
    }
}

/// Compares, passing over the fields that the entity's settings ignore.
pub(crate) fn compare(
    driver: &dyn Driver,
    kind: &KindSpec,
    entity: &Entity,
    desired: &Value,
    observed: &Value,
) -> Comparison {
    let mut spec = desired.clone();
    for pointer in &entity.manifest.settings.ignore_fields {
        ignore_field(&mut spec, observed, pointer);
    }
    let plan = driver.plan(&kind.name, observed, &spec);
    let fields = match &plan {
        Plan::Noop => &[][..],
        Plan::Update { fields } | Plan::Replace { fields } => fields,
    };
    let value = |of: &Value, field: &str| of.pointer(field).cloned().unwrap_or(Value::Null);
    let diff = fields
        .iter()
        .filter(|field| !covers(&kind.write_only, field))
        .map(|field| Difference {
            field: field.clone(),
            desired: value(&spec, field),
            observed: value(observed, field),
        })
        .collect();
    Comparison { spec, plan, diff }
}

/// Puts what was observed at `pointer` into `spec`, so that the two are equal there.
fn ignore_field(spec: &mut Value, observed: &Value, pointer: &str) {
    match (spec.pointer_mut(pointer), observed.pointer(pointer)) {
        (Some(place), Some(seen)) => *place = seen.clone(),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ignored_fields_become_as_they_are_seen() {
        let mut spec = json!({"a": 1, "b": {"c": 2, "d": 3}});
        ignore_field(&mut spec, &json!({"b": {"c": 9}}), "/b/c");
        ignore_field(&mut spec, &json!({"b": {}}), "/b/d");
        ignore_field(&mut spec, &json!({"x": 1}), "/x");
        assert_eq!(spec, json!({"a": 1, "b": {"c": 9}}));
    }
}
