//! Ownership of objects: an entity neither shows nor changes an object that another entity of this log manages.

use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::command::Intent;
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::id::{EntityId, OwnerKey};
use stateward_domain::ports::driver::Object;

use crate::entity_repository::EntityRepository;
use crate::error::{CommandError, QueryError};
use crate::process_manager::Shared;

/// Contenders read per page.
const PAGE: usize = 500;

/// Whether another entity of this log manages `object`: the object carries that entity's owner key, or, if it does
/// not carry this entity's key, that entity holds the claim on it. Keys of released or deleted entities, and of
/// other installations, do not count.
pub(super) async fn belongs_to_another(
    shared: &Shared,
    entity: &Entity,
    object: &Object,
) -> Result<bool, QueryError> {
    match object.owner_key.as_ref().and_then(OwnerKey::parse) {
        // This entity's key decides, also for other entities that claim the object.
        Some((owner, _)) if owner == entity.id => return Ok(false),
        Some((owner, _)) if is_alive(&shared.entities, owner).await? => return Ok(true),
        _ => {}
    }
    let id = &object.external_id;
    if entity.managed_object() == Some(id) {
        // This entity holds the claim, or the log would have refused its events.
        return Ok(false);
    }
    let own = StreamId::entity(entity.id);
    for key in [ClaimKey::object(entity, id), ClaimKey::object_as_identity(entity, id)] {
        let holder = shared.log.holder(&key).await?;
        if holder.is_some_and(|holder| holder.stream != own) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the entity holds a contested object that no other entity names any more.
pub(super) async fn contest_is_over(shared: &Shared, entity: &Entity) -> Result<bool, QueryError> {
    let contested = entity.contested.as_ref().filter(|contested| contested.holds);
    let Some(contested) = contested else { return Ok(false) };
    let key = ClaimKey::object(entity, &contested.external_id);
    let Some(prefix) = key.contenders() else { return Ok(false) };
    let page = shared.log.held_under(&prefix, &ClaimKey(prefix.clone()), PAGE).await?;
    // A longer id with the same prefix is another object's.
    let of_this = |key: &ClaimKey| key.0[prefix.len()..].parse::<EntityId>().is_ok();
    Ok(page.len() < PAGE && !page.iter().any(|(key, _)| of_this(key)))
}

/// Whether `id` is an entity of this log that is not deleted. An unreadable one counts as alive.
async fn is_alive(entities: &EntityRepository, id: EntityId) -> Result<bool, QueryError> {
    match entities.fresh(id).await {
        Ok(entity) => Ok(entity.exists() && !entity.is_deleted()),
        Err(QueryError::Unreadable(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Records contests between entities that name the same object, which an older version allowed. Their claims were
/// derived when the log was opened or imported; the events that follow from them are recorded here, once per entity.
pub(super) async fn record_contests(shared: &Shared) -> Result<(), QueryError> {
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

async fn record_contest(shared: &Shared, contender: &StreamId) -> Result<(), CommandError> {
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

async fn report_contest(shared: &Shared, entity: &Entity, holds: bool) -> Result<(), CommandError> {
    let envelope = Envelope::system("process-manager", entity.manifest.namespace.clone());
    shared.commands.report(entity.id, &envelope, &Intent::Contest { holds: Some(holds) }).await?;
    Ok(())
}
