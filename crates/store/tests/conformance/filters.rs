//! Lists under every filter of the API, a page at a time, against all rows.

use stateward_domain::entity::operation::{OperationRow, OperationState};
use stateward_domain::entity::{EntityEvent, State};
use stateward_domain::id::{Namespace, Position};
use stateward_domain::ports::read_model::{EntityFilter, EntityRow, OperationFilter, Views};
use stateward_domain::selector::Selector;

use crate::histories::{HistoryWriter, histories};
use crate::support::{Subject, subjects};

const SELECTORS: [&str; 9] =
    ["", "a=1", "a=1,b=0", "a in (1,2)", "a", "!a", "a!=1", "a notin (1,2)", "a!=1,b"];
const STATES: [State; 3] = [State::Ok, State::Erred, State::Deleted];

/// Random lives in which the columns that lists are filtered by have all combinations.
fn lives() -> Vec<Vec<EntityEvent>> {
    let mut all = histories(7, 60, 40);
    for (number, event) in
        all.iter_mut().enumerate().filter_map(|(n, life)| Some((n, life.first_mut()?)))
    {
        let EntityEvent::CreateRequested { manifest, .. } = event else { continue };
        manifest.namespace = Namespace(format!("n{}", number % 3));
        manifest.kind = if number.is_multiple_of(5) { "local.file" } else { "fake.thing" }.into();
        manifest.name = (&*format!("x{}", number % 7)).into();
        manifest.backend = if number.is_multiple_of(4) { "local" } else { "sandbox" }.into();
        let labels = [("a", number % 3), ("b", number % 2)];
        let labels = labels.into_iter().filter(|(key, _)| *key == "b" || number % 11 > 2);
        manifest.settings.labels =
            labels.map(|(key, value)| (key.to_owned(), value.to_string())).collect();
    }
    all
}

fn scopes() -> Vec<Option<Vec<Namespace>>> {
    let several = |count: usize| (0..count).map(|number| Namespace(format!("n{number}"))).collect();
    vec![None, Some(vec![]), Some(several(1)), Some(several(2)), Some(several(40))]
}

fn filters() -> Vec<EntityFilter> {
    let mut all = Vec::new();
    for namespaces in scopes() {
        for bits in 0..8 {
            for state in STATES.map(Some).into_iter().chain([None]) {
                for drifted in [None, Some(true), Some(false)] {
                    for text in SELECTORS {
                        let selector = if text.is_empty() {
                            Selector::default()
                        } else {
                            text.parse().unwrap()
                        };
                        all.push(EntityFilter {
                            namespaces: namespaces.clone(),
                            kind: (bits & 1 > 0).then(|| "fake.thing".into()),
                            name: (bits & 2 > 0).then(|| "x3".into()),
                            backend: (bits & 4 > 0).then(|| "sandbox".into()),
                            state,
                            drifted,
                            selector,
                        });
                    }
                }
            }
        }
    }
    all
}

fn fits(filter: &EntityFilter, row: &EntityRow) -> bool {
    let (entity, manifest) = (&row.entity, &row.entity.manifest);
    let state = match filter.state {
        None => entity.state != State::Deleted,
        Some(state) => entity.state == state,
    };
    let drifted = entity.drift.is_some() || entity.lost.is_some();
    state
        && filter.namespaces.as_ref().is_none_or(|all| all.contains(&manifest.namespace))
        && filter.kind.as_ref().is_none_or(|kind| *kind == manifest.kind)
        && filter.name.as_ref().is_none_or(|name| *name == manifest.name)
        && filter.backend.as_ref().is_none_or(|backend| *backend == manifest.backend)
        && filter.drifted.is_none_or(|wanted| wanted == drifted)
        && filter.selector.matches(&manifest.settings.labels)
}

/// Lists that were found, in pages of `size`.
async fn entities(views: &dyn Views, filter: &EntityFilter, size: usize) -> Vec<EntityRow> {
    let (mut rows, mut token) = (Vec::new(), None);
    loop {
        let page = views.entities(filter, size, token.as_deref()).await.unwrap();
        assert!(page.items.len() <= size);
        rows.extend(page.items);
        token = page.next;
        if token.is_none() {
            return rows;
        }
    }
}

async fn operations(views: &dyn Views, filter: &OperationFilter, size: usize) -> Vec<OperationRow> {
    let (mut rows, mut token) = (Vec::new(), None);
    loop {
        let page = views.operations(filter, size, token.as_deref()).await.unwrap();
        assert!(page.items.len() <= size);
        rows.extend(page.items);
        token = page.next;
        if token.is_none() {
            return rows;
        }
    }
}

async fn filled(store: &Subject) {
    let mut writer = HistoryWriter::new(store.clock.clone());
    writer.append_histories(&*store.log, &lives()).await;
    let events = store.log.read_log(Position::START, usize::MAX).await.unwrap().events;
    let to = events.last().unwrap().position;
    store.model.apply(Position::START, to, &events).await.unwrap();
}

#[tokio::test]
async fn every_filter_of_entities_lists_the_rows_that_fit_in_their_order() {
    for store in subjects().await {
        filled(&store).await;
        let deleted = EntityFilter { state: Some(State::Deleted), ..EntityFilter::default() };
        let mut all = entities(&*store.views, &EntityFilter::default(), 1_000).await;
        all.extend(entities(&*store.views, &deleted, 1_000).await);
        all.sort_by_key(|row| row.entity.id);
        assert!(all.len() > 40, "{}: {} rows", store.name, all.len());
        let mut found = 0;
        // Every seventh: together they have every pair of filters.
        for filter in filters().into_iter().step_by(7) {
            let expected: Vec<_> = all.iter().filter(|row| fits(&filter, row)).cloned().collect();
            let listed = entities(&*store.views, &filter, 5).await;
            assert_eq!(listed, expected, "{}: {filter:?}", store.name);
            found += listed.len();
        }
        assert!(found > 400, "{}: the filters say little: {found}", store.name);
    }
}

#[tokio::test]
async fn every_filter_of_operations_lists_the_rows_that_fit_newest_first() {
    for store in subjects().await {
        filled(&store).await;
        let all = operations(&*store.views, &OperationFilter::default(), 1_000).await;
        assert!(all.is_sorted_by(|one, next| one.id > next.id) && all.len() > 60, "{}", store.name);
        for namespaces in scopes() {
            for entity in [None, Some(all[0].entity_id)] {
                for state in [None, Some(OperationState::Succeeded), Some(OperationState::Pending)]
                {
                    let filter = OperationFilter { namespaces: namespaces.clone(), entity, state };
                    let fits = |row: &&OperationRow| {
                        namespaces.as_ref().is_none_or(|all| all.contains(&row.namespace))
                            && entity.is_none_or(|entity| row.entity_id == entity)
                            && state.is_none_or(|state| row.state == state)
                    };
                    let expected: Vec<_> = all.iter().filter(fits).cloned().collect();
                    let listed = operations(&*store.views, &filter, 7).await;
                    assert_eq!(listed, expected, "{}: {filter:?}", store.name);
                }
            }
        }
    }
}
