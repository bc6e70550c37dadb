//! Random histories of entities, and control events, appended to a log.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use stateward_domain::access::{AccessEvent, NamespaceSettings};
use stateward_domain::backend::BackendEvent;
use stateward_domain::entity::{Entity, EntityEvent, claims};
use stateward_domain::envelope::{DomainEvent, Envelope, Idempotency, NewEvent, StreamId};
use stateward_domain::id::{BackendName, EntityId, EntityName, EventId, Namespace};
use stateward_domain::ports::event_store::{Append, EventStore};
use stateward_domain::system::SystemEvent;
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use crate::lifecycle::Lifecycle;
use crate::moves;
use crate::support::ManualClock;

/// Appends histories to a log whose clock it advances.
pub(crate) struct HistoryWriter {
    clock: Arc<ManualClock>,
    next: u128,
}

/// Generates `count` random histories.
pub(crate) fn histories(seed: u8, count: usize, moves_max: usize) -> Vec<Vec<EntityEvent>> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut all = Vec::new();
    while all.len() < count {
        let drawn = vec(moves::any_move(), moves_max / 2..moves_max).new_tree(&mut runner).unwrap();
        let mut history = Lifecycle::default();
        for (turn, one) in drawn.current().iter().enumerate() {
            history.play(one, turn);
        }
        if !history.events.is_empty() {
            all.push(history.events);
        }
    }
    all
}

impl HistoryWriter {
    pub(crate) const fn new(clock: Arc<ManualClock>) -> Self {
        Self { clock, next: 1 }
    }

    /// The envelope of an append: every third one has an idempotency key.
    fn envelope(&self) -> Envelope {
        let envelope = Envelope::system("test", Namespace::from("default"));
        let key = || Idempotency {
            key: format!("key-{}", self.next),
            fingerprint: format!("print-{}", self.next),
        };
        let idempotency = self.next.is_multiple_of(3).then(key);
        Envelope { reason: Some("why — “because”".to_owned()), idempotency, ..envelope }
    }

    fn encode(&mut self, event: &impl DomainEvent, envelope: &Envelope) -> NewEvent {
        self.next += 1;
        // Spread over all hexadecimal digits.
        let id = self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        NewEvent::encode(EventId(Uuid::from_u128(id)), event, envelope).expect("small")
    }

    /// Appends the histories in turn, a few events at a time.
    pub(crate) async fn append_histories(
        &mut self,
        log: &dyn EventStore,
        histories: &[Vec<EntityEvent>],
    ) {
        let first = self.next;
        let mut states: Vec<_> = histories
            .iter()
            .enumerate()
            .map(|(place, history)| {
                let number = (first << 16) | (place as u128 + 1);
                (number, own(history, number), Entity::default())
            })
            .collect();
        let mut turn = 0;
        while states.iter().any(|(_, events, _)| !events.is_empty()) {
            for (number, events, entity) in &mut states {
                turn += 1;
                let rest = events.split_off((turn % 3 + 1).min(events.len()));
                let now = std::mem::replace(events, rest);
                if !now.is_empty() {
                    self.append(log, *number, entity, &now).await;
                }
            }
        }
    }

    async fn append(
        &mut self,
        log: &dyn EventStore,
        number: u128,
        entity: &mut Entity,
        events: &[EntityEvent],
    ) {
        let envelope = self.envelope();
        self.clock.advance(Duration::from_millis(4));
        let append = Append {
            stream: StreamId::entity(EntityId(Uuid::from_u128(number))),
            expected: entity.version,
            claims: claims::fold(entity.clone(), events, &envelope).1,
            events: events.iter().map(|event| self.encode(event, &envelope)).collect(),
        };
        log.append(append).await.unwrap();
        for event in events {
            entity.evolve(event);
        }
    }

    /// Some events of every control stream.
    pub(crate) async fn append_control_events(&mut self, log: &dyn EventStore) {
        let at = Timestamp(self.next.try_into().unwrap());
        let namespace = Namespace(format!("n{}", self.next));
        let settings = NamespaceSettings::default();
        self.control(
            log,
            StreamId::access(),
            &AccessEvent::NamespaceDeclared { at, namespace, settings },
        )
        .await;
        let backend = StreamId::backend(&BackendName::from("sandbox"));
        self.control(log, backend, &BackendEvent::Paused { at, until: None, reason: None }).await;
        self.control(log, StreamId::system(), &SystemEvent::Unfrozen { at }).await;
    }

    async fn control(&mut self, log: &dyn EventStore, stream: StreamId, event: &impl DomainEvent) {
        let expected = log.head_of(&stream).await.unwrap();
        let event = self.encode(event, &Envelope::default());
        let append = Append { stream, expected, events: vec![event], claims: Vec::new() };
        log.append(append).await.unwrap();
    }
}

/// The history as that of entity `number`, with its own name, identity and operations.
fn own(history: &[EntityEvent], number: u128) -> Vec<EntityEvent> {
    // Operations are numbered from 1 in each history; a store needs distinct ids.
    let named = |event: &EntityEvent| {
        let text = serde_json::to_string(event).unwrap();
        let text = text.replace("\"00000000-", &format!("\"{number:08x}-"));
        serde_json::from_str::<EntityEvent>(&text).unwrap()
    };
    let mut events: Vec<_> = history.iter().map(named).collect();
    for event in &mut events {
        if let EntityEvent::CreateRequested { entity_id, manifest, identity, .. } = event {
            *entity_id = EntityId(Uuid::from_u128(number));
            manifest.name = EntityName(format!("it-{number}"));
            // All histories use the same external ids, so each gets its own backend.
            manifest.backend = BackendName(format!("b-{number}"));
            *identity = identity.take().map(|path| format!("{path}-{number}"));
        }
    }
    events
}
