//! From an intent to durable events: fold, decide, append; again when somebody was faster.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::entity::claims::{self, ClaimKey};
use stateward_domain::entity::command::Intent;
use stateward_domain::entity::operations::{self, OperationChange};
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::envelope::{Actor, Envelope, NewEvent, StreamId};
use stateward_domain::id::{EntityId, ExternalId, OperationId, Position};
use stateward_domain::ports::event_store::{Append, AppendError, EventStore, Holder};
use stateward_domain::time::Timestamp;

use crate::control::{append_surely, first, recorded};
use crate::entities::{Entities, decode};
use crate::error::Error;
use crate::sources::Sources;
use crate::waiters::Waiters;

/// What came of a command.
#[derive(Clone, Debug)]
pub struct Done {
    /// The entity with the command's events.
    pub entity: Arc<Entity>,
    /// Events that were appended; empty = nothing had to happen.
    pub events: Vec<EntityEvent>,
    /// Where the log stands with them.
    pub position: Position,
    /// The operation of the first reply, when this one repeats it.
    pub repeats: Option<Option<OperationId>>,
}

/// Decides and appends. Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    log: Arc<dyn EventStore>,
    entities: Entities,
    sources: Sources,
    waiters: Waiters,
}

impl Commands {
    /// Decisions made anew because somebody was faster, at most.
    const TRIES: u32 = 50;

    /// Appends to `log` what it decides on `entities`.
    #[must_use]
    pub fn new(
        log: Arc<dyn EventStore>,
        entities: Entities,
        sources: Sources,
        waiters: Waiters,
    ) -> Self {
        Self { log, entities, sources, waiters }
    }

    /// Carries out `intent` on entity `id`. After `Ok` its events are durable. A repeated request (same
    /// idempotency key and fingerprint) is answered with the state right after the first one.
    ///
    /// # Errors
    /// The refusal, a taken name or identity, a reused key; [`Error::Contended`] after many conflicts,
    /// [`Error::Unavailable`] when the log is.
    pub async fn execute(
        &self,
        id: EntityId,
        envelope: &Envelope,
        intent: &Intent,
    ) -> Result<Done, Error> {
        let mut entity = match intent {
            // Its id was made a moment ago: there is nothing to be read.
            Intent::Create { .. } => Arc::default(),
            _ => self.entities.recent(id).await?,
        };
        // Objects that a result names and another entity has.
        let mut taken = Vec::new();
        for _ in 0..Self::TRIES {
            // After the fold is known: whoever comes in between with the same key makes the append a conflict, and the
            // head another.
            if let Some(done) = self.repeated(envelope).await? {
                return Ok(done);
            }
            let at = self.now_for(&entity);
            let events = match entity.decide(at, intent) {
                Ok(events) if !events.is_empty() => contested(events, at, &taken),
                outcome => {
                    // A stale cache must not decide that nothing has to be done.
                    let head = self.log.head_of(&StreamId::entity(id)).await?;
                    if head != entity.version {
                        entity = self.entities.fresh(id).await?;
                        continue;
                    }
                    let position = self.log.head().await?;
                    return Ok(Done { events: outcome?, entity, position, repeats: None });
                }
            };
            match self.append(id, &entity, &events, envelope).await {
                Ok((entity, position)) => {
                    return Ok(Done { entity, events, position, repeats: None });
                }
                // Perhaps it was the same request, sent twice at once, that was faster.
                Err(AppendError::Conflict { .. }) => entity = self.entities.fresh(id).await?,
                Err(AppendError::ClaimTaken { key, .. }) if is_idempotency(&key) => {
                    return self.repeated(envelope).await?.ok_or(Error::Contended);
                }
                // What an attempt made or learnt is recorded, whoever else has the object.
                Err(AppendError::ClaimTaken { key, holder }) if is_result(intent) => {
                    match key.object_of(&entity).filter(|id| !taken.contains(id)) {
                        Some(id) => taken.push(id),
                        None => return Err(AppendError::ClaimTaken { key, holder }.into()),
                    }
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Contended)
    }

    /// Carries out a process manager's report: tried until it is in the log or the aggregate refuses it. A
    /// result is never dropped because the log is slow or the entity busy.
    ///
    /// # Errors
    /// [`Error::Refused`], a taken claim, [`Error::Unreadable`].
    pub async fn report(
        &self,
        id: EntityId,
        envelope: &Envelope,
        intent: &Intent,
    ) -> Result<Done, Error> {
        let mut wait = Duration::from_millis(5);
        loop {
            match self.execute(id, envelope, intent).await {
                Err(Error::Contended | Error::Unavailable(_)) => {
                    tokio::time::sleep(self.sources.jittered(wait)).await;
                    wait = (wait * 2).min(Duration::from_secs(2));
                }
                outcome => return outcome,
            }
        }
    }

    async fn append(
        &self,
        id: EntityId,
        entity: &Arc<Entity>,
        events: &[EntityEvent],
        envelope: &Envelope,
    ) -> Result<(Arc<Entity>, Position), AppendError> {
        let envelope = &without_unopened(envelope, events);
        let (after, claims) = claims::fold(Entity::clone(entity), events, envelope);
        let append = Append {
            stream: StreamId::entity(id),
            expected: entity.version,
            events: events
                .iter()
                .map(|event| NewEvent::encode(self.sources.event_id(), event, envelope))
                .collect(),
            claims,
        };
        let appended = append_surely(&*self.log, append).await?;
        let entity = Arc::new(after);
        // An append that was recognised as a repetition may lie behind the present head.
        if entity.version == appended.version {
            self.entities.keep(&entity);
        }
        self.waiters.changed(id);
        Ok((entity, appended.position))
    }

    /// Commands of one entity carry rising times. What is recorded at a time that is still to come would wait for it, so
    /// log time moves on to the entity's where that is later.
    fn now_for(&self, entity: &Entity) -> Timestamp {
        self.sources.clock.not_before(entity.updated_at)
    }

    async fn repeated(&self, envelope: &Envelope) -> Result<Option<Done>, Error> {
        let Some(holder) = first(&*self.log, envelope).await? else { return Ok(None) };
        self.first_reply(&holder).await.map(Some)
    }

    async fn first_reply(&self, holder: &Holder) -> Result<Done, Error> {
        let id = holder.stream.entity_id().ok_or(Error::NotFound)?;
        let entity = Arc::new(self.entities.at_version(id, holder.version).await?);
        let last = recorded(&*self.log, &holder.stream, holder.version).await?;
        Ok(Done {
            entity,
            events: vec![decode(&last)?],
            position: last.position,
            repeats: Some(last.envelope().operation),
        })
    }
}

/// A user's request that turned out to open no operation names none in its events.
fn without_unopened(envelope: &Envelope, events: &[EntityEvent]) -> Envelope {
    let mut envelope = envelope.clone();
    let opened = events.iter().flat_map(|event| operations::changes(event, false));
    let ids: Vec<_> = opened
        .filter_map(|change| match change {
            OperationChange::Opened { id, .. } => Some(id),
            _ => None,
        })
        .collect();
    let system = envelope.actor.kind == Actor::SYSTEM;
    envelope.operation = envelope.operation.filter(|id| system || ids.contains(id));
    envelope
}

/// Whether `intent` reports what an attempt did, which is never dropped. What a mere look saw can be seen again.
const fn is_result(intent: &Intent) -> bool {
    match intent {
        Intent::RecordExternalId { .. } => true,
        Intent::Complete(completion) => completion.attempt.is_some(),
        _ => false,
    }
}

/// `events`, after which the entity knows that another one has the objects `taken`.
fn contested(
    mut events: Vec<EntityEvent>,
    at: Timestamp,
    taken: &[ExternalId],
) -> Vec<EntityEvent> {
    events.extend(taken.iter().cloned().map(|external_id| EntityEvent::ObjectContested {
        at,
        external_id,
        holds: false,
    }));
    events
}

fn is_idempotency(key: &ClaimKey) -> bool {
    key.0.starts_with(ClaimKey::IDEMPOTENCY)
}
