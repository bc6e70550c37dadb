//! A small network: addresses lead to ports through routers and subnets that no address and no port refers to.

use serde_json::{Value, json};
use stateward_domain::entity::claims;
use stateward_domain::entity::event::{EntityEvent, Next};
use stateward_domain::entity::state::{
    AttemptStep, DeletionPolicy, Manifest, Observed, Presence, Settings,
};
use stateward_domain::envelope::{Envelope, NewEvent, StreamId};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{
    Attempt, BackendName, EntityId, EventId, ExternalId, Generation, KindName, Namespace,
    OperationId, Position,
};
use stateward_domain::ports::event_store::{Append, EventStore};
use stateward_domain::ports::sync_queue::QueueChange;
use stateward_domain::time::{ManualClock, Timestamp};
use stateward_store::memory::{MemoryLog, MemoryQueue};
use stateward_store::sqlite::Store;
use uuid::Uuid;

use super::*;
use crate::stub_driver;

struct Fixture {
    log: Arc<dyn EventStore>,
    queue: MemoryQueue,
    entities: EntityRepository,
    _store: (Store, tempfile::TempDir),
}

fn kinds() -> Vec<KindSpec> {
    let to = |noun: &str| RelationStep::To(KindName::from(noun));
    let from = |noun: &str| RelationStep::From(KindName::from(noun));
    let address = vec![to("port"), to("net"), from("subnet"), from("router")];
    let kind = |name: &str, implicit| KindSpec {
        name: KindName::from(name),
        implicit,
        ..stub_driver::kind()
    };
    vec![
        kind("port", vec![vec![to("net"), from("subnet")]]),
        kind("address", vec![address]),
        kind("router", Vec::new()),
    ]
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), ManualClock::new()).await.expect("a store");
        let log: Arc<dyn EventStore> = Arc::new(MemoryLog::new(ManualClock::new()));
        let entities = EntityRepository::new(Arc::clone(&log), store.entities.clone());
        let queue = MemoryQueue::new(ManualClock::new());
        Self { log, queue, entities, _store: (store, folder) }
    }

    /// A network with a subnet, a router into it, a port, and an address that leads to the port.
    async fn network() -> Self {
        let mut fixture = Self::new().await;
        fixture.declare(1, "net", json!({})).await;
        fixture.declare(2, "subnet", json!({"net": {"$ref": "net/it"}})).await;
        fixture.declare(3, "router", json!({"subnets": [{"$ref": "subnet/it"}]})).await;
        fixture.declare(4, "port", json!({"net": {"$ref": "net/it"}})).await;
        fixture.declare(5, "address", json!({"port": {"$ref": "port/it"}})).await;
        fixture
    }

    async fn declare(&mut self, number: u128, kind: &str, desired: Value) {
        self.declare_named(number, kind, "it", desired).await;
    }

    async fn declare_named(&mut self, number: u128, kind: &str, name: &str, desired: Value) {
        let manifest = Manifest {
            namespace: Namespace::from("n"),
            kind: KindName::from(kind),
            name: name.into(),
            backend: BackendName::from("b"),
            desired,
            settings: Settings::default(),
            external_id: None,
        };
        self.append(
            number,
            EntityEvent::CreateRequested {
                at: Timestamp(2),
                operation_id: OperationId(Uuid::from_u128(number)),
                entity_id: id(number),
                schema_version: 1,
                identity: None,
                manifest: Box::new(manifest),
            },
        )
        .await;
    }

    async fn append(&mut self, number: u128, event: EntityEvent) {
        let entity = self.entities.fresh(id(number)).await.expect("readable");
        let envelope = Envelope::system("test", Namespace::from("n"));
        let (_, claims) =
            claims::fold(Entity::clone(&entity), std::slice::from_ref(&event), &envelope);
        let event_id = EventId(Uuid::from_u128(number * 100 + u128::from(entity.version.0)));
        let events = vec![NewEvent::encode(event_id, &event, &envelope).expect("small")];
        let (stream, expected) = (StreamId::entity(id(number)), entity.version);
        self.log.append(Append { stream, expected, events, claims }).await.expect("fits");
        let entity = self.entity(number).await;
        let row = entity.queue_row(entity.work(), Position::START).expect("it is tracked");
        let put = [QueueChange::Put(row)];
        self.queue.advance(Position::START, Position::START, &put).await.expect("a queue");
    }

    async fn entity(&self, number: u128) -> Arc<Entity> {
        self.entities.fresh(id(number)).await.expect("readable")
    }

    async fn made(&mut self, number: u128) {
        self.made_with(number, json!({})).await;
    }

    async fn made_with(&mut self, number: u128, attributes: Value) {
        let observed = Observed {
            presence: Presence::Present,
            attributes: Some(attributes),
            external_id: Some(ExternalId(number.to_string())),
            generation: Generation(1),
            ..Observed::default()
        };
        let step = AttemptStep::None;
        let operations = vec![OperationId(Uuid::from_u128(number))];
        let (at, attempt, generation) = (Timestamp(3), Attempt(1), Generation(1));
        let event =
            EntityEvent::SyncCompleted { at, attempt, generation, step, observed, operations };
        self.append(number, event).await;
    }

    async fn failed(&mut self, number: u128, next: Next) {
        let (at, attempt, generation) = (Timestamp(3), Attempt(1), Generation(1));
        let error = Failure::harmless(ErrorClass::Invalid, "on_purpose", "on purpose");
        let (remaining, operations) = (Vec::new(), Vec::new());
        self.append(
            number,
            EntityEvent::SyncFailed { at, attempt, generation, error, next, remaining, operations },
        )
        .await;
    }

    async fn leaving(&mut self, number: u128) {
        let operation_id = OperationId(Uuid::from_u128(number * 10));
        let (at, policy) = (Timestamp(4), DeletionPolicy::Delete);
        self.append(number, EntityEvent::DeleteRequested { at, operation_id, policy }).await;
    }

    /// What nothing else serves if `number` is gone.
    async fn served(&self, number: u128) -> Vec<String> {
        let entity = self.entity(number).await;
        let served = self.implicit().served_by(&entity, &kinds(), 10).await.expect("readable");
        served.iter().map(|other| other.manifest.target().to_string()).collect()
    }

    fn implicit(&self) -> ImplicitDependencies<'_> {
        ImplicitDependencies { entities: &self.entities, queue: &self.queue }
    }

    /// What the creation of `number` waits for.
    async fn first(&self, number: u128) -> Option<String> {
        let entity = self.entity(number).await;
        let kinds = kinds();
        let kind = kinds.iter().find(|kind| kind.name == entity.manifest.kind).expect("a kind");
        let first = self.implicit().created_first(&entity, kind).await.expect("readable");
        first.map(|target| target.to_string())
    }

    /// Which dependent keeps `number` from being deleted.
    async fn keeper(&self, number: u128) -> Option<String> {
        let entity = self.entity(number).await;
        let keeper = dependency_cycles::keeper(&self.entities, &self.queue, &entity).await;
        let by = self.entities.fresh(keeper.expect("readable").by?).await.expect("readable");
        Some(by.manifest.target().to_string())
    }

    /// The message of `number`, whose creation waits for the one of kind `on`.
    async fn wait_of(&self, number: u128, on: &str) -> String {
        let on = Box::new(Target { kind: KindName::from(on), name: "it".into() });
        let class = ErrorClass::ReferenceNotReady { on };
        let mut failure = Failure::harmless(class, "reference_not_ready", "waits");
        let entity = self.entity(number).await;
        let named = dependency_cycles::name_cycle(&self.entities, &entity, &mut failure).await;
        named.expect("readable");
        failure.message
    }

    /// What the deletion of `number` waits for.
    async fn gone_first(&self, number: u128) -> Option<String> {
        let entity = self.entity(number).await;
        let other = self.implicit().deleted_first(&entity, &kinds()).await.expect("readable");
        other.map(|other| other.manifest.target().to_string())
    }
}

fn id(number: u128) -> EntityId {
    EntityId(Uuid::from_u128(number))
}

#[tokio::test]
async fn what_is_created_at_the_same_time_comes_first() {
    let mut network = Fixture::network().await;
    assert_eq!(network.first(4).await.as_deref(), Some("subnet/it"));
    assert_eq!(network.first(5).await.as_deref(), Some("router/it"));
    network.made(2).await;
    assert_eq!(network.first(4).await, None);
    assert_eq!(network.first(5).await.as_deref(), Some("router/it"));
    network.failed(3, Next::Erred).await;
    assert_eq!(network.first(5).await, None, "what failed for good keeps no other one");
}

#[tokio::test]
async fn neither_waits_for_what_waits_for_it() {
    let mut network = Fixture::network().await;
    let on = BlockedOn::Reference(Target { kind: KindName::from("port"), name: "it".into() });
    network.failed(2, Next::Blocked { on, check_at: Timestamp(9) }).await;
    assert_eq!(network.first(4).await, None);
    let on = BlockedOn::Reference(Target { kind: KindName::from("net"), name: "it".into() });
    network.failed(2, Next::Blocked { on, check_at: Timestamp(9) }).await;
    assert_eq!(network.first(4).await.as_deref(), Some("subnet/it"));
}

#[tokio::test]
async fn of_what_is_deleted_the_dependent_goes_first_and_what_stays_keeps_nothing() {
    let mut network = Fixture::network().await;
    for number in 1..=5 {
        network.made(number).await;
    }
    network.leaving(3).await;
    network.leaving(2).await;
    assert_eq!((network.gone_first(2).await, network.gone_first(3).await), (None, None));
    network.leaving(5).await;
    network.leaving(4).await;
    assert_eq!(network.gone_first(3).await.as_deref(), Some("address/it"));
    assert_eq!(network.gone_first(2).await.as_deref(), Some("port/it"));
    assert_eq!(network.gone_first(5).await, None);
    assert_eq!(network.first(4).await, None, "nothing is being created");
}

#[tokio::test]
async fn a_cascade_takes_along_what_nothing_else_serves() {
    let mut network = Fixture::network().await;
    assert_eq!(network.served(2).await, ["port/it"]);
    assert_eq!(network.served(3).await, ["address/it"]);
    assert_eq!((network.served(1).await, network.served(4).await), (Vec::new(), Vec::new()));
    network.declare_named(6, "subnet", "other", json!({"net": {"$ref": "net/it"}})).await;
    assert!(network.served(2).await.is_empty(), "the port may be on the other one");
    assert!(network.served(3).await.is_empty(), "a router that is not managed may serve it");
    network.made(3).await;
    network.made_with(5, json!({"router_id": "3"})).await;
    assert_eq!(network.served(3).await, ["address/it"]);
}

#[tokio::test]
async fn a_cascade_takes_nothing_along_that_may_be_served_otherwise() {
    let mut network = Fixture::network().await;
    for number in 10..260 {
        let name = format!("p{number}");
        network.declare_named(number, "port", &name, json!({"net": {"$ref": "net/it"}})).await;
    }
    assert_eq!(network.served(2).await.len(), 10, "behind a page of other dependents");
    network.declare_named(1000, "subnet", "other", json!({"net": {"$ref": "net/it"}})).await;
    let into = json!({"subnets": [{"$ref": "subnet/other"}]});
    network.declare_named(1001, "router", "other", into).await;
    assert_eq!((network.served(2).await, network.served(3).await), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_cascade_takes_nothing_along_whose_relations_are_not_known_whole() {
    let mut network = Fixture::network().await;
    let both = json!({"nets": [{"$ref": "net/it"}, {"$ref": "net/gone"}]});
    network.declare_named(6, "port", "both", both).await;
    assert_eq!(network.served(2).await, ["port/it"]);
    network.declare_named(7, "net", "gone", json!({})).await;
    assert_eq!(network.served(2).await, ["port/it"], "it may have subnets that are not managed");
    network.declare_named(8, "subnet", "more", json!({"net": {"$ref": "net/gone"}})).await;
    assert_eq!(network.served(2).await, ["port/it"], "it is on the other one too");
}

#[tokio::test]
async fn a_cascade_takes_nothing_along_that_was_observed_elsewhere() {
    let mut network = Fixture::network().await;
    network.made(2).await;
    let on = |subnet: &str| json!({"fixed_ips": [{"subnet_id": subnet}]});
    network.made_with(4, on("2")).await;
    assert_eq!(network.served(2).await, ["port/it"]);
    network.made_with(4, on("unmanaged")).await;
    assert!(network.served(2).await.is_empty());
    network.made_with(4, json!({})).await;
    assert_eq!(network.served(2).await, ["port/it"], "the observation does not say");
}

#[tokio::test]
async fn of_a_cycle_that_is_deleted_one_goes_first() {
    let mut network = Fixture::new().await;
    network.declare(1, "net", json!({"after": {"$ref": "port/it"}})).await;
    network.declare(2, "port", json!({"after": {"$ref": "net/it"}})).await;
    for number in 1..=2 {
        network.made(number).await;
    }
    network.leaving(1).await;
    assert_eq!(network.keeper(1).await.as_deref(), Some("port/it"), "that stays");
    network.leaving(2).await;
    assert_eq!(network.keeper(1).await, None);
    assert_eq!(network.keeper(2).await.as_deref(), Some("net/it"));
    network.declare(3, "address", json!({"net": {"$ref": "net/it"}})).await;
    assert_eq!(network.keeper(1).await.as_deref(), Some("address/it"), "not on the cycle");
}

#[tokio::test]
async fn what_waits_for_an_entity_to_be_gone_does_not_go_first() {
    let mut network = Fixture::network().await;
    let late = json!({"net": {"$ref": "net/it"}, "after": {"$ref": "port/it"}});
    network.declare_named(6, "subnet", "late", late).await;
    network.declare_named(7, "disk", "it", json!({"port": {"$ref": "port/it"}})).await;
    let later = json!({"net": {"$ref": "net/it"}, "after": {"$ref": "disk/it"}});
    network.declare_named(8, "subnet", "later", later).await;
    for number in 1..=8 {
        network.made(number).await;
    }
    for number in [2, 4, 6, 7, 8] {
        network.leaving(number).await;
    }
    assert_eq!(network.gone_first(2).await.as_deref(), Some("port/it"));
    assert_eq!(network.gone_first(6).await, None, "the port waits for it");
    assert_eq!(network.gone_first(8).await, None, "the port waits for it, through the disk");
    let on = BlockedOn::InUse(id(2));
    network.failed(4, Next::Blocked { on, check_at: Timestamp(9) }).await;
    assert_eq!(network.gone_first(2).await, None, "the port is blocked on it");
}

#[tokio::test]
async fn a_creation_that_waits_both_ways_names_the_cycle() {
    let mut network = Fixture::new().await;
    network.declare(1, "net", json!({"after": {"$ref": "port/it"}})).await;
    network.declare(2, "port", json!({"after": {"$ref": "net/it"}})).await;
    network.declare(3, "address", json!({"port": {"$ref": "port/it"}})).await;
    let cycle = "waits; it would wait for itself: net/it -> port/it -> net/it";
    assert_eq!(network.wait_of(1, "port").await, cycle);
    assert_eq!(network.wait_of(3, "port").await, "waits", "it is on no cycle");
    network.made(2).await;
    assert_eq!(network.wait_of(1, "port").await, "waits", "the port waits no more");
}
