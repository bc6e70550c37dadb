//! Delivery from a log that holds events of other systems.

use async_trait::async_trait;
use std::sync::Mutex;

use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::Recorded;
use stateward_domain::envelope::{Envelope, NewEvent, StreamId};
use stateward_domain::id::{EventId, Namespace, Version};
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::ports::event_store::{Append, AppendError, Appended, Holder, LogPage};
use stateward_domain::system::SystemEvent;
use stateward_domain::time::{LogClock, ManualClock};
use stateward_store::memory::MemoryLog;
use uuid::Uuid;

use super::*;
use crate::backends::Backends;
use crate::clock::ClockAndIds;
use crate::membership::NodeDescription;
use stateward_store::single_node::SingleNode;

/// Runs a projection in a process that has the store for itself.
pub(crate) async fn run_alone(
    log: Arc<dyn EventStore>,
    projection: Arc<dyn Projection>,
    progress: watch::Sender<ProjectionProgress>,
    shutdown: CancellationToken,
) {
    let clock = ClockAndIds { log_clock: LogClock::from(ManualClock::new()) };
    let (cluster, node) = (Arc::new(SingleNode::default()), NodeDescription::default());
    let membership =
        Arc::new(Membership::new(cluster, node, Arc::default(), clock, Backends::default()));
    Runner { log, projection, progress, membership, shutdown }.run().await;
}

/// A log that reads events of the streams `foreign/*` and hands out none of them, as one that is shared with other systems.
struct SharedLog(MemoryLog);

#[async_trait]
impl EventStore for SharedLog {
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
        let mut page = self.0.read_log(after, limit).await?;
        page.events.retain(|event| event.stream.category != "foreign");
        Ok(page)
    }
    async fn head(&self) -> Result<Position, ReadError> {
        self.0.head().await
    }
    async fn changed_after(&self, position: Position) {
        self.0.changed_after(position).await;
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

/// What was delivered, and the checkpoint.
#[derive(Clone, Default)]
struct Deliveries(Arc<Mutex<(Vec<String>, Position)>>);

#[async_trait]
impl Projection for Deliveries {
    fn name(&self) -> &'static str {
        "deliveries"
    }
    async fn checkpoint(&self) -> Result<Position, ModelError> {
        Ok(self.0.lock().unwrap().1)
    }
    async fn advanced_past(&self, _: Position) {
        std::future::pending::<()>().await;
    }
    async fn apply(
        &self,
        from: Position,
        to: Position,
        events: &[Recorded],
    ) -> Result<(), ModelError> {
        let mut state = self.0.lock().unwrap();
        assert_eq!(state.1, from);
        state.0.extend(events.iter().map(|event| event.stream.to_string()));
        state.1 = to;
        Ok(())
    }
    async fn quarantined(&self) -> Result<Vec<Quarantined>, ModelError> {
        Ok(Vec::new())
    }
    async fn quarantine(&self, entry: Quarantined) -> Result<(), ModelError> {
        unreachable!("{entry:?}")
    }
}

#[tokio::test]
async fn events_of_other_systems_are_passed_and_not_waited_for() {
    let log = Arc::new(SharedLog(MemoryLog::new(LogClock::from(ManualClock::new()))));
    for (number, category) in ["own", "foreign", "own", "foreign", "foreign"].iter().enumerate() {
        let event = SystemEvent::Unfrozen { at: Timestamp(1) };
        let id = EventId(Uuid::from_u128(number as u128 + 1));
        let envelope = Envelope::system("test", Namespace::from("n"));
        let stream = StreamId { category: (*category).to_owned(), id: number.to_string() };
        let event = NewEvent::encode(id, &event, &envelope).unwrap();
        let (expected, claims) = (Version(0), Vec::new());
        log.append(Append { stream, expected, events: vec![event], claims }).await.unwrap();
    }
    let head = log.head().await.unwrap();
    let (progress, mut reached) = watch::channel(ProjectionProgress::default());
    let (deliveries, shutdown) = (Deliveries::default(), CancellationToken::new());
    let runner = run_alone(log, Arc::new(deliveries.clone()), progress, shutdown.clone());
    let waits = async {
        reached.wait_for(|progress| progress.position.includes(head)).await.unwrap();
        shutdown.cancel();
    };
    tokio::join!(runner, waits);
    assert_eq!(deliveries.0.lock().unwrap().0, ["own/0", "own/2"]);
    assert_eq!(deliveries.0.lock().unwrap().1, head, "the checkpoint passes hidden events");
}

/// A projection whose checkpoint a test sets, and which another process delivers to.
struct Elsewhere(Mutex<Position>);

#[async_trait]
impl Projection for Elsewhere {
    fn name(&self) -> &'static str {
        "elsewhere"
    }
    async fn checkpoint(&self) -> Result<Position, ModelError> {
        Ok(*self.0.lock().unwrap())
    }
    async fn advanced_past(&self, _: Position) {}
    async fn apply(&self, _: Position, _: Position, _: &[Recorded]) -> Result<(), ModelError> {
        unreachable!("another process has the duty")
    }
    async fn quarantined(&self) -> Result<Vec<Quarantined>, ModelError> {
        Ok(Vec::new())
    }
    async fn quarantine(&self, entry: Quarantined) -> Result<(), ModelError> {
        unreachable!("{entry:?}")
    }
}

#[tokio::test]
async fn what_stopped_a_projection_is_shown_until_any_process_passes_it() {
    let at = |minor| Position { epoch: 1, major: 0, minor };
    let projection = Arc::new(Elsewhere(Mutex::new(at(5))));
    let clock = ClockAndIds { log_clock: LogClock::from(ManualClock::new()) };
    let (cluster, node) = (Arc::new(SingleNode::default()), NodeDescription::default());
    let stopped = Some(Stopped { reason: "an unknown type".to_owned(), unknown: None });
    let runner = Runner {
        log: Arc::new(MemoryLog::new(LogClock::from(ManualClock::new()))),
        projection: projection.clone(),
        progress: watch::Sender::new(ProjectionProgress {
            position: at(5),
            recorded_at: None,
            stopped: stopped.clone(),
        }),
        membership: Arc::new(Membership::new(
            cluster,
            node,
            Arc::default(),
            clock,
            Backends::default(),
        )),
        shutdown: CancellationToken::new(),
    };
    runner.stand_by().await;
    assert_eq!(runner.progress.borrow().stopped, stopped, "nobody passed it");
    *projection.0.lock().unwrap() = at(6);
    runner.stand_by().await;
    let progress = runner.progress.borrow().clone();
    assert_eq!((progress.position, progress.stopped), (at(6), None));
}
