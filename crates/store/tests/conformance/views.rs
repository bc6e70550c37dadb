//! Read models: replay, rebuild, quarantine, pages.

use std::sync::Arc;

use serde_json::json;
use stateward_domain::entity::operation::OperationState;
use stateward_domain::entity::state::{Manifest, Settings, State};
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::envelope::{Actor, Envelope, NewEvent, Recorded, StreamId};
use stateward_domain::id::{EntityId, EventId, Namespace, OperationId, Position, Version};
use stateward_domain::ports::event_store::Append;
use stateward_domain::ports::projection::{ModelError, Quarantined};
use stateward_domain::ports::read_model::{
    EntityFilter, OperationFilter, ReadModel, Rebuild, RebuildId, Views,
};
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use crate::support::{self, subjects};

/// A store whose read model is tested.
struct Subject {
    store: support::Subject,
    model: Arc<dyn ReadModel>,
    views: Arc<dyn Views>,
}

impl Subject {
    /// One of each adapter.
    #[track_caller]
    fn all() -> impl Future<Output = Vec<Self>> {
        let stores = subjects();
        async { stores.await.into_iter().map(Self::of).collect() }
    }

    fn of(store: support::Subject) -> Self {
        Self { model: store.model.clone(), views: store.views.clone(), store }
    }

    /// Declares entity `number`, and updates it `updates` times.
    async fn declare(&self, number: u128, updates: u64) {
        let mut events = vec![created(number)];
        events.extend((0..updates).map(|n| EntityEvent::UpdateRequested {
            at: Timestamp(20),
            operation_id: OperationId(Uuid::from_u128(number * 1_000 + u128::from(n) + 1)),
            schema_version: 1,
            desired: json!({"size": n}),
            replace: false,
        }));
        self.append(number, 0, &events).await;
    }

    async fn append(&self, number: u128, expected: u64, events: &[EntityEvent]) {
        let actor = Actor { kind: "user".to_owned(), id: "ada".to_owned(), token_id: None };
        let envelope = Envelope {
            actor,
            reason: Some("because".to_owned()),
            ..Envelope::system("", Namespace::from("default"))
        };
        let envelope = Envelope { actor: envelope.actor, ..envelope };
        let first = number * 1_000_000 + u128::from(expected) + 1;
        let append = Append {
            stream: StreamId::entity(entity(number)),
            expected: Version(expected),
            events: (first..)
                .zip(events)
                .map(|(id, event)| NewEvent::encode(EventId(Uuid::from_u128(id)), event, &envelope))
                .collect::<Result<_, _>>()
                .expect("small"),
            claims: Vec::new(),
        };
        self.store.log.append(append).await.unwrap();
    }

    async fn events(&self) -> Vec<Recorded> {
        self.store.log.read_log(Position::START, usize::MAX).await.unwrap().events
    }

    /// Applies all events behind the checkpoint of `model`.
    async fn deliver(&self, model: &dyn ReadModel) -> Result<(), ModelError> {
        let from = model.checkpoint().await?;
        let events = self.store.log.read_log(from, usize::MAX).await.unwrap().events;
        match events.last() {
            Some(last) => model.apply(from, last.position, &events).await,
            None => Ok(()),
        }
    }

    async fn rows(&self) -> Vec<Entity> {
        let page = self.views.entities(&EntityFilter::default(), 1_000, None).await.unwrap();
        page.items.into_iter().map(|row| row.entity).collect()
    }
}

fn entity(number: u128) -> EntityId {
    EntityId(Uuid::from_u128(number))
}

fn created(number: u128) -> EntityEvent {
    EntityEvent::CreateRequested {
        at: Timestamp(10),
        operation_id: OperationId(Uuid::from_u128(number * 1_000)),
        entity_id: entity(number),
        schema_version: 1,
        manifest: Box::new(Manifest {
            namespace: Namespace::from("default"),
            kind: "fake.thing".into(),
            name: (&*format!("thing-{number}")).into(),
            backend: "sandbox".into(),
            desired: json!({"size": 0}),
            settings: Settings {
                labels: [("parity".to_owned(), (number % 2).to_string())].into(),
                ..Settings::default()
            },
            external_id: None,
        }),
        identity: None,
    }
}

fn released(number: u128) -> EntityEvent {
    let operations = vec![OperationId(Uuid::from_u128(number * 1_000))];
    EntityEvent::Released { at: Timestamp(30), operations }
}

#[tokio::test]
async fn rows_equal_the_fold_of_the_log() {
    for subject in Subject::all().await {
        subject.declare(1, 0).await;
        subject.declare(2, 3).await;
        subject.deliver(&*subject.model).await.unwrap();
        let mut folds = [Entity::default(), Entity::default()];
        for recorded in subject.events().await {
            let fold = usize::from(recorded.stream != StreamId::entity(entity(1)));
            folds[fold].evolve(&recorded.decode(EntityEvent::known).unwrap());
        }
        assert_eq!(subject.rows().await, folds);
        let row = subject.views.entity(entity(2)).await.unwrap().unwrap();
        assert_eq!((row.version, row.entity), (Version(4), folds[1].clone()));
    }
}

#[tokio::test]
async fn delivering_again_changes_nothing() {
    for subject in Subject::all().await {
        subject.declare(1, 2).await;
        let events = subject.events().await;
        let last = events.last().unwrap().position;
        subject.model.apply(Position::START, last, &events).await.unwrap();
        let before = subject.rows().await;
        let again = subject.model.apply(Position::START, last, &events).await;
        assert_eq!(again, Err(ModelError::CheckpointMoved { actual: last }));
        // An overlapping delivery: applied events are skipped.
        subject.append(1, 3, &[EntityEvent::Paused { at: Timestamp(40) }]).await;
        let all = subject.events().await;
        subject.model.apply(last, all.last().unwrap().position, &all).await.unwrap();
        let after = subject.rows().await;
        assert_eq!(after[0].version, Version(4));
        assert_eq!(after[0].operations, before[0].operations);
    }
}

#[tokio::test]
async fn operations_follow_their_requests_to_the_end() {
    for subject in Subject::all().await {
        subject.declare(1, 0).await;
        let create = OperationId(Uuid::from_u128(1_000));
        let by = OperationId(Uuid::from_u128(1_001));
        let update = EntityEvent::UpdateRequested {
            at: Timestamp(20),
            operation_id: by,
            schema_version: 1,
            desired: json!({"size": 9}),
            replace: false,
        };
        let superseded =
            EntityEvent::OperationSuperseded { at: Timestamp(20), operation_id: create, by };
        subject.append(1, 1, &[update, superseded]).await;
        subject.deliver(&*subject.model).await.unwrap();
        let row = subject.views.operation(create).await.unwrap().unwrap();
        assert_eq!((row.state, row.superseded_by), (OperationState::Superseded, Some(by)));
        assert!(row.finished_at.is_some());
        assert_eq!((row.actor.id.as_str(), row.reason.as_deref()), ("ada", Some("because")));
        let row = subject.views.operation(by).await.unwrap().unwrap();
        assert_eq!((row.state, row.kind.as_str()), (OperationState::Pending, "update"));
        let filter = OperationFilter { entity: Some(entity(1)), ..OperationFilter::default() };
        let page = subject.views.operations(&filter, 10, None).await.unwrap();
        assert_eq!(page.items.iter().map(|row| row.id).collect::<Vec<_>>(), [by, create]);
    }
}

#[tokio::test]
async fn a_rebuild_equals_the_live_model_and_takes_its_place() {
    for subject in Subject::all().await {
        for number in 1..=20 {
            subject.declare(number, 2).await;
        }
        subject.deliver(&*subject.model).await.unwrap();
        let before = subject.rows().await;
        let live = subject.model.live().await.unwrap();
        let Rebuild { id, model: beside } = subject.model.begin_rebuild().await.unwrap();
        assert_eq!(beside.checkpoint().await, Ok(Position::START));
        assert_eq!(subject.model.live().await, Ok(live), "nothing was swapped in");
        assert_eq!(subject.model.swap(id).await, Ok(false), "it has not caught up");
        assert_eq!(subject.rows().await, before, "queries go on to see the live one");
        subject.deliver(&*beside).await.unwrap();
        assert_eq!(subject.model.swap(id).await, Ok(true));
        assert_eq!((subject.model.live().await, beside.live().await), (Ok(id), Ok(id)));
        assert_ne!(id, live);
        assert_eq!(subject.rows().await, before);
        subject.declare(21, 0).await;
        subject.deliver(&*subject.model).await.unwrap();
        assert_eq!(subject.rows().await.len(), 21, "it goes on from there");
        let Rebuild { id, model: beside } = subject.model.begin_rebuild().await.unwrap();
        subject.deliver(&*beside).await.unwrap();
        assert_eq!(subject.model.swap(id).await, Ok(true), "and can be rebuilt again");
        assert_eq!(subject.rows().await.len(), 21);
    }
}

/// Calls of a rebuild that is over.
async fn assert_stale(subject: &Subject, rebuild: &Rebuild, events: &[Recorded], why: &str) {
    let Rebuild { id, model } = rebuild;
    let (name, before) = (subject.store.name, subject.rows().await);
    let to = events[0].position;
    let entry = Quarantined {
        stream: events[0].stream.to_string(),
        position: to,
        message: "broken".to_owned(),
    };
    let stale = Err(ModelError::StaleRebuild);
    assert_eq!(model.apply(Position::START, to, &events[..1]).await, stale, "{name}: {why}");
    assert_eq!(model.quarantine(entry).await, stale, "{name}: {why}");
    assert_eq!(model.retry(&events[0].stream.to_string(), events).await, stale, "{name}: {why}");
    let swapped = subject.model.swap(*id).await;
    assert_eq!(swapped, Err(ModelError::StaleRebuild), "{name}: {why}");
    assert_eq!(subject.rows().await, before, "{name}: {why}");
}

#[tokio::test]
async fn two_rebuilds_at_once_end_with_what_the_log_says() {
    for subject in Subject::all().await {
        subject.declare(1, 5).await;
        subject.deliver(&*subject.model).await.unwrap();
        let before = subject.rows().await;
        let events = subject.events().await;
        let last = events[5].position;
        let first = subject.model.begin_rebuild().await.unwrap();
        first.model.apply(Position::START, last, &events).await.unwrap();
        let second = subject.model.begin_rebuild().await.unwrap();
        assert_stale(&subject, &first, &events, "another has begun").await;
        assert_eq!(subject.model.swap(second.id).await, Ok(false), "it is its own, and empty");
        second.model.apply(Position::START, last, &events).await.unwrap();
        assert_eq!(subject.model.swap(second.id).await, Ok(true));
        assert_eq!(subject.rows().await, before);
        assert_stale(&subject, &first, &events, "another was swapped in").await;
        assert_stale(&subject, &second, &events, "it was swapped in").await;
        // The next one begins where the others have ended.
        let third = subject.model.begin_rebuild().await.unwrap();
        assert_stale(&subject, &first, &events, "a third has begun").await;
        assert_stale(&subject, &second, &events, "a third has begun").await;
        third.model.apply(Position::START, last, &events).await.unwrap();
        assert_eq!(subject.model.swap(third.id).await, Ok(true));
        assert_eq!(subject.rows().await, before);
    }
}

#[tokio::test]
async fn without_a_rebuild_nothing_is_swapped_in_on_an_empty_log_too() {
    for subject in Subject::all().await {
        let swapped = subject.model.swap(RebuildId(1)).await;
        assert_eq!(swapped, Err(ModelError::StaleRebuild), "{}", subject.store.name);
        subject.declare(1, 0).await;
        subject.deliver(&*subject.model).await.unwrap();
        assert_eq!(subject.rows().await.len(), 1, "{}", subject.store.name);
    }
}

#[tokio::test]
async fn an_unknown_event_stops_it_and_a_broken_one_only_its_stream() {
    for subject in Subject::all().await {
        subject.declare(1, 0).await;
        subject.declare(2, 0).await;
        let mut events = subject.events().await;
        let last = events.last().unwrap().position;
        events[0].schema_version = 99;
        let outcome = subject.model.apply(Position::START, last, &events).await;
        let unknown = |outcome| match outcome {
            Err(ModelError::Poisoned { stream, unknown: Some(event_type), .. }) => {
                (stream, event_type)
            }
            other => panic!("{other:?}"),
        };
        let created = "entity.create_requested".to_owned();
        assert_eq!(unknown(outcome), (events[0].stream.to_string(), created.clone()));
        events[0].schema_version = 1;
        let ours = std::mem::replace(&mut events[0].stream.category, "account".to_owned());
        let outcome = subject.model.apply(Position::START, last, &events).await;
        assert_eq!(unknown(outcome), (events[0].stream.to_string(), created));
        events[0].stream.category = ours;
        events[0].payload = "{}".into();
        let outcome = subject.model.apply(Position::START, last, &events).await;
        let Err(ModelError::Poisoned { stream, unknown: None, message }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(subject.model.checkpoint().await, Ok(Position::START), "nothing was applied");
        let entry = Quarantined { stream: stream.clone(), position: events[0].position, message };
        subject.model.quarantine(entry.clone()).await.unwrap();
        subject.model.apply(Position::START, last, &events).await.unwrap();
        assert_eq!(subject.rows().await.len(), 1, "the other goes on");
        assert_eq!(subject.model.quarantined().await, Ok(vec![entry]));
        let whole = subject.events().await;
        subject.model.retry(&stream, &whole[..1]).await.unwrap();
        assert_eq!(subject.rows().await.len(), 2);
        assert_eq!(subject.model.quarantined().await, Ok(Vec::new()));
    }
}

#[tokio::test]
async fn pages_are_stable_under_inserts_and_their_tokens_fit_one_filter() {
    for subject in Subject::all().await {
        for number in 1..=10 {
            subject.declare(number * 2, 0).await;
        }
        subject.deliver(&*subject.model).await.unwrap();
        let all = EntityFilter::default();
        let first = subject.views.entities(&all, 4, None).await.unwrap();
        let token = first.next.clone().unwrap();
        subject.declare(3, 0).await;
        subject.declare(99, 0).await;
        subject.deliver(&*subject.model).await.unwrap();
        let mut seen: Vec<_> = first.items.iter().map(|row| row.entity.id).collect();
        let mut next = Some(token.clone());
        while let Some(token) = next {
            let page = subject.views.entities(&all, 4, Some(&token)).await.unwrap();
            seen.extend(page.items.iter().map(|row| row.entity.id));
            next = page.next;
        }
        let expected: Vec<_> = (1..=10).map(|n| entity(n * 2)).chain([entity(99)]).collect();
        assert_eq!(seen, expected);
        let other = EntityFilter { kind: Some("other.kind".into()), ..EntityFilter::default() };
        let refused = subject.views.entities(&other, 4, Some(&token)).await;
        assert_eq!(refused, Err(ModelError::BadPageToken));
    }
}

#[tokio::test]
async fn filters_restrict_and_the_deleted_show_only_when_asked_for() {
    for subject in Subject::all().await {
        for number in 1..=6 {
            subject.declare(number, 0).await;
        }
        subject.append(6, 1, &[released(6)]).await;
        subject.deliver(&*subject.model).await.unwrap();
        let count = async |filter: EntityFilter| {
            subject.views.entities(&filter, 100, None).await.unwrap().items.len()
        };
        let filter = EntityFilter::default;
        assert_eq!(count(filter()).await, 5);
        assert_eq!(count(EntityFilter { state: Some(State::Deleted), ..filter() }).await, 1);
        assert_eq!(count(EntityFilter { name: Some("thing-3".into()), ..filter() }).await, 1);
        assert_eq!(count(EntityFilter { backend: Some("none".into()), ..filter() }).await, 0);
        assert_eq!(count(EntityFilter { namespaces: Some(vec![]), ..filter() }).await, 0);
        assert_eq!(count(EntityFilter { drifted: Some(true), ..filter() }).await, 0);
        let odd = "parity=1".parse().unwrap();
        assert_eq!(count(EntityFilter { selector: odd, ..filter() }).await, 3);
        let counts = subject.views.counts().await.unwrap();
        assert_eq!(counts.iter().map(|count| count.count).sum::<u64>(), 5);
    }
}
