//! From an observation to the next step of the entity: its object is present, or it is absent.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use stateward_domain::document;
use stateward_domain::entity::command::Intent;
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{
    AttemptStep, Blocked, BlockedOn, Difference, ManagementPolicy, Observed, Presence,
};
use stateward_domain::entity::{Entity, references};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{Attempt, ExternalId, Generation};
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::{Object, Plan};
use stateward_domain::time::Timestamp;

use crate::admission::placeholders::Placeholders;
use crate::backends::bounded::{MESSAGE_CHARS_MAX, shortened};
use crate::error::Error;
use crate::process_manager::observe::{Comparison, compare};
use crate::process_manager::reference::already_waits_for;
use crate::process_manager::report::open_changes;
use crate::process_manager::round::{Round, StepResult};
use crate::secrets::Secrets;

impl Round<'_> {
    /// The object is present.
    pub(crate) async fn on_present(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        object: Object,
    ) -> Result<StepResult, Error> {
        if entity.observed.presence == Presence::Present && self.baseline.counts() {
            self.backend.mass_absence.record(self.moment().steady, false);
        }
        if entity.deletion.is_some() && !entity.trouble.erred {
            return self.delete_unless_in_use(entity, takes_over, &object).await;
        }
        let resolved = match self.resolve(entity).await? {
            Ok(resolved) => resolved,
            // An erred entity keeps the error that it erred with.
            Err(_) if entity.trouble.erred => {
                let observed = self.unchanged_observation(entity, &object);
                let diff = last_known_diff(entity);
                return self.leave_as_is(entity, takes_over, observed, diff).await;
            }
            Err(unresolved) => return self.await_reference(entity, takes_over, unresolved).await,
        };
        // Changed reference values are a new desired state, not drift.
        let outdated = entity.is_outdated(&resolved.references);
        let seen = &object.attributes;
        let mut comparison = compare(self.driver(), self.kind, entity, &resolved.desired, seen);
        let full = entity.manifest.settings.management_policy == ManagementPolicy::Full;
        let as_seen = comparison.plan == Plan::Noop;
        if full {
            comparison.also_write(self.kind, Secrets::unwritten(self.kind, entity));
        }
        if comparison.plan == Plan::Noop {
            return self.on_in_sync(entity, takes_over, &object, resolved.references).await;
        }
        let before = &entity.observed;
        let matched = if takes_over.is_none() { before.generation } else { Generation::default() };
        let observed = self.observed(&object, matched, before.references.clone());
        if entity.trouble.erred {
            return self.leave_as_is(entity, takes_over, observed, comparison.diff).await;
        }
        let unseen_alone = as_seen && full;
        let wanted = entity.wants_sync() || outdated || unseen_alone;
        if !wanted && takes_over.is_none() {
            return self.on_drift(entity, observed, comparison, &object).await;
        }
        if entity.manifest.settings.management_policy == ManagementPolicy::ObserveOnly {
            return self.complete(entity, takes_over, observed, comparison.diff).await;
        }
        self.apply_plan(entity, takes_over, comparison, &object).await
    }

    /// Deletes the object once no other entity uses it.
    async fn delete_unless_in_use(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        object: &Object,
    ) -> Result<StepResult, Error> {
        if let Some(failure) = self.in_use(entity).await? {
            if already_waits_for(entity, &failure) && takes_over.is_none() {
                return self.defer_change(entity, None).await;
            }
            return self.fail(entity, None, takes_over, &failure, None).await;
        }
        self.execute_step(entity, takes_over, AttemptStep::Delete, Some(&object.external_id), None)
            .await
    }

    /// The object is as desired: completes open changes, then runs the next action.
    async fn on_in_sync(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        object: &Object,
        references: BTreeMap<String, Value>,
    ) -> Result<StepResult, Error> {
        let wanted =
            entity.wants_sync() || entity.error.is_some() || entity.is_outdated(&references);
        let observed = self.observed(object, entity.generation, references);
        let asked = takes_over.is_some()
            || !open_changes(entity).is_empty()
            || (!entity.trouble.erred && wanted);
        if asked {
            return self.complete(entity, takes_over, observed, Vec::new()).await;
        }
        if let Some(action) = entity.next_action() {
            let step = AttemptStep::Action { operation_id: action.id };
            return self.execute_step(entity, None, step, Some(&object.external_id), None).await;
        }
        self.report_observation(entity, observed, Vec::new()).await?;
        Ok(StepResult::AwaitChange)
    }

    /// The object differs although no change was requested.
    async fn on_drift(
        &self,
        entity: &Arc<Entity>,
        observed: Observed,
        comparison: Comparison,
        object: &Object,
    ) -> Result<StepResult, Error> {
        if self.report_observation(entity, observed.clone(), comparison.diff.clone()).await? {
            return Ok(StepResult::Continue);
        }
        if entity.corrects_drift() {
            return self.apply_plan(entity, None, comparison, object).await;
        }
        self.leave_as_is(entity, None, observed, comparison.diff).await
    }

    /// Completes refreshes and retries without changing the object, even if it differs.
    async fn leave_as_is(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        observed: Observed,
        diff: Vec<Difference>,
    ) -> Result<StepResult, Error> {
        if takes_over.is_some() || !open_changes(entity).is_empty() {
            return self.complete(entity, takes_over, observed, diff).await;
        }
        match entity.next_action() {
            Some(action) => {
                let id = observed.external_id;
                let step = AttemptStep::Action { operation_id: action.id };
                self.execute_step(entity, None, step, id.as_ref(), None).await
            }
            None => Ok(StepResult::AwaitChange),
        }
    }

    async fn apply_plan(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        comparison: Comparison,
        object: &Object,
    ) -> Result<StepResult, Error> {
        let id = Some(&object.external_id);
        match comparison.plan {
            Plan::Update { ref fields } => {
                let step = AttemptStep::Update { fields: fields.clone() };
                self.execute_step(entity, takes_over, step, id, Some((&comparison.spec, object)))
                    .await
            }
            Plan::Replace { fields } => {
                self.start_replacement(entity, takes_over, fields, &comparison.spec, id).await
            }
            Plan::Noop => Ok(StepResult::AwaitChange),
        }
    }

    /// The first half of a replacement: deletes the object. Only after its absence is proved does a later round create
    /// the next one.
    async fn start_replacement(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        fields: Vec<String>,
        spec: &Value,
        id: Option<&ExternalId>,
    ) -> Result<StepResult, Error> {
        if let Err(why) = entity.replaceable() {
            let message = format!("{} cannot change in place, and {why}", fields.join(", "));
            let failure = Failure::harmless(ErrorClass::Immutable, "replacement_needed", message);
            return self.fail(entity, None, takes_over, &failure, None).await;
        }
        // An object that could not be created again is not deleted.
        if let Err(failure) = self.call_spec(entity, &AttemptStep::Create, spec) {
            return self.await_secret(entity, takes_over, &failure).await;
        }
        self.execute_step(entity, takes_over, AttemptStep::Replace { fields }, id, None).await
    }

    /// The object is absent.
    pub(crate) async fn on_absent(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
    ) -> Result<StepResult, Error> {
        if entity.deletion.is_some() {
            return self.complete(entity, takes_over, self.observed_absent(), Vec::new()).await;
        }
        if is_newly_lost(entity) {
            return self.on_lost(entity, takes_over).await;
        }
        let asked = takes_over.is_some() || !open_changes(entity).is_empty();
        if entity.trouble.erred || !entity.wants_sync() {
            if let Some(action) = entity.next_action().filter(|_| !asked) {
                let message = "there is no object to act on";
                let failure = Failure::harmless(ErrorClass::Invalid, "no_object", message);
                return self.fail(entity, None, None, &failure, Some(action.id)).await;
            }
            if asked {
                let seen = self.observed_absent();
                return self.complete(entity, takes_over, seen, Vec::new()).await;
            }
            return Ok(StepResult::AwaitChange);
        }
        if entity.lost.as_ref().is_some_and(|lost| lost.policy == OnLost::Ask) {
            return self.await_lost_decision(entity, takes_over).await;
        }
        self.plan_create(entity, takes_over).await
    }

    async fn plan_create(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
    ) -> Result<StepResult, Error> {
        let manifest = &entity.manifest;
        if entity.only_adopts() {
            let message = "the object to adopt is not there: adopt another, create or give up";
            let failure = Failure::harmless(ErrorClass::NotFound, "object_not_found", message);
            return self.await_decision(entity, takes_over, &failure).await;
        }
        if manifest.settings.management_policy == ManagementPolicy::ObserveOnly {
            let message = "there is no object to observe";
            let failure = Failure::harmless(ErrorClass::NotFound, "object_not_found", message);
            return self.fail(entity, None, takes_over, &failure, None).await;
        }
        self.execute_step(entity, takes_over, AttemptStep::Create, None, None).await
    }

    /// The object was present before and is absent now. Before that is recorded, the backend's identity has to be the
    /// known one, and not too many objects may be absent at once.
    async fn on_lost(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
    ) -> Result<StepResult, Error> {
        if takes_over.is_some() {
            let class = ErrorClass::NotFound;
            let failure = Failure::harmless(class, "object_lost", "the object is gone");
            return self.fail(entity, None, takes_over, &failure, None).await;
        }
        if self.baseline.counts()
            && let Some(cause) = self.backend.mass_absence.record(self.moment().steady, true)
        {
            self.shared.park(self.backend, cause).await?;
            return Ok(StepResult::RequeueAfter(self.backend.settings.breaker.probe_interval));
        }
        let _ = self.shared.identify(self.backend).await;
        if self.unavailable().is_some() {
            return Ok(StepResult::RequeueAfter(self.backend.settings.breaker.probe_interval));
        }
        self.report_observation(entity, self.observed_absent(), Vec::new()).await?;
        Ok(StepResult::Continue)
    }

    async fn await_lost_decision(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
    ) -> Result<StepResult, Error> {
        let asks = |blocked: &Blocked| blocked.on == BlockedOn::Decision;
        let asked = entity.blocked.as_ref().is_some_and(asks);
        if takes_over.is_none() && open_changes(entity).is_empty() && asked {
            return Ok(StepResult::AwaitChange);
        }
        let message = "the object is gone: decide whether to create, adopt or give up";
        let failure = Failure::harmless(ErrorClass::NotFound, "object_lost", message);
        self.await_decision(entity, takes_over, &failure).await
    }

    /// Blocks the entity until a person decides.
    async fn await_decision(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
        failure: &Failure,
    ) -> Result<StepResult, Error> {
        let next = Next::Blocked { on: BlockedOn::Decision, check_at: Timestamp::NEVER };
        self.fail_with(entity, takes_over, failure, next).await
    }

    /// Records further objects with the entity's owner key as strays, to be cleaned up.
    pub(crate) async fn record_strays(
        &self,
        entity: &Entity,
        extra: &[ExternalId],
    ) -> Result<(), Error> {
        for id in extra {
            let intent = Intent::RecordExternalId {
                // No attempt has number 0, so the object is never taken for the running attempt's.
                attempt: Attempt(0),
                incarnation: entity.incarnation,
                external_id: id.clone(),
            };
            self.report(entity, &intent).await?;
        }
        Ok(())
    }

    /// Blocks the entity if a newer schema of its kind rejects its desired state.
    pub(crate) async fn schema_changed(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
    ) -> Result<Option<StepResult>, Error> {
        let manifest = &entity.manifest;
        let found = references::declared(&manifest.desired);
        let placeholders = Placeholders::of(&manifest.desired, &found);
        let checked = placeholders.check(&self.shared.kinds, self.driver(), &manifest.kind);
        if checked.is_ok() || entity.deletion.is_some() {
            return Ok(None);
        }
        let message = "the kind's schema changed and does not accept the desired state any more";
        let failure = Failure::harmless(ErrorClass::Invalid, "schema_changed", message);
        let check_at = self.now().after(self.backend.settings.retry.max);
        let next = Next::Blocked { on: BlockedOn::Schema, check_at };
        self.fail_with(entity, takes_over, &failure, next).await.map(Some)
    }

    /// Blocks the entity if a part of its desired state was nested too deep to be read: the rest must not be applied. A
    /// new desired state, a deletion and a release are still carried out.
    pub(crate) async fn desired_too_deep(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
    ) -> Result<Option<StepResult>, Error> {
        if entity.deletion.is_some() {
            return Ok(None);
        }
        let Some(pointer) = document::omitted(&entity.manifest.desired) else { return Ok(None) };
        let message = format!(
            "the desired state is nested too deep to be read whole (at {pointer}): send a new one"
        );
        let message = shortened(message, MESSAGE_CHARS_MAX);
        let failure = Failure::harmless(ErrorClass::Invalid, "desired_state_too_deep", message);
        if already_waits_for(entity, &failure) && takes_over.is_none() {
            return self.defer_change(entity, None).await.map(Some);
        }
        let check_at = self.now().after(self.backend.settings.retry.max);
        let next = Next::Blocked { on: BlockedOn::Schema, check_at };
        self.fail_with(entity, takes_over, &failure, next).await.map(Some)
    }
}

/// The difference when it was last computed.
pub(crate) fn last_known_diff(entity: &Entity) -> Vec<Difference> {
    entity.drift.as_ref().map(|drift| drift.diff.clone()).unwrap_or_default()
}

/// Whether the object's absence is a loss: it was there before, and is not merely not created yet.
fn is_newly_lost(entity: &Entity) -> bool {
    if entity.lost.is_some() || entity.create_allowed || entity.replacing {
        return false;
    }
    match entity.observed.presence {
        Presence::Present => true,
        Presence::Unknown => entity.applied.is_some(),
        Presence::Absent => false,
    }
}
