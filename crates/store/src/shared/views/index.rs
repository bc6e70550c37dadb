//! The indexes of the entities' table that lists are read from. Each has the columns that it looks up, then
//! `deleted`, then the id. An adapter says how they are created.

use stateward_domain::ports::read_model::EntityRow;

use super::labels_and_counts::is_drifted;

/// A column that lists look rows up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Column {
    Namespace,
    Kind,
    Name,
    Backend,
    State,
    /// Of operations.
    Entity,
    /// Of labels.
    Key,
    /// Of labels.
    Value,
}

impl Column {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Kind => "kind",
            Self::Name => "name",
            Self::Backend => "backend",
            Self::State => "state",
            Self::Entity => "entity",
            Self::Key => "key",
            Self::Value => "value",
        }
    }

    /// Its value in the row of an entity; `None` = entities do not have the column.
    pub(crate) fn of_entity(self, row: &EntityRow) -> Option<&str> {
        let manifest = &row.entity.manifest;
        match self {
            Self::Namespace => Some(&manifest.namespace.0),
            Self::Kind => Some(&manifest.kind.0),
            Self::Name => Some(&manifest.name.0),
            Self::Backend => Some(&manifest.backend.0),
            Self::State => Some(row.entity.state.name()),
            Self::Entity | Self::Key | Self::Value => None,
        }
    }
}

/// An index of `entities_v<n>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Index {
    All,
    Namespace,
    Kind,
    KindWithin,
    Name,
    NameWithin,
    Backend,
    BackendWithin,
    State,
    StateWithin,
    Drifted,
    DriftedWithin,
}

impl Index {
    pub(crate) const ALL: [Self; 12] = [
        Self::All,
        Self::Namespace,
        Self::Kind,
        Self::KindWithin,
        Self::Name,
        Self::NameWithin,
        Self::Backend,
        Self::BackendWithin,
        Self::State,
        Self::StateWithin,
        Self::Drifted,
        Self::DriftedWithin,
    ];

    /// Suffix of its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Namespace => "namespace",
            Self::Kind => "kind",
            Self::KindWithin => "kind_within",
            Self::Name => "name",
            Self::NameWithin => "name_within",
            Self::Backend => "backend",
            Self::BackendWithin => "backend_within",
            Self::State => "state",
            Self::StateWithin => "state_within",
            Self::Drifted => "drifted",
            Self::DriftedWithin => "drifted_within",
        }
    }

    /// The column that it looks up besides `namespace` and `deleted`.
    const fn column(self) -> Option<Column> {
        match self {
            Self::All | Self::Namespace | Self::Drifted | Self::DriftedWithin => None,
            Self::Kind | Self::KindWithin => Some(Column::Kind),
            Self::Name | Self::NameWithin => Some(Column::Name),
            Self::Backend | Self::BackendWithin => Some(Column::Backend),
            Self::State | Self::StateWithin => Some(Column::State),
        }
    }

    /// The columns that it looks up, in order; `deleted` and `id` follow.
    pub(crate) fn columns(self) -> impl Iterator<Item = Column> {
        let within = matches!(
            self,
            Self::Namespace
                | Self::KindWithin
                | Self::NameWithin
                | Self::BackendWithin
                | Self::StateWithin
                | Self::DriftedWithin
        );
        within.then_some(Column::Namespace).into_iter().chain(self.column())
    }

    /// Whether it has drifted entities only; a query has to say so.
    pub(crate) const fn drifted_only(self) -> bool {
        matches!(self, Self::Drifted | Self::DriftedWithin)
    }

    /// Whether it has this row.
    pub(crate) fn has(self, row: &EntityRow) -> bool {
        !self.drifted_only() || is_drifted(row)
    }
}
