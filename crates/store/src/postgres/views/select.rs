//! The statement of a plan: each range in the list's order and limited to a page, merged.

use sqlx::{Postgres, QueryBuilder};
use stateward_domain::selector::{Requirement, Test};

use super::rows::ENTITY_COLUMNS;
use super::tables::DRIFTED;
use crate::shared::views::index::Column;
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
            Self::Index { .. } => format!("stateward_views.entities_v{n} e"),
            Self::Labels if rows => format!(
                "stateward_views.labels_v{n} l JOIN stateward_views.entities_v{n} e ON e.id = l.id"
            ),
            Self::Labels => format!("stateward_views.labels_v{n} l"),
        }
    }

    fn fixed(self) -> String {
        let Self::Index { index, deleted } = self else { return String::new() };
        // A query has to repeat the condition of a partial index.
        let only = if index.drifted_only() { format!(" AND e.{DRIFTED}") } else { String::new() };
        format!(" AND e.deleted = {deleted}{only}")
    }
}

impl ListTables for OperationAccessPath {
    const BACKWARDS: bool = true;

    fn row() -> &'static str {
        "e.data"
    }

    fn tables(self, n: i64, _: bool) -> String {
        format!("stateward_views.operations_v{n} e")
    }
}

/// Selects the rows of `plan` in `range` that match, at most `limit`: [`ListTables::row`] and the id.
pub(super) fn rows<S: ListTables>(
    to: &mut QueryBuilder<Postgres>,
    n: i64,
    plan: &Plan<S>,
    range: IdRange,
    limit: usize,
) {
    to.push("SELECT * FROM (");
    union(to, &plan.branches, limit, |to, branch| {
        let (tables, key) = (branch.source.tables(n, true), branch.source.key());
        to.push(format!("SELECT {}, {key}.id AS id FROM {tables} WHERE true", S::row()));
        within(to, branch, range);
        plan.rest.iter().for_each(|condition| test(to, condition));
    });
    to.push(") list").push(order::<S>("id")).push(" LIMIT ").push_bind(limit_of(limit));
}

/// Selects the id of the last of `count` rows of the ranges, matching or not; no row when fewer are left.
pub(super) fn bound<S: ListTables>(
    to: &mut QueryBuilder<Postgres>,
    n: i64,
    plan: &Plan<S>,
    range: IdRange,
    count: usize,
) {
    to.push("SELECT * FROM (");
    union(to, &plan.branches, count, |to, branch| {
        let (tables, key) = (branch.source.tables(n, false), branch.source.key());
        to.push(format!("SELECT {key}.id AS id FROM {tables} WHERE true"));
        within(to, branch, range);
    });
    to.push(") list").push(order::<S>("id")).push(" LIMIT 1 OFFSET ");
    to.push_bind(limit_of(count.saturating_sub(1)));
}

/// Each range with the list's order and limit, so that an index is read no further than a page.
fn union<S: ListTables>(
    to: &mut QueryBuilder<Postgres>,
    branches: &[Branch<S>],
    limit: usize,
    mut select: impl FnMut(&mut QueryBuilder<Postgres>, &Branch<S>),
) {
    for (number, branch) in branches.iter().enumerate() {
        to.push(if number > 0 { " UNION ALL (" } else { "(" });
        select(to, branch);
        to.push(order::<S>(&format!("{}.id", branch.source.key())));
        to.push(" LIMIT ").push_bind(limit_of(limit)).push(")");
    }
}

fn order<S: ListTables>(id: &str) -> String {
    format!(" ORDER BY {id}{}", if S::BACKWARDS { " DESC" } else { "" })
}

fn within<S: ListTables>(to: &mut QueryBuilder<Postgres>, branch: &Branch<S>, range: IdRange) {
    let key = branch.source.key();
    let (behind, up_to) = if S::BACKWARDS { ("<", ">=") } else { (">", "<=") };
    if let Some(after) = range.after {
        to.push(format!(" AND {key}.id {behind} ")).push_bind(after);
    }
    if let Some(until) = range.until {
        to.push(format!(" AND {key}.id {up_to} ")).push_bind(until);
    }
    for (column, value) in &branch.equal {
        equal(to, key, *column, value);
    }
    to.push(branch.source.fixed());
}

fn equal(to: &mut QueryBuilder<Postgres>, key: &str, column: Column, value: &str) {
    to.push(format!(" AND {key}.{} = ", column.name())).push_bind(value.to_owned());
    if column == Column::Entity {
        to.push("::uuid");
    }
}

fn test(to: &mut QueryBuilder<Postgres>, condition: &Condition) {
    match condition {
        Condition::Namespaces(names) => {
            let names: Vec<String> = names.iter().map(|name| name.0.clone()).collect();
            // As an expression: an index on the names would give rows in another order than the list's.
            to.push(" AND (e.namespace || '') = ANY (").push_bind(names).push(")");
        }
        Condition::Is(column, value) => equal(to, "e", *column, value),
        Condition::Drifted(drifted) => {
            to.push(format!(" AND e.drifted = {drifted}"));
        }
        Condition::Label(requirement) => label(to, requirement),
    }
}

fn label(to: &mut QueryBuilder<Postgres>, Requirement { key, test }: &Requirement) {
    to.push(" AND (e.labels ->> ").push_bind(key.clone());
    let (values, outcome) = match test {
        Test::In(values) => (Some(values), ") IS TRUE"),
        // An entity without the label fits.
        Test::NotIn(values) => (Some(values), ") IS NOT TRUE"),
        Test::Exists => (None, ") IS NOT NULL"),
        Test::Missing => (None, ") IS NULL"),
    };
    if let Some(values) = values {
        let values: Vec<String> = values.iter().cloned().collect();
        to.push(" = ANY (").push_bind(values).push(")");
    }
    to.push(outcome);
}
