//! Commands: fold, decide, append; on a conflict, fold and decide again.

pub mod appender;
pub mod control_streams;
pub mod idempotency;

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::entity::claims::{self, ClaimKey};
use stateward_domain::entity::command::Intent;
use stateward_domain::entity::operation::{OperationChange, OperationRow};
use stateward_domain::entity::{Entity, EntityEvent, operation};
use stateward_domain::envelope::{Actor, Envelope, NewEvent, StreamId};
use stateward_domain::id::{EntityId, ExternalId, Position};
use stateward_domain::ports::event_store::{Append, AppendError, EventStore, Holder};
use stateward_domain::time::Timestamp;

use crate::clock::ClockAndIds;
use crate::commands::appender::Appender;
use crate::commands::control_streams::read_event;
use crate::commands::idempotency::first_request;
use crate::entity_repository::{EntityRepository, decode};
use crate::error::{CommandError, QueryError};
use crate::waiters::Waiters;

/// The result of a command.
#[derive(Clone, Debug)]
pub struct CommandOutcome {
    /// The entity after the command's events.
    pub entity: Arc<Entity>,
    /// Appended events; empty = no change was needed.
    pub events: Vec<EntityEvent>,
    /// Position of the log after them.
    pub position: Position,
    /// The operation that a user's request opened, or the open one that already serves it, as of right after the
    /// request; `None` when no operation is needed, and for commands of the control plane itself.
    pub operation: Option<OperationRow>,
}

/// Decides on commands and appends their events. Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    log: Arc<dyn EventStore>,
    appender: Appender,
    entities: EntityRepository,
    clock: ClockAndIds,
    waiters: Waiters,
}

impl Commands {
    /// Attempts per command: each conflict with a concurrent append costs one.
    const TRIES: u32 = 50;

    /// Appends to `log`, by `appender`, what it decides on `entities`.
    #[must_use]
    pub fn new(
        log: Arc<dyn EventStore>,
        appender: Appender,
        entities: EntityRepository,
        clock: ClockAndIds,
        waiters: Waiters,
    ) -> Self {
        Self { log, appender, entities, clock, waiters }
    }

    /// Carries out `intent` on entity `id`. After `Ok` its events are durable. A repeated request (same idempotency key
    /// and fingerprint) gets the state right after the first one.
    ///
    /// # Errors
    /// The refusal, a taken name or identity, a reused key; [`CommandError::Contended`] after too many conflicts,
    /// [`QueryError::Store`] when the log is unavailable.
    pub async fn execute(
        &self,
        id: EntityId,
        envelope: &Envelope,
        intent: &Intent,
    ) -> Result<CommandOutcome, CommandError> {
        let mut entity = match intent {
            // The id is new, so there is nothing to read.
            Intent::Create { .. } => Arc::default(),
            _ => self.entities.recent(id).await?,
        };
        // Objects that this result names and another entity manages.
        let mut contested = Vec::new();
        for _ in 0..Self::TRIES {
            // Checked after the fold was read: a concurrent request with the same key makes the append a conflict, or
            // the head differs.
            if let Some(first) = first_request(&*self.log, envelope).await? {
                return Ok(self.first_reply(&first).await?);
            }
            let at = self.now_for(&entity);
            let events = match entity.decide(at, intent) {
                Ok(events) if !events.is_empty() => with_contested(events, at, &contested),
                // A repetition has to find that this request was accepted, whatever happens in between.
                Ok(_) if envelope.idempotency.is_some() => {
                    vec![EntityEvent::RequestRecorded { at }]
                }
                outcome => {
                    // A stale cache must not decide that no change is needed.
                    let head = self.log.head_of(&StreamId::entity(id)).await?;
                    if head != entity.version {
                        entity = self.entities.fresh(id).await?;
                        continue;
                    }
                    let events = outcome?;
                    let position = self.log.head().await?;
                    let envelope = &with_operation(envelope, &entity, intent, &events);
                    let operation = self.operation(&entity, &events, envelope).await?;
                    return Ok(CommandOutcome { entity, events, position, operation });
                }
            };
            let envelope = &with_operation(envelope, &entity, intent, &events);
            match self.append(id, &entity, &events, envelope).await? {
                Ok((entity, position)) => {
                    let operation = self.operation(&entity, &events, envelope).await?;
                    return Ok(CommandOutcome { entity, events, position, operation });
                }
                // The conflicting append may be the same request, sent twice at once.
                Err(AppendError::Conflict { .. }) => entity = self.entities.fresh(id).await?,
                // The next iteration finds the first request.
                Err(AppendError::ClaimTaken { key, .. }) if is_idempotency(&key) => {}
                // The result of an attempt is always recorded, even if another entity has the object.
                Err(AppendError::ClaimTaken { key, holder }) if is_result(intent) => {
                    match key.object_of(&entity).filter(|id| !contested.contains(id)) {
                        Some(id) => contested.push(id),
                        None => return Err(AppendError::ClaimTaken { key, holder }.into()),
                    }
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(CommandError::Contended)
    }

    /// The reply to the first request with an idempotency key: the fold at the version that it led to.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] when the request was not about an entity, [`QueryError::Store`],
    /// [`QueryError::Unreadable`].
    pub async fn first_reply(&self, first: &Holder) -> Result<CommandOutcome, QueryError> {
        let id = first.stream.entity_id().ok_or(QueryError::NotFound)?;
        let last = read_event(&*self.log, &first.stream, first.version).await?;
        let operation = last.envelope().operation;
        let (entity, operation) = self.entities.operation_at(id, first.version, operation).await?;
        let events = vec![decode(&last)?];
        Ok(CommandOutcome { entity: Arc::new(entity), events, position: last.position, operation })
    }

    /// Records a process manager's report; retries until the log has it or the aggregate refuses it. A result is never
    /// dropped because the log is slow or the entity is contended.
    ///
    /// # Errors
    /// [`CommandError::Refused`], a taken claim, [`QueryError::Unreadable`].
    pub async fn report(
        &self,
        id: EntityId,
        envelope: &Envelope,
        intent: &Intent,
    ) -> Result<CommandOutcome, CommandError> {
        let mut wait = Duration::from_millis(5);
        loop {
            match self.execute(id, envelope, intent).await {
                Err(error) if error.is_temporary() => {
                    tokio::time::sleep(self.clock.jittered(wait)).await;
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
    ) -> Result<Result<(Arc<Entity>, Position), AppendError>, CommandError> {
        let (after, claims) = claims::fold(Entity::clone(entity), events, envelope);
        let append = Append {
            stream: StreamId::entity(id),
            expected: entity.version,
            events: events
                .iter()
                .map(|event| NewEvent::encode(self.clock.event_id(), event, envelope))
                .collect::<Result<_, _>>()?,
            claims,
        };
        let appended = match self.appender.append(append).await {
            Ok(appended) => appended,
            Err(error) => return Ok(Err(error)),
        };
        let entity = Arc::new(after);
        // An append that the log recognised as a repetition may lie behind the present head.
        if entity.version == appended.version {
            self.entities.remember(&entity);
        }
        self.waiters.changed(id, entity.version);
        Ok(Ok((entity, appended.position)))
    }

    /// The time of a command; times of one entity never go back. If the entity's last event is ahead of log time, log
    /// time moves on to it: work that is due at a future time would wait for it.
    fn now_for(&self, entity: &Entity) -> Timestamp {
        self.clock.log_clock.not_before(entity.updated_at)
    }

    /// The operation that `envelope` names, for the reply to a user.
    async fn operation(
        &self,
        entity: &Arc<Entity>,
        events: &[EntityEvent],
        envelope: &Envelope,
    ) -> Result<Option<OperationRow>, QueryError> {
        let Some(id) = envelope.operation.filter(|_| !is_system(envelope)) else { return Ok(None) };
        if !is_without_effect(events)
            && let Some(row) = operation::just_opened(entity, id, envelope)
        {
            return Ok(Some(row));
        }
        // Another request opened it, or it ended with the events that opened it.
        let (_, row) = self.entities.operation_at(entity.id, entity.version, Some(id)).await?;
        Ok(row)
    }
}

fn is_system(envelope: &Envelope) -> bool {
    envelope.actor.kind == Actor::SYSTEM
}

fn is_without_effect(events: &[EntityEvent]) -> bool {
    matches!(events, [] | [EntityEvent::RequestRecorded { .. }])
}

/// The envelope for `events` of a user's request: it names the operation that they open, or, if they have no effect,
/// the open one that already serves `intent`.
fn with_operation(
    envelope: &Envelope,
    before: &Entity,
    intent: &Intent,
    events: &[EntityEvent],
) -> Envelope {
    if is_system(envelope) {
        return envelope.clone();
    }
    let operation = if is_without_effect(events) {
        before.serving(intent)
    } else {
        let had_change = before.change().is_some();
        let mut changes = events.iter().flat_map(|event| operation::changes(event, had_change));
        envelope.operation.filter(|asked| {
            changes
                .any(|change| matches!(change, OperationChange::Opened { id, .. } if id == *asked))
        })
    };
    Envelope { operation, ..envelope.clone() }
}

/// Whether `intent` reports the result of an attempt, which is never dropped. A mere observation can be repeated.
const fn is_result(intent: &Intent) -> bool {
    match intent {
        Intent::RecordExternalId { .. } => true,
        Intent::Complete(completion) => completion.attempt.is_some(),
        _ => false,
    }
}

/// `events`, plus one for each object of `contested`, which another entity manages.
fn with_contested(
    mut events: Vec<EntityEvent>,
    at: Timestamp,
    contested: &[ExternalId],
) -> Vec<EntityEvent> {
    events.extend(contested.iter().cloned().map(|external_id| EntityEvent::ObjectContested {
        at,
        external_id,
        holds: false,
    }));
    events
}

fn is_idempotency(key: &ClaimKey) -> bool {
    key.0.starts_with(ClaimKey::IDEMPOTENCY)
}
