//! The indexes of the entities' table that lists are read from. Each has the columns that it looks up, then
//! `deleted`, then the id.

/// An index of `entities_v<n>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
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
    pub(super) const ALL: [Self; 12] = [
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
    pub(super) const fn name(self) -> &'static str {
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
    const fn column(self) -> Option<&'static str> {
        match self {
            Self::All | Self::Namespace | Self::Drifted | Self::DriftedWithin => None,
            Self::Kind | Self::KindWithin => Some("kind"),
            Self::Name | Self::NameWithin => Some("name"),
            Self::Backend | Self::BackendWithin => Some("backend"),
            Self::State | Self::StateWithin => Some("state"),
        }
    }

    /// The columns that it looks up, in order; `deleted` and `id` follow.
    pub(super) fn columns(self) -> impl Iterator<Item = &'static str> {
        let within = matches!(
            self,
            Self::Namespace
                | Self::KindWithin
                | Self::NameWithin
                | Self::BackendWithin
                | Self::StateWithin
                | Self::DriftedWithin
        );
        within.then_some("namespace").into_iter().chain(self.column())
    }

    /// The condition of a partial index; a query has to repeat it.
    pub(super) const fn condition(self) -> Option<&'static str> {
        match self {
            Self::Drifted | Self::DriftedWithin => Some("drifted = 1"),
            _ => None,
        }
    }

    pub(super) fn definition(self, n: i64) -> String {
        let columns: String = self.columns().map(|column| format!("{column}, ")).collect();
        let only = self.condition().map(|condition| format!(" WHERE {condition}"));
        format!(
            "CREATE INDEX entities_v{n}_{} ON entities_v{n} ({columns}deleted, id){};",
            self.name(),
            only.unwrap_or_default()
        )
    }
}
