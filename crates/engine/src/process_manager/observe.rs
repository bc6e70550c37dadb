//! Observing before changing: `observe` for a known object, `find` for one that may have been created without its id
//! being recorded.

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

/// Time between searches while the backend cannot prove absence yet.
const SETTLE_POLL: Duration = Duration::from_secs(1);

/// The result of an observation.
#[derive(Debug)]
pub(crate) enum ObserveOutcome {
    /// The object exists; `extra` are further objects with the same owner key.
    Present { object: Object, extra: Vec<ExternalId> },
    /// Its absence is proved.
    Absent,
    /// Neither presence nor absence is certain.
    Unknown { reason: String },
    /// Nothing was found, but an object that was just created might not be visible yet.
    Settling { left: Duration },
    /// An object that is not known to be ours has the identity.
    Taken { external_id: ExternalId },
}

impl Round<'_> {
    /// Observes the entity's object, or searches for it if its id is unknown.
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

    /// Observes the object with this id.
    ///
    /// Only a successful answer proves absence. A failure of any class proves nothing, not even `NotFound`: a gateway
    /// without a route, a replica that is behind and a policy that hides objects all answer "not found".
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
            // No creation was ever intended, so no object can be ours.
            return Ok(ObserveOutcome::Absent);
        }
        let desired = &entity.manifest.desired;
        let spec = match self.resolve_for_comparison(entity, desired).await {
            Ok(Ok(resolved)) => resolved.desired.into_owned(),
            // The owner key is enough to find it.
            Ok(Err(_)) if self.kind.owner_key => desired.clone(),
            // Without the values nothing can have been created.
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
            // Waiting for a proof is not a failed attempt.
            Err(failure) if failure.is_settling() => {
                return Ok(ObserveOutcome::Settling { left: SETTLE_POLL });
            }
            found => found?,
        };
        let lost_track = entity.observed.presence == Presence::Unknown;
        if found.is_empty() {
            // Measured in log and steady time: setting the wall clock forward proves nothing earlier.
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
        // Between the halves of a replacement our object is gone: an object with its identity is not ours.
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

/// The object with this id, as the target of a call.
pub(crate) fn object_ref(entity: &Entity, id: &ExternalId) -> ObjectRef {
    ObjectRef {
        kind: entity.manifest.kind.clone(),
        external_id: id.clone(),
        owner_key: entity.owner_key(),
    }
}

/// An object compared with a desired state.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// The desired state, with ignored fields as observed.
    pub(crate) spec: Value,
    /// The change that is needed.
    pub(crate) plan: Plan,
    /// Differing fields with both values; write-only fields are left out.
    pub(crate) diff: Vec<Difference>,
}

impl Comparison {
    /// Adds fields to the plan that cannot be compared because they are write-only.
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

/// Compares an object with a desired state, except for fields that the entity's settings ignore.
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

/// Sets `pointer` in `spec` to the observed value, so that the two do not differ there.
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
