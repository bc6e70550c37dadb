//! Audits of an open store: no alarm on what the ports made, and a fault for what its events do not make.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use stateward_domain::audit::FaultKind;
use stateward_domain::entity::next_work::QueueRow;
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::envelope::{Envelope, NewEvent, Recorded, StreamId};
use stateward_domain::id::{EntityId, EventId, Position};
use stateward_domain::ports::event_store::{Append, ReadError};
use stateward_domain::ports::read_model::EntityFilter;
use stateward_domain::ports::sync_queue::QueueChange;
use stateward_domain::system::SystemEvent;
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use crate::histories::{HistoryWriter, histories};
use crate::support::{Subject, subjects, take};

const LIMIT: usize = 200;

async fn behind(store: &Subject, from: Position) -> Vec<Recorded> {
    store.log.read_log(from, LIMIT).await.unwrap().events
}

/// Number of all events.
async fn count(store: &Subject) -> u64 {
    let (mut from, mut count) = (Position::START, 0);
    loop {
        let page = store.log.read_log(from, LIMIT).await.unwrap();
        if page.events.is_empty() {
            return count;
        }
        count += page.events.len() as u64;
        from = page.through;
    }
}

/// Brings the read model up to date.
async fn project(store: &Subject) {
    loop {
        let from = store.model.checkpoint().await.unwrap();
        let events = behind(store, from).await;
        let Some(last) = events.last() else { return };
        store.model.apply(from, last.position, &events).await.unwrap();
    }
}

/// Brings the queue up to date, as the executor would.
async fn enqueue(store: &Subject) {
    let mut entities = BTreeMap::<EntityId, Entity>::new();
    loop {
        let from = store.queue.checkpoint().await.unwrap();
        let events = behind(store, from).await;
        let Some(last) = events.last() else { return };
        let mut changes = BTreeMap::new();
        for recorded in &events {
            let Some(id) = recorded.stream.entity_id() else { continue };
            let entity = entities.entry(id).or_default();
            entity.evolve(&recorded.decode(EntityEvent::known).unwrap());
            let row = entity.queue_row(entity.work(), recorded.position);
            changes.insert(id, row.map_or(QueueChange::Remove(id), QueueChange::Put));
        }
        let changes: Vec<_> = changes.into_values().collect();
        store.queue.advance(from, last.position, &changes).await.unwrap();
    }
}

/// Appends random histories, with control events around them; returns the number of entities.
async fn live(store: &Subject, seed: u8) -> u64 {
    let histories = histories(seed, 8, 40);
    let mut writer = HistoryWriter::new(store.clock.clone());
    writer.append_control_events(&*store.log).await;
    writer.append_histories(&*store.log, &histories).await;
    writer.append_control_events(&*store.log).await;
    histories.len() as u64
}

#[tokio::test]
async fn what_the_ports_made_raises_no_alarm() {
    for seed in 1..=3 {
        for store in subjects().await {
            let (name, auditor) = (store.name, store.auditor.clone());
            let empty = auditor.verify(None, &|_| ()).await.unwrap();
            assert!(empty.ok && empty.events == 0, "{name}: {:#?}", empty.faults);
            let entities = live(&store, seed).await;
            let behind = auditor.verify(Some(&empty.checkpoint), &|_| ()).await.unwrap();
            assert!(behind.ok && behind.entities == 0, "{name}: {:#?}", behind.faults);
            project(&store).await;
            enqueue(&store).await;
            let seen = Mutex::new(Vec::new());
            let report = |progress| seen.lock().unwrap().push(progress);
            let whole = auditor.verify(Some(&behind.checkpoint), &report).await.unwrap();
            assert!(whole.ok && whole.entities == entities, "{name}: {:#?}", whole.faults);
            let head = store.log.head().await.unwrap();
            let count = count(&store).await;
            assert_eq!((whole.events, whole.checkpoint.position), (count, head), "{name}");
            let taken = auditor.checkpoint().await.unwrap();
            assert_eq!(taken.digest, whole.checkpoint.digest, "{name}");
            let seen = seen.into_inner().unwrap();
            assert!(seen[0].done == 0 && seen.last().is_some_and(|last| last.done == last.total));
        }
    }
}

#[tokio::test]
async fn rows_of_other_events_are_found_and_named() {
    for store in subjects().await {
        live(&store, 5).await;
        enqueue(&store).await;
        // The read model gets the first request for another name than the log has.
        let (mut events, mut wrong) = (Vec::new(), None);
        loop {
            let from = events.last().map_or(Position::START, |last: &Recorded| last.position);
            let page = behind(&store, from).await;
            if page.is_empty() {
                break;
            }
            events.extend(page);
        }
        for event in &mut events {
            if wrong.is_none() && event.payload.contains("\"name\":\"it-") {
                event.payload = event.payload.replace("\"name\":\"it-", "\"name\":\"no-").into();
                wrong = Some(event.stream.to_string());
            }
        }
        let last = events.last().unwrap().position;
        store.model.apply(Position::START, last, &events).await.unwrap();
        let report = store.auditor.verify(None, &|_| ()).await.unwrap();
        let name = store.name;
        assert!(!report.ok, "{name}");
        for fault in &report.faults {
            assert_eq!((fault.fault, &fault.stream), (FaultKind::View, &wrong), "{name}: {fault}");
        }
        let columns: Vec<_> =
            report.faults.iter().filter_map(|fault| fault.column.as_deref()).collect();
        assert!(columns.contains(&"name") && columns.contains(&"data"), "{name}: {columns:?}");
    }
}

#[tokio::test]
async fn work_that_no_event_makes_and_work_that_is_missing_are_found() {
    for store in subjects().await {
        live(&store, 6).await;
        project(&store).await;
        enqueue(&store).await;
        let name = store.name;
        let mut rows = Vec::new();
        for row in store.views.entities(&EntityFilter::default(), 100, None).await.unwrap().items {
            rows.extend(store.queue.row(row.entity.id).await.unwrap());
        }
        let at = store.queue.checkpoint().await.unwrap();
        let row =
            rows.into_iter().find(|row| row.due.is_some() && row.waits_for.is_none()).unwrap();
        let late = row.due.map(|due| due.after(Duration::from_secs(9)));
        let changed = QueueChange::Put(QueueRow { due: late, ..row.clone() });
        for change in [changed, QueueChange::Remove(row.entity)] {
            store.queue.advance(at, at, &[change]).await.unwrap();
            let report = store.auditor.verify(None, &|_| ()).await.unwrap();
            let tables: Vec<_> = report.faults.iter().map(|fault| fault.table.as_deref()).collect();
            assert!(!report.ok && tables[0] == Some("sync_queue"), "{name}: {:#?}", report.faults);
        }
    }
}

#[tokio::test]
async fn a_claim_that_no_event_makes_is_found() {
    for store in subjects().await {
        live(&store, 7).await;
        let (stream, claims) = (StreamId::system(), vec![take("name/none/none/none")]);
        let expected = store.log.head_of(&stream).await.unwrap();
        let (id, at) = (EventId(Uuid::from_u128(999)), Timestamp(1));
        let event = NewEvent::encode(id, &SystemEvent::Unfrozen { at }, &Envelope::default());
        let events = vec![event.unwrap()];
        store.log.append(Append { stream, expected, events, claims }).await.unwrap();
        let report = store.auditor.verify(None, &|_| ()).await.unwrap();
        let claims = report.faults.iter().filter(|fault| fault.fault == FaultKind::Claim).count();
        assert_eq!(claims, 1, "{}: {:#?}", store.name, report.faults);
    }
}

#[tokio::test]
async fn an_export_has_every_event_with_the_hash_before_it() {
    for store in subjects().await {
        live(&store, 8).await;
        let (name, head) = (store.name, store.log.head().await.unwrap());
        let (mut at, mut hashes, mut count) = (Position::START, BTreeMap::new(), 0);
        loop {
            let page = store.auditor.chained_events(at, head, 50).await.unwrap();
            let Some(last) = page.last() else { break };
            at = last.event.position;
            for chained in page {
                let hash = chained.event.hash;
                let before = hashes.insert(chained.event.stream, hash).unwrap_or_default();
                assert_eq!(chained.previous, before, "{name}");
                count += 1;
            }
        }
        assert_eq!((at, count), (head, self::count(&store).await), "{name}");
        let other = Position { epoch: head.epoch + 1, ..head };
        let gone = store.auditor.chained_events(Position::START, other, 1).await;
        assert_eq!(gone, Err(ReadError::PositionGone { head }), "{name}");
    }
}
