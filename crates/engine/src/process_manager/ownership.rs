//! Ownership of objects: an entity neither shows nor changes an object that another entity of this log manages.

use std::sync::Arc;

use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::command::Intent;
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{BlockedOn, OperationKind};
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{Attempt, EntityId, ExternalId, OwnerKey};
use stateward_domain::ports::driver::Object;

use crate::entity_repository::EntityRepository;
use crate::error::Error;
use crate::process_manager::Shared;
use crate::process_manager::report::open_of;
use crate::process_manager::round::{Round, StepResult};

/// Contenders read per page.
const PAGE: usize = 500;

impl Round<'_> {
    /// Whether another entity of this log manages `object`: the object carries that entity's owner key, or, if it does
    /// not carry this entity's key, that entity holds the claim on it. Keys of released or deleted entities, and of
    /// other installations, do not count.
    pub(crate) async fn belongs_to_another(
        &self,
        entity: &Entity,
        object: &Object,
    ) -> Result<bool, Error> {
        match object.owner_key.as_ref().and_then(OwnerKey::parse) {
            // This entity's key decides, also for other entities that claim the object.
            Some((owner, _)) if owner == entity.id => return Ok(false),
            Some((owner, _)) if is_alive(&self.shared.entities, owner).await? => return Ok(true),
            _ => {}
        }
        let id = &object.external_id;
        if entity.managed_object() == Some(id) {
            // This entity holds the claim, or the log would have refused its events.
            return Ok(false);
        }
        let own = StreamId::entity(entity.id);
        for key in [ClaimKey::object(entity, id), ClaimKey::object_as_identity(entity, id)] {
            let holder = self.shared.log.holder(&key).await?;
            if holder.is_some_and(|holder| holder.stream != own) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Blocks the entity until the other one releases the object; nothing that was observed of it is kept.
    pub(crate) async fn await_object(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        external_id: ExternalId,
    ) -> Result<StepResult, Error> {
        let requests = open_of(entity, &[OperationKind::Refresh, OperationKind::Retry]);
        let waits = |on: &BlockedOn| *on == BlockedOn::ObjectTaken;
        let reported = entity.blocked.as_ref().is_some_and(|blocked| waits(&blocked.on));
        let pause = self.backend.settings.retry.max;
        if reported && entity.error.is_some() && requests.is_empty() && takes_over.is_none() {
            return Ok(entity
                .work()
                .map_or(StepResult::AwaitChange, |_| StepResult::RequeueAfter(pause)));
        }
        let message = format!(
            "another entity manages {external_id}: name another object, or release this entity"
        );
        let class = ErrorClass::AlreadyExists { external_id };
        let failure = Failure::harmless(class, "object_taken", message);
        let next = Next::Blocked { on: BlockedOn::ObjectTaken, check_at: self.now().after(pause) };
        self.fail_with(entity, takes_over, &failure, next).await
    }

    /// Ends the contest when no other entity names the object any more.
    pub(crate) async fn close_contest(&self, entity: &Entity) -> Result<(), Error> {
        let contested = entity.contested.as_ref().filter(|contested| contested.holds);
        let Some(contested) = contested else { return Ok(()) };
        let key = ClaimKey::object(entity, &contested.external_id);
        let Some(prefix) = key.contenders() else { return Ok(()) };
        let page = self.shared.log.held_under(&prefix, &ClaimKey(prefix.clone()), PAGE).await?;
        // A longer id with the same prefix is another object's.
        let of_this = |key: &ClaimKey| key.0[prefix.len()..].parse::<EntityId>().is_ok();
        if page.len() < PAGE && !page.iter().any(|(key, _)| of_this(key)) {
            self.report(entity, &Intent::Contest { holds: None }).await?;
        }
        Ok(())
    }
}

/// Whether `id` is an entity of this log that is not deleted. An unreadable one counts as alive.
async fn is_alive(entities: &EntityRepository, id: EntityId) -> Result<bool, Error> {
    match entities.fresh(id).await {
        Ok(entity) => Ok(entity.exists() && !entity.is_deleted()),
        Err(Error::Unreadable(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Records contests between entities that name the same object, which an older version allowed. Their claims were
/// derived when the log was opened or imported; the events that follow from them are recorded here, once per entity.
pub(super) async fn record_contests(shared: &Shared) -> Result<(), Error> {
    let mut after = ClaimKey(ClaimKey::CONTENDER.to_owned());
    loop {
        let page = shared.log.held_under(ClaimKey::CONTENDER, &after, PAGE).await?;
        for (key, contender) in &page {
            if let Err(error) = record_contest(shared, contender).await {
                tracing::warn!(%key, %error, "the contest for an object was not recorded");
            }
        }
        match page.into_iter().next_back() {
            Some((last, _)) => after = last,
            None => return Ok(()),
        }
    }
}

async fn record_contest(shared: &Shared, contender: &StreamId) -> Result<(), Error> {
    let Some(id) = contender.entity_id() else { return Ok(()) };
    let entity = shared.entities.fresh(id).await?;
    let named = entity.managed_object().or_else(|| entity.contended_object());
    let Some(key) = named.map(|id| ClaimKey::object(&entity, id)) else { return Ok(()) };
    report_contest(shared, &entity, false).await?;
    let holder = shared.log.holder(&key).await?;
    if let Some(id) = holder.and_then(|holder| holder.stream.entity_id()).filter(|it| *it != id) {
        let holder = shared.entities.fresh(id).await?;
        report_contest(shared, &holder, true).await?;
    }
    Ok(())
}

async fn report_contest(shared: &Shared, entity: &Entity, holds: bool) -> Result<(), Error> {
    let envelope = Envelope::system("process-manager", entity.manifest.namespace.clone());
    shared.commands.report(entity.id, &envelope, &Intent::Contest { holds: Some(holds) }).await?;
    Ok(())
}
