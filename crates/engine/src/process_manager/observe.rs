//! Observing before changing: by name what has one, by owner key or identity what may have been made and never named.

use std::time::Duration;

use stateward_domain::entity::Entity;
use stateward_domain::entity::command::Intent;
use stateward_domain::entity::state::{BlockedOn, OpenOperation, OperationKind, Presence};
use stateward_domain::failure::Failure;
use stateward_domain::id::{Attempt, ExternalId, OwnerKey};
use stateward_domain::ports::driver::{Object, Observation as Answer, Search};

use crate::error::CommandError;
use crate::process_manager::execute::object_ref;
use crate::process_manager::ownership;
use crate::process_manager::plan::{
    Observation, Requirement, Resolution, RoundContext, requirement, search_result,
};
use crate::process_manager::resolve::Resolver;
use crate::process_manager::round::Round;

/// Between searches for an object while the backend proves nothing yet.
const SETTLE_POLL: Duration = Duration::from_secs(1);

/// Bound on the pause between attempts to delete what something outside uses: reading may name what keeps nothing.
const ATTEMPT_AFTER: Duration = Duration::from_hours(1);

impl Round<'_> {
    /// Observes the entity's object, and records what that shows besides the object's state: that no other entity names
    /// it any more, and further objects with the entity's owner key.
    pub(super) async fn observe(&self, entity: &Entity) -> Result<Observation, CommandError> {
        let observation = self.observe_or_find(entity).await;
        if observation == Observation::Absent && entity.deletion.is_some() {
            return self.absent_for_deletion(entity).await;
        }
        if let Observation::Present { object, extra } = &observation {
            if ownership::belongs_to_another(self.shared, entity, object).await? {
                return Ok(Observation::Foreign { external_id: object.external_id.clone() });
            }
            if ownership::contest_is_over(self.shared, entity).await? {
                self.report(entity, &Intent::Contest { holds: None }).await?;
            }
            self.record_strays(entity, extra).await?;
            if entity.observed.presence == Presence::Present && self.baseline.counts() {
                let known = self.baseline.known();
                self.backend.mass_absence.record(self.moment().steady, false, known);
            }
        }
        Ok(observation)
    }

    /// Observes the entity's object by its external id, or searches for it.
    pub(super) async fn observe_or_find(&self, entity: &Entity) -> Observation {
        let confirmation = self.backend.availability.confirmation();
        let known = self.backend.availability.confirmed();
        let observation = match &entity.observed.external_id {
            Some(id) => match self.observe_object(entity, id).await {
                // An id that is known before the creation names nothing until its request was carried out.
                Observation::Absent => search_result::absent(entity, self.unsettled(entity)),
                other => other,
            },
            None => self.find(entity).await.unwrap_or_else(Observation::Failed),
        };
        if matches!(observation, Observation::Present { .. } | Observation::Absent) {
            self.baseline.record(confirmation, known);
        }
        observation
    }

    /// Observes the object called `id`.
    ///
    /// A successful answer alone proves absence. A failure of any class, `NotFound` too, proves nothing: a gateway
    /// without a route, a replica that lags and a policy that hides objects all answer "not found".
    pub(super) async fn observe_object(&self, entity: &Entity, id: &ExternalId) -> Observation {
        let target = object_ref(entity, Some(id));
        let context = self.call_context(entity);
        match self.call(self.backend.settings.driver.observe(&context, &target)).await {
            Ok(Answer::Present(object)) => Observation::Present { object, extra: Vec::new() },
            Ok(Answer::Absent { .. }) => Observation::Absent,
            Ok(Answer::Unknown { reason }) => Observation::Unknown { reason },
            // Waiting for a proof is no failed try.
            Err(failure) if failure.is_settling() => Observation::Settling { left: SETTLE_POLL },
            Err(failure) => Observation::Failed(failure),
        }
    }

    async fn find(&self, entity: &Entity) -> Result<Observation, Failure> {
        if !search_result::is_searchable(entity, self.kind) {
            return Ok(Observation::Absent);
        }
        let intended = entity.create_intended_at;
        let desired = &entity.manifest.desired;
        let spec = match self.resolver().for_comparison(entity, desired).await {
            Ok(Resolution::Ready(resolved)) => resolved.desired.into_owned(),
            // The owner key alone finds it.
            Ok(_) if self.kind.owner_key => desired.clone(),
            // Nothing can have been made without the values.
            Ok(_) if intended.is_none() => return Ok(Observation::Absent),
            Ok(Resolution::Waiting(reference)) => return Err(reference.failure),
            Ok(_) => desired.clone(),
            Err(error) => return Ok(Observation::Unknown { reason: error.to_string() }),
        };
        let search = Search {
            kind: entity.manifest.kind.clone(),
            owner_key: entity.owner_key(),
            spec,
            since: intended,
        };
        let context = self.call_context(entity);
        match self.call(self.backend.settings.driver.find(&context, &search)).await {
            // Waiting for a proof is no failed try.
            Err(failure) if failure.is_settling() => {
                Ok(Observation::Settling { left: SETTLE_POLL })
            }
            Err(failure) => Err(failure),
            Ok(objects) => {
                Ok(search_result::classify(entity, self.kind, objects, self.unsettled(entity)))
            }
        }
    }

    /// What the absence of the object shows while it is to be deleted. One whose creation the log lost becomes clean-up
    /// work before the deletion ends.
    async fn absent_for_deletion(&self, entity: &Entity) -> Result<Observation, CommandError> {
        let lost = self.lost_creation(entity).filter(|_| self.kind.owner_key);
        let Some(left) = lost else { return Ok(Observation::Absent) };
        let key = OwnerKey::new(entity.id, entity.next_incarnation());
        let found = match self.find_owned(entity, key).await {
            Ok(found) => found,
            Err(failure) => return Ok(Observation::Failed(failure)),
        };
        if found.is_empty() && left.is_zero() {
            return Ok(Observation::Absent);
        }
        let found: Vec<_> = found.into_iter().map(|object| object.external_id).collect();
        self.record_strays(entity, &found).await?;
        Ok(Observation::Settling { left: left.max(SETTLE_POLL) })
    }

    /// The objects that carry `owner_key`, whenever they were made.
    pub(super) async fn find_owned(
        &self,
        entity: &Entity,
        owner_key: OwnerKey,
    ) -> Result<Vec<Object>, Failure> {
        let (kind, spec) = (entity.manifest.kind.clone(), entity.manifest.desired.clone());
        let search = Search { kind, owner_key, spec, since: None };
        let context = self.call_context(entity);
        self.call(self.backend.settings.driver.find(&context, &search)).await
    }

    /// See [`search_result::lost_creation`].
    pub(super) fn lost_creation(&self, entity: &Entity) -> Option<Duration> {
        let call_timeout = self.backend.settings.call_timeout;
        let (log_clock, cut_at) = (&self.shared.clock.log_clock, self.shared.log_cut_at());
        search_result::lost_creation(entity, self.kind, call_timeout, cut_at, |at| {
            log_clock.since(at)
        })
    }

    /// How long a lost creation of `entity` may still run. By the steady clock: a wall clock that is set forward proves
    /// nothing sooner.
    fn unsettled(&self, entity: &Entity) -> Duration {
        let call_timeout = self.backend.settings.call_timeout;
        let log_clock = &self.shared.clock.log_clock;
        search_result::unsettled(entity, self.kind, call_timeout, |at| log_clock.since(at))
    }

    /// Further objects with the entity's owner key become clean-up work.
    pub(super) async fn record_strays(
        &self,
        entity: &Entity,
        extra: &[ExternalId],
    ) -> Result<(), CommandError> {
        for id in extra {
            let intent = Intent::RecordExternalId {
                // No attempt has this number, so it is never taken for the running one's object.
                attempt: Attempt(0),
                incarnation: entity.incarnation,
                external_id: id.clone(),
            };
            self.report(entity, &intent).await?;
        }
        Ok(())
    }

    /// Resolves what the planner requires to answer on `observation`.
    pub(super) async fn resolve<'e>(
        &self,
        c: &RoundContext<'e>,
        observation: &Observation,
    ) -> Result<Resolution<'e>, CommandError> {
        match requirement(c, observation) {
            Requirement::Nothing => Ok(Resolution::None),
            Requirement::DesiredState if *observation == Observation::Absent => {
                Ok(self.resolver().for_creation(c.entity).await?)
            }
            Requirement::DesiredState => Ok(self.resolver().for_use(c.entity).await?),
            Requirement::Dependents => {
                let dependents = self.resolver().in_use(c.entity).await?;
                let in_use = match dependents {
                    None => self.used_outside(c.entity).await,
                    dependents => dependents,
                };
                Ok(Resolution::Dependents(in_use))
            }
        }
    }

    /// What still uses the object outside of this log, where that kept it from being deleted before: without an
    /// attempt, so that nothing is appended while it stays the same. `None` = an attempt is due, also where reading
    /// taught nothing, a person asked for one, or the last one is [`ATTEMPT_AFTER`] ago.
    async fn used_outside(&self, entity: &Entity) -> Option<Failure> {
        let blocked = entity.blocked.as_ref();
        blocked.filter(|blocked| blocked.on == BlockedOn::InUseOutside)?;
        let (recorded, id) = (entity.error.as_ref()?, entity.observed.external_id.as_ref()?);
        let asked = |open: &OpenOperation| {
            matches!(open.kind, OperationKind::Refresh | OperationKind::Retry)
        };
        let is_old = blocked.is_some_and(|it| self.now().since(it.check_at) >= ATTEMPT_AFTER);
        if is_old || entity.operations.iter().any(asked) {
            return None;
        }
        let (context, target) = (self.call_context(entity), object_ref(entity, Some(id)));
        let driver = &self.backend.settings.driver;
        let failure = self.call(driver.obstacle(&context, &target)).await.ok().flatten()?;
        let same = failure.class == recorded.class && failure.message == recorded.message;
        // That of the attempt has the backend's request id, too.
        Some(if same { recorded.clone() } else { failure })
    }

    pub(super) fn resolver(&self) -> Resolver<'_> {
        Resolver { shared: self.shared, settings: &self.backend.settings }
    }
}
