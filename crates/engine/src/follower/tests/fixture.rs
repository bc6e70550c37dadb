//! Two engines on one store. Neither gets a hint that the log has grown, as if the other were another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::state::Settings;
use stateward_domain::envelope::{Actor, Envelope, Recorded, StreamId};
use stateward_domain::id::{BackendName, EntityName, KindName, Namespace, Position, Version};
use stateward_domain::ports::event_store::{
    Append, AppendError, Appended, EventStore, Holder, LogPage, ReadError,
};
use stateward_domain::ports::store_ports::StorePorts;
use stateward_domain::time::{LogClock, ManualClock};
use stateward_store::{Location, Opened};
use tokio::runtime::Handle;

use crate::backends::availability::Unavailable;
use crate::backends::{Backend, BackendSettings};
use crate::clock::ClockAndIds;
use crate::follower::Follower;
use crate::membership::NodeDescription;
use crate::service::configuration::{Configuration, ConfigurationSource};
use crate::service::{Declaration, Engine, FollowedOperation, Options, Parts};
use crate::stub_driver::{StubDriver, kind};

/// What one process does is in force in all of them after this time at most.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// A log that never reports that it has grown.
struct SilentLog(Arc<dyn EventStore>);

#[async_trait]
impl EventStore for SilentLog {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.0.append(append).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        self.0.read_stream(stream, after, limit).await
    }

    async fn head_of(&self, stream: &StreamId) -> Result<Version, ReadError> {
        self.0.head_of(stream).await
    }

    async fn read_log(&self, after: Position, limit: usize) -> Result<LogPage, ReadError> {
        self.0.read_log(after, limit).await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.0.head().await
    }

    async fn changed_after(&self, _: Position) {
        std::future::pending::<()>().await;
    }

    async fn holder(&self, key: &ClaimKey) -> Result<Option<Holder>, ReadError> {
        self.0.holder(key).await
    }

    async fn held_under(
        &self,
        prefix: &str,
        after: &ClaimKey,
        limit: usize,
    ) -> Result<Vec<(ClaimKey, StreamId)>, ReadError> {
        self.0.held_under(prefix, after, limit).await
    }

    async fn forget_claims_older_than(&self, age: Duration) -> Result<u64, ReadError> {
        self.0.forget_claims_older_than(age).await
    }
}

/// One backend, whose fingerprint differs at each reading.
#[derive(Default)]
pub(super) struct CountedSource(AtomicUsize);

impl CountedSource {
    pub(super) fn readings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl ConfigurationSource for CountedSource {
    async fn read(&self) -> Result<Configuration, String> {
        let reading = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(configuration(reading))
    }
}

fn configuration(reading: usize) -> Configuration {
    let driver = Arc::new(StubDriver { kinds: vec![kind()] });
    let mut settings = BackendSettings::new("b", "stub", driver);
    settings.fingerprint = reading.to_string();
    Configuration { backends: vec![settings], ..Configuration::default() }
}

/// One process.
pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) source: Arc<CountedSource>,
}

impl Node {
    async fn new(store: &StorePorts, clock: &LogClock) -> Self {
        let source = Arc::new(CountedSource::default());
        let parts = Parts {
            store: StorePorts { log: Arc::new(SilentLog(Arc::clone(&store.log))), ..store.clone() },
            kinds: vec![kind()],
            configuration: configuration(0),
            source: Arc::clone(&source) as Arc<dyn ConfigurationSource>,
            clock: ClockAndIds { log_clock: clock.clone() },
            node: NodeDescription::default(),
            options: Options { observe_only: true, ..Options::default() },
        };
        let engine = Engine::new(parts).expect("valid schemas");
        tokio::spawn(
            Follower::begin(engine.followed()).await.run(engine.inner.shared.shutdown.clone()),
        );
        Self { engine, source }
    }

    pub(super) fn backend(&self) -> Arc<Backend> {
        self.engine.backend(&BackendName::from("b")).expect("configured")
    }

    pub(super) fn unavailable(&self) -> Option<Unavailable> {
        self.backend().availability.unavailable(self.engine.clock().moment())
    }

    /// How often the restore hold was recorded.
    pub(super) async fn holds(&self) -> usize {
        let events = self.engine.log().read_log(Position::START, 100).await.expect("a log").events;
        events.iter().filter(|event| event.event_type == "system.frozen").count()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.backend().availability.paused(self.engine.clock().moment())
    }
}

pub(super) struct Nodes {
    pub(super) one: Node,
    pub(super) other: Node,
    pub(super) store: Opened,
    pub(super) folder: tempfile::TempDir,
}

pub(super) async fn nodes() -> Nodes {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = LogClock::from(ManualClock::new());
    let location = Location::Directory(folder.path().to_owned());
    let background = Handle::current();
    let store = stateward_store::open(&location, clock.clone(), &background).await;
    let store = store.expect("a store");
    let (one, other) =
        (Node::new(&store.ports, &clock).await, Node::new(&store.ports, &clock).await);
    Nodes { one, other, store, folder }
}

pub(super) fn envelope() -> Envelope {
    let actor = Actor { kind: "user".to_owned(), id: "ann".to_owned(), token_id: None };
    Envelope { namespace: Namespace::from("default"), actor, ..Envelope::default() }
}

/// Waits until `holds`, for as long as a change may take to be in force elsewhere.
pub(super) async fn soon(what: &str, holds: impl Fn() -> bool + Send + Sync) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, held).await.is_ok(), "not in time: {what}");
}

impl Node {
    /// Declares an entity; its creation is still to be done.
    pub(super) async fn declare(&self) -> FollowedOperation {
        let declaration = Declaration {
            namespace: Namespace::from("default"),
            kind: KindName::from("stub.thing"),
            name: EntityName::from("e"),
            backend: None,
            desired: json!({}),
            settings: Settings::default(),
            external_id: None,
        };
        let accepted = self.engine.create(envelope(), declaration).await.expect("accepted");
        let operation = accepted.operation.expect("a creation");
        FollowedOperation { entity: accepted.entity, operation, position: accepted.position }
    }
}
