//! Chooses the index for a filter; what the index does not serve is tested row by row. A plan is a function of the
//! filter alone, and the statement names its indexes: the cost of a list does not depend on the query planner.

use stateward_domain::entity::State;
use stateward_domain::entity::operation::{OperationRow, OperationState};
use stateward_domain::id::Namespace;
use stateward_domain::ports::read_model::{EntityFilter, EntityRow, OperationFilter};
use stateward_domain::selector::{Requirement, Test};

use super::columns::state_name;
use super::index::{Column, Index};
use super::labels_and_counts::{ANY_VALUE, EVERYWHERE, exact_value, is_drifted};

/// Index ranges that are merged, at most; a condition with more is tested row by row.
pub(crate) const BRANCHES_MAX: usize = 32;

/// How a list is read: index ranges in the list's order, which are merged, and conditions that each row is tested
/// for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan<S> {
    /// Disjoint ranges; none = the list is empty.
    pub(crate) branches: Vec<Branch<S>>,
    /// All of these have to hold; none = every row of the ranges matches.
    pub(crate) rest: Vec<Condition>,
}

/// The rows of an access path in which these columns have these values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Branch<S> {
    pub(crate) source: S,
    pub(crate) equal: Vec<(Column, String)>,
}

/// What entities are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EntityAccessPath {
    Index { index: Index, deleted: bool },
    Labels,
}

/// What operations are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OperationAccessPath {
    All,
    Entity,
    Namespace,
    State,
}

/// A condition that rows are tested for. An adapter writes it as a predicate of its database, or tests a row itself
/// ([`of_entity`](Self::of_entity), [`of_operation`](Self::of_operation)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Namespaces(Vec<Namespace>),
    Is(Column, String),
    Drifted(bool),
    Label(Requirement),
}

impl Condition {
    /// Whether the row of an entity fits.
    pub(crate) fn of_entity(&self, row: &EntityRow) -> bool {
        let manifest = &row.entity.manifest;
        match self {
            Self::Namespaces(all) => all.contains(&manifest.namespace),
            Self::Is(column, value) => column.of_entity(row) == Some(value),
            Self::Drifted(drifted) => is_drifted(row) == *drifted,
            Self::Label(requirement) => requirement.is_met(&manifest.settings.labels),
        }
    }

    /// Whether the row of an operation fits.
    pub(crate) fn of_operation(&self, row: &OperationRow) -> bool {
        match self {
            Self::Namespaces(all) => all.contains(&row.namespace),
            Self::Is(Column::Entity, value) => row.entity_id.to_string() == *value,
            Self::Is(Column::State, value) => state_name(row.state) == value,
            Self::Is(Column::Namespace, value) => row.namespace.0 == *value,
            // Operations have neither: no plan asks for them.
            Self::Is(..) | Self::Drifted(_) | Self::Label(_) => false,
        }
    }
}

/// A part of a filter that an index can look up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lookup {
    Column(Column, String),
    Drifted,
    Label(Requirement),
}

impl Lookup {
    fn condition(self) -> Condition {
        match self {
            Self::Column(column, value) => Condition::Is(column, value),
            Self::Drifted => Condition::Drifted(true),
            Self::Label(requirement) => Condition::Label(requirement),
        }
    }

    /// Columns and their values for each range; none where no index serves it.
    fn ranges(&self) -> Vec<Vec<(Column, String)>> {
        match self {
            Self::Column(column, value) => vec![vec![(*column, value.clone())]],
            Self::Drifted => vec![Vec::new()],
            Self::Label(Requirement { key, test }) => {
                let range =
                    |value: String| vec![(Column::Key, key.clone()), (Column::Value, value)];
                match test {
                    Test::In(values) => {
                        values.iter().map(|value| range(exact_value(value))).collect()
                    }
                    Test::Exists => vec![range(ANY_VALUE.to_owned())],
                    Test::NotIn(_) | Test::Missing => Vec::new(),
                }
            }
        }
    }

    fn source(&self, within: bool, deleted: bool) -> EntityAccessPath {
        let index = match (self, within) {
            (Self::Label(_), _) => return EntityAccessPath::Labels,
            (Self::Drifted, false) => Index::Drifted,
            (Self::Drifted, true) => Index::DriftedWithin,
            (Self::Column(Column::Name, _), false) => Index::Name,
            (Self::Column(Column::Name, _), true) => Index::NameWithin,
            (Self::Column(Column::Backend, _), false) => Index::Backend,
            (Self::Column(Column::Backend, _), true) => Index::BackendWithin,
            (Self::Column(Column::State, _), false) => Index::State,
            (Self::Column(Column::State, _), true) => Index::StateWithin,
            (Self::Column(..), false) => Index::Kind,
            (Self::Column(..), true) => Index::KindWithin,
        };
        EntityAccessPath::Index { index, deleted }
    }
}

/// Splits a filter into parts that can be looked up, the most selective first (as a rule), and parts that can only be
/// tested.
fn parts(filter: &EntityFilter) -> (Vec<Lookup>, Vec<Condition>) {
    let column = |name, value: Option<&str>| {
        value.map(|value| Lookup::Column(name, value.to_owned())).into_iter()
    };
    let living = filter.state != Some(State::Deleted);
    let state = filter.state.filter(|_| living);
    // Most entities are `ok` as a rule, so that is hardly selective.
    let state = |ok: bool| {
        column(Column::State, state.filter(|s| (*s == State::Ok) == ok).map(State::name))
    };
    let (mut one_of, mut there, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for requirement in &filter.selector.requirements {
        let label = requirement.clone();
        match &requirement.test {
            Test::In(_) if living => one_of.push(Lookup::Label(label)),
            Test::Exists if living => there.push(Lookup::Label(label)),
            _ => rest.push(Condition::Label(label)),
        }
    }
    let drifted = (filter.drifted == Some(true)).then_some(Lookup::Drifted);
    rest.extend((filter.drifted == Some(false)).then_some(Condition::Drifted(false)));
    let lookups = column(Column::Name, filter.name.as_ref().map(|name| &*name.0))
        .chain(one_of)
        .chain(drifted)
        .chain(state(false))
        .chain(there)
        .chain(column(Column::Backend, filter.backend.as_ref().map(|name| &*name.0)))
        .chain(column(Column::Kind, filter.kind.as_ref().map(|name| &*name.0)))
        .chain(state(true));
    (lookups.collect(), rest)
}

/// The plan of a list of entities.
pub(crate) fn entities(filter: &EntityFilter) -> Plan<EntityAccessPath> {
    let deleted = filter.state == Some(State::Deleted);
    let namespaces = filter.namespaces.as_deref();
    let (mut lookups, mut rest) = parts(filter);
    let few = |lookup: &Lookup| (1..=BRANCHES_MAX).contains(&lookup.ranges().len());
    let lookup = lookups.iter().position(few).map(|first| lookups.remove(first));
    rest.extend(lookups.into_iter().map(Lookup::condition));
    let ranges = lookup.as_ref().map_or_else(|| vec![Vec::new()], Lookup::ranges);
    // A few namespaces are merged; many are tested row by row.
    let within = namespaces.filter(|all| all.len() * ranges.len() <= BRANCHES_MAX);
    if within.is_none() {
        rest.extend(namespaces.map(|all| Condition::Namespaces(all.to_vec())));
    }
    let source = match &lookup {
        Some(lookup) => lookup.source(within.is_some(), deleted),
        None if within.is_some() => EntityAccessPath::Index { index: Index::Namespace, deleted },
        None => EntityAccessPath::Index { index: Index::All, deleted },
    };
    let place = |name: &str| (Column::Namespace, name.to_owned());
    let places: Vec<_> = match within {
        Some(all) => all.iter().map(|name| vec![place(&name.0)]).collect(),
        None if source == EntityAccessPath::Labels => vec![vec![place(EVERYWHERE)]],
        None => vec![Vec::new()],
    };
    let branch = |place: &Vec<_>, range: &Vec<_>| Branch {
        source,
        equal: place.iter().chain(range).cloned().collect(),
    };
    let branches =
        places.iter().flat_map(|place| ranges.iter().map(move |range| branch(place, range)));
    Plan { branches: branches.collect(), rest }
}

/// The plan of a list of operations.
pub(crate) fn operations(filter: &OperationFilter) -> Plan<OperationAccessPath> {
    let entity = filter.entity.map(|id| (Column::Entity, id.to_string()));
    let state = filter.state.map(|state| (Column::State, state_name(state).to_owned()));
    let namespaces = filter.namespaces.as_deref();
    let few = |all: &&[Namespace]| all.len() <= BRANCHES_MAX;
    // Most operations have succeeded as a rule, so that is hardly selective.
    let rare = filter.state.is_some_and(|state| state != OperationState::Succeeded);
    let one = |source, equal| vec![Branch { source, equal: vec![equal] }];
    let place = |name: &Namespace| Branch {
        source: OperationAccessPath::Namespace,
        equal: vec![(Column::Namespace, name.0.clone())],
    };
    let is = |(column, value)| Condition::Is(column, value);
    let inside = || namespaces.map(|all| Condition::Namespaces(all.to_vec()));
    let (branches, rest): (_, Vec<_>) = match (entity, state, namespaces.filter(few)) {
        (.., Some([])) => (Vec::new(), Vec::new()),
        (Some(entity), state, _) => (
            one(OperationAccessPath::Entity, entity),
            state.map(is).into_iter().chain(inside()).collect(),
        ),
        (None, Some(state), within) if rare || within.is_none() => {
            (one(OperationAccessPath::State, state), inside().into_iter().collect())
        }
        (None, state, Some(within)) => {
            (within.iter().map(place).collect(), state.map(is).into_iter().collect())
        }
        (None, _, None) => {
            let all = Branch { source: OperationAccessPath::All, equal: Vec::new() };
            (vec![all], inside().into_iter().collect())
        }
    };
    Plan { branches, rest }
}
