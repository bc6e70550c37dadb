//! Every filter of the API over a small data set, for the tests of each adapter's lists.

use stateward_domain::entity::state::{Drift, DriftPolicy};
use stateward_domain::entity::{Entity, State};
use stateward_domain::id::{EntityId, Namespace};
use stateward_domain::ports::read_model::{EntityFilter, EntityRow, Views};
use stateward_domain::selector::Selector;
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use super::plan;

/// Namespaces that a caller may see.
pub(crate) fn scopes() -> Vec<Option<Vec<Namespace>>> {
    let several = |count: usize| (0..count).map(|number| Namespace(format!("n{number}"))).collect();
    vec![None, Some(vec![]), Some(several(1)), Some(several(2)), Some(several(40))]
}

fn selectors() -> Vec<String> {
    let many: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    let many = format!("a in ({})", many.join(","));
    let texts = ["", "a=1", "a=1,b=2", "a in (1,2)", "a", "!a", "a!=1", "a notin (1,2)", "a!=1,b"];
    texts.map(str::to_owned).into_iter().chain([many]).collect()
}

fn selector(text: &str) -> Selector {
    if text.is_empty() { Selector::default() } else { text.parse().expect(text) }
}

/// Every combination of filters, with one value each.
pub(crate) fn filters() -> Vec<EntityFilter> {
    let mut all = Vec::new();
    for namespaces in scopes() {
        for bits in 0..8 {
            for state in [None, Some(State::Ok), Some(State::Erred), Some(State::Deleted)] {
                for drifted in [None, Some(true), Some(false)] {
                    for text in selectors() {
                        all.push(EntityFilter {
                            namespaces: namespaces.clone(),
                            kind: (bits & 1 > 0).then(|| "fake.thing".into()),
                            name: (bits & 2 > 0).then(|| "x".into()),
                            backend: (bits & 4 > 0).then(|| "sandbox".into()),
                            state,
                            drifted,
                            selector: selector(&text),
                        });
                    }
                }
            }
        }
    }
    all
}

/// A single filter, alone or within a namespace, is served by an index as a whole.
#[test]
fn each_filter_costs_a_page() {
    let alone = |change: fn(&mut EntityFilter)| {
        let mut filter = EntityFilter::default();
        change(&mut filter);
        filter
    };
    let each = [
        alone(|_| ()),
        alone(|filter| filter.kind = Some("fake.thing".into())),
        alone(|filter| filter.name = Some("x".into())),
        alone(|filter| filter.backend = Some("sandbox".into())),
        alone(|filter| filter.state = Some(State::Erred)),
        alone(|filter| filter.state = Some(State::Ok)),
        alone(|filter| filter.state = Some(State::Deleted)),
        alone(|filter| filter.drifted = Some(true)),
        alone(|filter| filter.selector = selector("a=1")),
        alone(|filter| filter.selector = selector("a in (1,2)")),
        alone(|filter| filter.selector = selector("a")),
    ];
    for filter in each {
        for namespaces in
            scopes().into_iter().filter(|all| all.as_ref().is_none_or(|a| a.len() < 3))
        {
            let filter = EntityFilter { namespaces, ..filter.clone() };
            assert_eq!(plan::entities(&filter).rest, [], "{filter:?}");
        }
    }
}

/// A small data set in which all values are combined.
pub(crate) fn rows() -> Vec<EntityRow> {
    (0..120).map(row).collect()
}

fn row(number: usize) -> EntityRow {
    let mut entity =
        Entity { id: EntityId(Uuid::from_u128(number as u128 + 1)), ..Entity::default() };
    let manifest = &mut entity.manifest;
    manifest.namespace = Namespace(format!("n{}", number % 3));
    manifest.kind = if number.is_multiple_of(5) { "local.file" } else { "fake.thing" }.into();
    manifest.name = (&*format!("x{}", number % 7)).into();
    manifest.backend = if number.is_multiple_of(4) { "local" } else { "sandbox" }.into();
    let labels = [("a", number % 3), ("b", number % 2)];
    let labels = labels.into_iter().filter(|(key, _)| *key == "a" || number % 11 > 2);
    manifest.settings.labels =
        labels.map(|(key, value)| (key.to_owned(), value.to_string())).collect();
    entity.state =
        [State::Ok, State::Ok, State::Erred, State::Updating, State::Deleted][number % 5];
    if number.is_multiple_of(6) {
        entity.drift =
            Some(Drift { diff: Vec::new(), since: Timestamp(1), policy: DriftPolicy::default() });
    }
    let (created_at, updated_at) = (Timestamp(1), Timestamp(1));
    EntityRow { version: entity.version, entity, created_at, updated_at }
}

fn fits(filter: &EntityFilter, row: &EntityRow) -> bool {
    let (entity, manifest) = (&row.entity, &row.entity.manifest);
    let state = match filter.state {
        None => entity.state != State::Deleted,
        Some(state) => entity.state == state,
    };
    state
        && filter.namespaces.as_ref().is_none_or(|all| all.contains(&manifest.namespace))
        && filter.kind.as_ref().is_none_or(|kind| *kind == manifest.kind)
        && filter.name.as_ref().is_none_or(|name| *name == manifest.name)
        && filter.backend.as_ref().is_none_or(|backend| *backend == manifest.backend)
        && filter.drifted.is_none_or(|drifted| drifted == entity.drift.is_some())
        && filter.selector.matches(&manifest.settings.labels)
}

/// Reads every seventh of all lists from `model`, which has the rows `all` and tests at most seven rows a page, in
/// pages of five; together the lists have every pair of filters.
pub(crate) async fn check(model: &dyn Views, all: &[EntityRow]) {
    let (mut found, mut short) = (0, 0);
    for filter in filters().into_iter().step_by(7) {
        let filter = EntityFilter { name: filter.name.map(|_| "x3".into()), ..filter };
        let (mut ids, mut token) = (Vec::new(), None);
        loop {
            let page = model.entities(&filter, 5, token.as_deref()).await.expect("a page");
            short += usize::from(page.items.len() < 5 && page.next.is_some());
            ids.extend(page.items.iter().map(|row| row.entity.id));
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        let expected: Vec<_> =
            all.iter().filter(|row| fits(&filter, row)).map(|row| row.entity.id).collect();
        assert_eq!(ids, expected, "{filter:?}");
        found += ids.len();
    }
    assert!(found > 1_000 && short > 100, "the filters say little: {found} found, {short} short");
    let counts = model.counts().await.expect("counts");
    let living = all.iter().filter(|row| row.entity.state != State::Deleted).count();
    assert_eq!(counts.iter().map(|count| count.count).sum::<u64>(), living as u64);
}
