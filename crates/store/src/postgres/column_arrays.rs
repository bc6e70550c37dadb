//! Rows as one array for each column, as statements take them: one value list for any number of rows.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{FromRow, Postgres};

use crate::shared::stored_row::{RowValues, StoredRow, Value};

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    /// `text`.
    Text,
    /// `uuid`, sent as a text.
    Uuid,
    /// `jsonb`, sent as a text.
    Json,
    /// `bigint`.
    Number,
    /// `boolean`.
    Flag,
}

impl ColumnType {
    /// Type of the array that is sent.
    pub(super) const fn sent(self) -> &'static str {
        match self {
            Self::Text | Self::Uuid | Self::Json => "text[]",
            Self::Number => "bigint[]",
            Self::Flag => "boolean[]",
        }
    }

    /// Cast of a sent value to the column's type.
    pub(super) const fn cast(self) -> &'static str {
        match self {
            Self::Uuid => "::uuid",
            Self::Json => "::jsonb",
            Self::Text | Self::Number | Self::Flag => "",
        }
    }
}

/// Rows of a table, turned into columns.
pub(super) struct ColumnArrays(Vec<Array>);

enum Array {
    Text(Vec<Option<String>>),
    Number(Vec<Option<i64>>),
    Flag(Vec<Option<bool>>),
}

impl ColumnArrays {
    /// The columns of `rows`, whose types are `types`, in the order of [`StoredRow::COLUMNS`].
    pub(super) fn of<R: StoredRow>(rows: &[R], types: &[ColumnType]) -> Self {
        debug_assert_eq!(types.len(), R::COLUMNS.len());
        let array = |column: &ColumnType| match column {
            ColumnType::Text | ColumnType::Uuid | ColumnType::Json => {
                Array::Text(Vec::with_capacity(rows.len()))
            }
            ColumnType::Number => Array::Number(Vec::with_capacity(rows.len())),
            ColumnType::Flag => Array::Flag(Vec::with_capacity(rows.len())),
        };
        let mut arrays: Vec<Array> = types.iter().map(array).collect();
        for row in rows {
            row.put(&mut RowOfArrays { arrays: &mut arrays, next: 0 });
        }
        Self(arrays)
    }

    /// Binds each column, in order.
    pub(super) fn bind<'q, O>(
        self,
        query: QueryAs<'q, Postgres, O, PgArguments>,
    ) -> QueryAs<'q, Postgres, O, PgArguments>
    where
        O: for<'r> FromRow<'r, PgRow>,
    {
        self.0.into_iter().fold(query, |query, array| match array {
            Array::Text(values) => query.bind(values),
            Array::Number(values) => query.bind(values),
            Array::Flag(values) => query.bind(values),
        })
    }
}

/// A row that is being added.
struct RowOfArrays<'a> {
    arrays: &'a mut [Array],
    next: usize,
}

impl RowValues for RowOfArrays<'_> {
    fn put(&mut self, column: &'static str, value: impl Into<Value>) -> &mut Self {
        match (&mut self.arrays[self.next], value.into()) {
            (Array::Text(values), Value::Text(text)) => values.push(Some(text)),
            (Array::Text(values), Value::Shared(text)) => values.push(Some(text.to_string())),
            (Array::Text(values), Value::Name(name)) => values.push(Some(name.to_owned())),
            (Array::Text(values), Value::Missing) => values.push(None),
            (Array::Number(values), Value::Number(number)) => values.push(Some(number)),
            (Array::Number(values), Value::Missing) => values.push(None),
            (Array::Flag(values), Value::Flag(flag)) => values.push(Some(flag)),
            (Array::Flag(values), Value::Missing) => values.push(None),
            (_, value) => unreachable!("{column} has the value {value:?} of another type"),
        }
        self.next += 1;
        self
    }
}
