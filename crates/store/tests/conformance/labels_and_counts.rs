//! Counts and labels equal those of the rows, after any history of deliveries.

use std::collections::{BTreeMap, BTreeSet};

use stateward_domain::entity::state::SettingsPatch;
use stateward_domain::entity::{Entity, EntityEvent, State};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{Namespace, Position, Version};
use stateward_domain::ports::projection::Quarantined;
use stateward_domain::ports::read_model::{EntityFilter, EntityRow, Rebuild, Views};
use stateward_domain::selector::Selector;

use crate::histories::{HistoryWriter, histories};
use crate::support::{Subject, subjects};

/// A pseudo-random generator with a fixed seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for key in ["a", "b", "c"] {
            if self.roll(2) == 0 {
                labels.insert(key.to_owned(), self.roll(2).to_string());
            }
        }
        labels
    }
}

/// Histories in two namespaces whose labels change now and then.
fn labelled(seed: u8, dice: &mut Dice) -> Vec<Vec<EntityEvent>> {
    let mut all = histories(seed, 8, 40);
    for (number, life) in all.iter_mut().enumerate() {
        let mut events = Vec::new();
        for mut event in life.drain(..) {
            let at = event.at();
            if let EntityEvent::CreateRequested { manifest, .. } = &mut event {
                manifest.namespace = Namespace(format!("n{}", number % 2));
                manifest.settings.labels = dice.labels();
            }
            events.push(event);
            if dice.roll(6) == 0 {
                let labels = Some(dice.labels());
                let settings = SettingsPatch { labels, ..SettingsPatch::default() };
                events.push(EntityEvent::SettingsChanged { at, settings });
            }
        }
        *life = events;
    }
    all
}

async fn rows(views: &dyn Views, filter: &EntityFilter) -> Vec<EntityRow> {
    let page = views.entities(filter, 1_000, None).await.unwrap();
    assert_eq!(page.next, None);
    page.items
}

/// Compares counts and label lists with all rows.
async fn fits(views: &dyn Views) {
    let all = rows(views, &EntityFilter::default()).await;
    let mut expected = BTreeMap::new();
    for EntityRow { entity, .. } in &all {
        let blocked = entity.blocked.as_ref().map(|blocked| blocked.on.reason().to_owned());
        let manifest = &entity.manifest;
        let dead = entity.is_dead_letter();
        let group = (manifest.backend.clone(), manifest.kind.clone(), entity.state, blocked, dead);
        *expected.entry(group).or_insert(0_u64) += 1;
    }
    let counted = views.counts().await.unwrap();
    let groups = counted.len();
    let counted: BTreeMap<_, _> = counted
        .into_iter()
        .map(|one| ((one.backend, one.kind, one.state, one.blocked, one.dead), one.count))
        .collect();
    assert_eq!(counted, expected);
    assert_eq!(groups, expected.len(), "each group is counted once");
    for namespaces in [None, Some(vec![Namespace::from("n0")]), Some(vec![Namespace::from("n1")])] {
        for text in ["a=0", "a=1", "b=0", "b in (0,1)", "c", "c=2"] {
            let selector: Selector = text.parse().unwrap();
            let fits = |row: &&EntityRow| {
                let manifest = &row.entity.manifest;
                namespaces.as_ref().is_none_or(|all| all.contains(&manifest.namespace))
                    && selector.matches(&manifest.settings.labels)
            };
            let expected: Vec<_> = all.iter().filter(fits).cloned().collect();
            let namespaces = namespaces.clone();
            let filter =
                EntityFilter { namespaces, selector: selector.clone(), ..EntityFilter::default() };
            assert_eq!(rows(views, &filter).await, expected, "{text}");
        }
    }
}

async fn history(store: &Subject, stream: &str) -> Vec<Recorded> {
    let (category, id) = stream.split_once('/').unwrap();
    let stream = StreamId { category: category.to_owned(), id: id.to_owned() };
    store.log.read_stream(&stream, Version::default(), usize::MAX).await.unwrap()
}

async fn rebuild(store: &Subject) {
    let Rebuild { id, model: beside } = store.model.begin_rebuild().await.unwrap();
    let to = store.model.checkpoint().await.unwrap();
    let all = store.log.read_log(Position::START, usize::MAX).await.unwrap().events;
    let events: Vec<_> = all.into_iter().filter(|event| event.position <= to).collect();
    if to != Position::START {
        beside.apply(Position::START, to, &events).await.unwrap();
    }
    assert_eq!(store.model.swap(id).await, Ok(true));
}

/// Applies everything in batches of any size, some of them twice, with streams that are quarantined and retried, also
/// before their first delivery, and with rebuilds in between.
async fn delivered(store: &Subject, dice: &mut Dice) {
    let (model, views) = (&*store.model, &*store.views);
    let all = store.log.read_log(Position::START, usize::MAX).await.unwrap().events;
    let streams: BTreeSet<_> = all.iter().map(|event| event.stream.to_string()).collect();
    let streams: Vec<_> =
        streams.into_iter().filter(|stream| stream.starts_with(StreamId::ENTITY)).collect();
    let mut next = 0;
    while next < all.len() {
        let from = model.checkpoint().await.unwrap();
        let end = (next + dice.roll(25) + 1).min(all.len());
        let begin = if dice.roll(3) == 0 { next.saturating_sub(dice.roll(30)) } else { next };
        let to = all[end - 1].position;
        model.apply(from, to, &all[begin..end]).await.unwrap();
        next = end;
        fits(views).await;
        let stream = &streams[dice.roll(streams.len())];
        match dice.roll(8) {
            0 => rebuild(store).await,
            1 | 2 => {
                let (stream, message) = (stream.clone(), "broken".to_owned());
                model.quarantine(Quarantined { stream, position: to, message }).await.unwrap();
            }
            3 | 4 => model.retry(stream, &history(store, stream).await).await.unwrap(),
            _ => {}
        }
        fits(views).await;
    }
    for entry in model.quarantined().await.unwrap() {
        model.retry(&entry.stream, &history(store, &entry.stream).await).await.unwrap();
    }
}

#[tokio::test]
async fn counts_and_labels_are_those_of_the_rows_after_any_deliveries() {
    let mut seen = BTreeSet::new();
    for seed in 0..6 {
        let mut dice = Dice(u64::from(seed));
        let histories = labelled(seed, &mut dice);
        for store in subjects().await {
            let mut writer = HistoryWriter::new(store.clock.clone());
            writer.append_control_events(&*store.log).await;
            writer.append_histories(&*store.log, &histories).await;
            delivered(&store, &mut dice).await;
            let views = &*store.views;
            fits(views).await;
            let mut folds: BTreeMap<_, Entity> = BTreeMap::new();
            for recorded in store.log.read_log(Position::START, usize::MAX).await.unwrap().events {
                let Some(id) = recorded.stream.entity_id() else { continue };
                folds.entry(id).or_default().evolve(&recorded.decode(EntityEvent::known).unwrap());
            }
            let living: Vec<_> =
                folds.into_values().filter(|entity| entity.state != State::Deleted).collect();
            let rows = rows(views, &EntityFilter::default()).await;
            assert_eq!(rows.into_iter().map(|row| row.entity).collect::<Vec<_>>(), living);
            seen.extend(views.counts().await.unwrap().into_iter().map(|count| count.state));
        }
    }
    assert!(seen.len() > 3, "the lives are all alike: {seen:?}");
}
