//! A log and two executors that follow it: one with a dependent cache, one whose cache is cleared before each batch.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use stateward_domain::entity::state::{
    AttemptStep, DeletionPolicy, DriftPolicy, Observed, Presence, Settings,
};
use stateward_domain::entity::{EntityEvent, claims};
use stateward_domain::envelope::{Envelope, NewEvent, StreamId};
use stateward_domain::id::{
    Attempt, BackendName, EntityName, EventId, ExternalId, Generation, KindName, Namespace,
    OperationId,
};
use stateward_domain::ports::event_store::{Append, EventStore};
use stateward_domain::ports::read_model::Views;
use stateward_domain::time::ManualClock;
use stateward_store::memory::MemoryLog;
use stateward_store::sqlite::Store;
use uuid::Uuid;

use super::super::*;

/// The first entities are only referred to; each of the others refers to two of those before it.
pub(super) const TARGETS: usize = 2;
pub(super) const ENTITIES: usize = 6;

/// A log and two executors that follow it.
pub(super) struct Fixture {
    pub(super) random: StdRng,
    pub(super) log: Arc<dyn EventStore>,
    pub(super) entities: EntityRepository,
    pub(super) cached: (Arc<Executor>, Arc<dyn SyncQueue>),
    pub(super) uncached: (Arc<Executor>, Arc<dyn SyncQueue>),
    _stores: [(Store, tempfile::TempDir); 2],
}

impl Fixture {
    pub(super) async fn new(seed: u64) -> Self {
        let open = async || {
            let folder = tempfile::tempdir().expect("a folder");
            let store = Store::open(folder.path(), ManualClock::new()).await.expect("a store");
            (store, folder)
        };
        let stores = [open().await, open().await];
        let log: Arc<dyn EventStore> = Arc::new(MemoryLog::new(ManualClock::new()));
        let views: Arc<dyn Views> = stores[0].0.entities.clone();
        let entities = EntityRepository::new(Arc::clone(&log), views);
        let executor = |queue: &Arc<dyn SyncQueue>| {
            Arc::new(Executor::new(Arc::clone(queue), entities.clone()))
        };
        let [first, second]: [Arc<dyn SyncQueue>; 2] =
            [stores[0].0.queue.clone(), stores[1].0.queue.clone()];
        let (cached, uncached) = (executor(&first), executor(&second));
        Self {
            random: StdRng::seed_from_u64(seed),
            log,
            entities,
            cached: (cached, first),
            uncached: (uncached, second),
            _stores: stores,
        }
    }

    /// A random desired state of `number`: references to the same targets, with random fields.
    fn desired(&mut self, number: usize) -> Value {
        if number < TARGETS {
            return json!({});
        }
        let mut reference = |of: usize| {
            let mut reference = json!({ "$ref": format!("fake.thing/e{of}") });
            if let Some(field) = [None, Some("size"), Some("age")][self.random.random_range(0..3)] {
                reference["field"] = json!(format!("observed.attributes.{field}"));
            }
            reference
        };
        json!({ "a": reference(number - TARGETS), "b": reference(number % TARGETS) })
    }

    /// A random observation of `entity`, out of few values, so that values come back.
    async fn observed(&mut self, entity: &Entity) -> Observed {
        let manifest = &entity.manifest;
        let values =
            self.entities.reference_values(&manifest.namespace, &manifest.desired, Purpose::Use);
        let mut values = values.await.expect("a log").unwrap_or_default();
        if self.random.random_ratio(1, 3) {
            for value in values.values_mut() {
                *value = json!("of yesterday");
            }
        }
        let [id, size, age] = [(); 3].map(|()| self.random.random_range(0..2));
        let gone = self.random.random_ratio(1, 8);
        Observed {
            presence: if gone { Presence::Absent } else { Presence::Present },
            external_id: Some(ExternalId::from(format!("id-{id}").as_str())),
            attributes: Some(json!({ "size": size, "age": age })),
            generation: entity.generation,
            references: values,
            unready: None,
            observed_at: Some(Timestamp(1)),
        }
    }

    pub(super) async fn random_event(&mut self, number: usize) {
        let id = id(number);
        let entity = self.entities.fresh(id).await.expect("readable");
        let at = Timestamp(i64::try_from(entity.version.0).expect("few") + 2);
        let operation_id = OperationId(Uuid::from_u128(at.0.unsigned_abs().into()));
        let generation = entity.generation;
        let attempt = entity.attempt;
        let (observed, desired) = (self.observed(&entity).await, self.desired(number));
        let started = EntityEvent::SyncStarted {
            at,
            attempt: Attempt(attempt.0 + 1),
            takes_over: None,
            generation,
            incarnation: entity.incarnation,
            step: AttemptStep::Create,
            was_present: true,
            operations: Vec::new(),
        };
        let ends = |attempt| EntityEvent::SyncCompleted {
            at,
            attempt,
            generation,
            step: AttemptStep::Create,
            observed: observed.clone(),
            operations: entity.operations.iter().map(|open| open.id).collect(),
        };
        let event = match self.random.random_range(0..11) {
            _ if !entity.exists() => created(number, desired),
            _ if entity.running.is_some() => ends(attempt),
            0..4 => started,
            4 | 5 => EntityEvent::ObservedChanged { at, observed, lost: None },
            6 => EntityEvent::DriftDetected {
                at,
                policy: DriftPolicy::Report,
                diff: Vec::new(),
                observed,
            },
            7 => EntityEvent::DriftCleared { at, observed },
            8 if entity.paused.is_some() => EntityEvent::Resumed { at },
            8 => EntityEvent::Paused { at },
            9 => EntityEvent::UpdateRequested {
                at,
                operation_id,
                schema_version: 1,
                desired,
                replace: false,
            },
            _ if entity.deletion.is_none() && self.random.random_ratio(1, 3) => {
                let policy = DeletionPolicy::Delete;
                EntityEvent::DeleteRequested { at, operation_id, policy }
            }
            _ => EntityEvent::RefreshRequested { at, operation_id },
        };
        self.append_event(number, event).await;
    }

    pub(super) async fn append_event(&mut self, number: usize, event: EntityEvent) {
        let id = id(number);
        let entity = self.entities.fresh(id).await.expect("readable");
        let envelope = Envelope::system("test", Namespace::from("n"));
        let events = [event];
        let (_, mut claims) = claims::fold(Entity::clone(&entity), &events, &envelope);
        // Observed ids are made up, and several entities have the same.
        claims.retain(|claim| !claim.key().is_on_object());
        let event_id = EventId(Uuid::from_u128(self.random.random()));
        let new = NewEvent::encode(event_id, &events[0], &envelope).expect("small");
        let stream = StreamId::entity(id);
        let append = Append { stream, expected: entity.version, events: vec![new], claims };
        self.log.append(append).await.expect("fits");
    }

    /// Delivers the same events to both executors; `None` = there were none.
    pub(super) async fn deliver(&mut self) -> Option<()> {
        let limit = self.random.random_range(1..6);
        self.deliver_up_to(limit).await
    }

    pub(super) async fn deliver_up_to(&mut self, limit: usize) -> Option<()> {
        let from = self.cached.0.checkpoint().await.expect("a queue");
        let events = self.log.read_log(from, limit).await.expect("a log").events;
        let to = events.last()?.position;
        *self.uncached.0.cache() = CacheAt::default();
        // So that both executors read the newest folds.
        for number in 0..ENTITIES {
            self.entities.fresh(id(number)).await.expect("readable");
        }
        for (executor, _) in [&self.cached, &self.uncached] {
            executor.apply(from, to, &events).await.expect("applies");
        }
        Some(())
    }
}

pub(super) fn id(number: usize) -> EntityId {
    EntityId(Uuid::from_u128(number as u128 + 1))
}

pub(super) fn created(number: usize, desired: Value) -> EntityEvent {
    EntityEvent::CreateRequested {
        at: Timestamp(2),
        operation_id: OperationId(Uuid::from_u128(2)),
        entity_id: id(number),
        schema_version: 1,
        identity: None,
        manifest: Box::new(Manifest {
            namespace: Namespace::from("n"),
            kind: KindName::from("fake.thing"),
            name: EntityName::from(format!("e{number}").as_str()),
            backend: BackendName::from("b"),
            desired,
            settings: Settings::default(),
            external_id: None,
        }),
    }
}

pub(super) fn completed(id: &str, size: u64, references: &Value) -> EntityEvent {
    let references = serde_json::from_value(references.clone()).expect("a map");
    EntityEvent::SyncCompleted {
        at: Timestamp(3),
        attempt: Attempt(0),
        generation: Generation(1),
        step: AttemptStep::None,
        observed: Observed {
            presence: Presence::Present,
            external_id: Some(ExternalId::from(id)),
            attributes: Some(json!({ "size": size })),
            generation: Generation(1),
            references,
            ..Observed::default()
        },
        operations: vec![OperationId(Uuid::from_u128(2))],
    }
}

impl Fixture {
    /// `e0`, and dependents that refer to its id (`true`) or its size; all in sync.
    pub(super) async fn with_dependents(dependents: impl IntoIterator<Item = bool>) -> Self {
        let mut fixture = Self::new(0).await;
        fixture.append_event(0, created(0, json!({}))).await;
        fixture.append_event(0, completed("id-1", 1, &json!({}))).await;
        for (number, by_id) in (1..).zip(dependents) {
            let mut reference = json!({ "$ref": "fake.thing/e0" });
            if !by_id {
                reference["field"] = json!("observed.attributes.size");
            }
            let value = if by_id { json!("id-1") } else { json!(1) };
            fixture.append_event(number, created(number, json!({ "a": reference }))).await;
            fixture.append_event(number, completed("id-1", 1, &json!({ "/a": value }))).await;
        }
        while fixture.deliver_up_to(500).await.is_some() {}
        fixture
    }

    pub(super) async fn is_due(&self, number: usize) -> bool {
        let row = self.cached.1.row(id(number)).await.expect("a queue");
        row.expect("it lives").due.is_some()
    }
}
