//! The statement of a plan: each range in the list's order, merged, limited to a page.

use sqlx::{QueryBuilder, Sqlite};
use stateward_domain::id::Namespace;
use stateward_domain::selector::{Requirement, Test};

use super::rows::ENTITY_COLUMNS;
use super::tables::DRIFTED;
use crate::shared::views::page::IdRange;
use crate::shared::views::plan::{Branch, Condition, EntityAccessPath, OperationAccessPath, Plan};
use crate::sql_value::limit_of;

/// What the ranges of a plan are read from.
pub(super) trait ListTables: Copy {
    /// Whether the list is newest first.
    const BACKWARDS: bool;

    /// Columns of the row `e`; its id follows.
    fn row() -> &'static str;

    /// Alias of the table that has the looked-up columns and the id.
    fn key(self) -> &'static str {
        "e"
    }

    /// The tables to select ids from; with `rows`, also the rows.
    fn tables(self, n: i64, rows: bool) -> String;

    /// Conditions besides the looked-up columns.
    fn fixed(self) -> String {
        String::new()
    }
}

impl ListTables for EntityAccessPath {
    const BACKWARDS: bool = false;

    fn row() -> &'static str {
        &ENTITY_COLUMNS
    }

    fn key(self) -> &'static str {
        if self == Self::Labels { "l" } else { "e" }
    }

    fn tables(self, n: i64, rows: bool) -> String {
        match self {
            Self::Index { index, .. } => {
                format!("entities_v{n} e INDEXED BY entities_v{n}_{}", index.name())
            }
            Self::Labels if rows => {
                format!("labels_v{n} l CROSS JOIN entities_v{n} e ON e.id = l.id")
            }
            Self::Labels => format!("labels_v{n} l"),
        }
    }

    fn fixed(self) -> String {
        let Self::Index { index, deleted } = self else { return String::new() };
        // A query has to repeat the condition of a partial index.
        let only = if index.drifted_only() { format!(" AND e.{DRIFTED}") } else { String::new() };
        format!(" AND e.deleted = {}{only}", i32::from(deleted))
    }
}

impl ListTables for OperationAccessPath {
    const BACKWARDS: bool = true;

    fn row() -> &'static str {
        "e.data"
    }

    fn tables(self, n: i64, _: bool) -> String {
        let index = match self {
            Self::All => return format!("operations_v{n} e"),
            Self::Entity => "entity",
            Self::Namespace => "namespace",
            Self::State => "state",
        };
        format!("operations_v{n} e INDEXED BY operations_v{n}_{index}")
    }
}

/// Selects the rows of `plan` in `range` that match, at most `limit`: [`ListTables::row`] and the id.
pub(super) fn rows<S: ListTables>(
    to: &mut QueryBuilder<Sqlite>,
    n: i64,
    plan: &Plan<S>,
    range: IdRange,
    limit: usize,
) {
    union(to, &plan.branches, |to, branch| {
        let (tables, key) = (branch.source.tables(n, true), branch.source.key());
        to.push(format!("SELECT {}, {key}.id AS id FROM {tables} WHERE ", S::row()));
        within(to, branch, range);
        plan.rest.iter().for_each(|condition| test(to, condition));
    });
    to.push(order::<S>()).push(" LIMIT ").push_bind(limit_of(limit));
}

/// Selects the id of the last of `count` rows of the ranges, matching or not; no row when fewer are left.
pub(super) fn bound<S: ListTables>(
    to: &mut QueryBuilder<Sqlite>,
    n: i64,
    plan: &Plan<S>,
    range: IdRange,
    count: usize,
) {
    union(to, &plan.branches, |to, branch| {
        let (tables, key) = (branch.source.tables(n, false), branch.source.key());
        to.push(format!("SELECT {key}.id AS id FROM {tables} WHERE "));
        within(to, branch, range);
    });
    to.push(order::<S>()).push(" LIMIT 1 OFFSET ").push_bind(limit_of(count.saturating_sub(1)));
}

fn union<S: ListTables>(
    to: &mut QueryBuilder<Sqlite>,
    branches: &[Branch<S>],
    mut select: impl FnMut(&mut QueryBuilder<Sqlite>, &Branch<S>),
) {
    for (number, branch) in branches.iter().enumerate() {
        if number > 0 {
            to.push(" UNION ALL ");
        }
        select(to, branch);
    }
}

const fn order<S: ListTables>() -> &'static str {
    if S::BACKWARDS { " ORDER BY id DESC" } else { " ORDER BY id" }
}

fn within<S: ListTables>(to: &mut QueryBuilder<Sqlite>, branch: &Branch<S>, range: IdRange) {
    let key = branch.source.key();
    let (behind, up_to) = if S::BACKWARDS { ("<", ">=") } else { (">", "<=") };
    // Sort before and behind every hexadecimal digit.
    let start = if S::BACKWARDS { "~" } else { "" };
    to.push(format!("{key}.id {behind} "));
    to.push_bind(range.after.map_or_else(|| start.to_owned(), |id| id.to_string()));
    if let Some(until) = range.until {
        to.push(format!(" AND {key}.id {up_to} ")).push_bind(until.to_string());
    }
    for (column, value) in &branch.equal {
        to.push(format!(" AND {key}.{} = ", column.name())).push_bind(value.clone());
    }
    to.push(branch.source.fixed());
}

fn test(to: &mut QueryBuilder<Sqlite>, condition: &Condition) {
    match condition {
        Condition::Namespaces(names) => {
            // The unary plus keeps the planner from looking the names up in an index, after which it would have to
            // sort.
            to.push(" AND +e.namespace IN (SELECT value FROM json_each(");
            to.push_bind(listed(names.iter().map(Namespace::as_str))).push("))");
        }
        Condition::Is(column, value) => {
            to.push(format!(" AND e.{} = ", column.name())).push_bind(value.clone());
        }
        Condition::Drifted(drifted) => {
            to.push(format!(" AND e.drifted = {}", i32::from(*drifted)));
        }
        Condition::Label(requirement) => label(to, requirement),
    }
}

fn label(to: &mut QueryBuilder<Sqlite>, Requirement { key, test }: &Requirement) {
    let (there, values) = match test {
        Test::In(values) => (true, Some(values)),
        Test::NotIn(values) => (false, Some(values)),
        Test::Exists => (true, None),
        Test::Missing => (false, None),
    };
    let not = if there { "" } else { "NOT " };
    to.push(format!(" AND {not}EXISTS (SELECT 1 FROM json_each(e.labels) x WHERE x.key = "));
    to.push_bind(key.clone());
    if let Some(values) = values {
        to.push(" AND x.value IN (SELECT value FROM json_each(");
        to.push_bind(listed(values.iter().map(String::as_str))).push("))");
    }
    to.push(")");
}

fn listed<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    serde_json::to_string(&texts.collect::<Vec<_>>()).expect("strings are JSON")
}
