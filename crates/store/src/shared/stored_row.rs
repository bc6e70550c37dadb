//! Rows of tables as lists of named values: one list of columns for each table, whatever database has it.

use stateward_domain::ports::store_error::StoreError;
use std::fmt::Display;
use std::sync::Arc;

/// A value of a column. An adapter stores each variant in the column type that its schema says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    /// A text that many rows share.
    Shared(Arc<str>),
    /// A name that this program knows.
    Name(&'static str),
    Number(i64),
    Flag(bool),
    Bytes(Vec<u8>),
    Missing,
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}

impl From<&'static str> for Value {
    fn from(name: &'static str) -> Self {
        Self::Name(name)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

/// Receives the values of a row, in the order of its columns.
pub(crate) trait RowValues {
    /// Adds the value of `column`. Where the place alone counts, the name is not read.
    fn put(&mut self, column: &'static str, value: impl Into<Value>) -> &mut Self;
}

/// What a row of a table is written from.
pub(crate) trait StoredRow {
    /// Columns of the table, in the order of [`put`](Self::put). The first one is never NULL.
    const COLUMNS: &'static [&'static str];

    /// Adds a value for each of [`COLUMNS`](Self::COLUMNS).
    fn put(&self, to: &mut impl RowValues);
}

impl<R: StoredRow + ?Sized> StoredRow for &R {
    const COLUMNS: &'static [&'static str] = R::COLUMNS;

    fn put(&self, to: &mut impl RowValues) {
        (**self).put(to);
    }
}

/// A number as databases store it: signed, with 64 bits; at most [`i64::MAX`].
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number of the column `place` in the row `key` that cannot be negative.
///
/// # Errors
/// [`StoreError::Inconsistent`]: a negative one was not written by this system.
pub(crate) fn unsigned(
    place: (&str, &str),
    key: impl Display,
    value: i64,
) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|error| StoreError::inconsistent(place, key, error))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row as names and values.
    #[derive(Default)]
    struct NamedValues(Vec<(&'static str, Value)>);

    impl RowValues for NamedValues {
        fn put(&mut self, column: &'static str, value: impl Into<Value>) -> &mut Self {
            self.0.push((column, value.into()));
            self
        }
    }

    /// The values of a row, after a check that each column has one, in its place.
    pub(crate) fn values<R: StoredRow>(row: &R) -> Vec<Value> {
        let mut filled = NamedValues::default();
        row.put(&mut filled);
        let (names, values): (Vec<_>, Vec<_>) = filled.0.into_iter().unzip();
        assert_eq!(names, R::COLUMNS);
        values
    }

    #[test]
    fn a_missing_value_is_none_of_any_type() {
        assert_eq!(Value::from(None::<i64>), Value::Missing);
        assert_eq!(Value::from(Some(3)), Value::Number(3));
        assert_eq!(Value::from(Some("a".to_owned())), Value::Text("a".to_owned()));
    }

    #[test]
    fn a_number_is_read_as_it_was_written_and_a_negative_one_is_refused() {
        assert_eq!((signed(7), signed(u64::MAX)), (7, i64::MAX));
        let read = |number| unsigned(("t", "c"), "k", number);
        assert_eq!((read(0), read(i64::MAX)), (Ok(0), Ok(i64::MAX as u64)));
        assert!(matches!(read(-1), Err(StoreError::Inconsistent { .. })));
    }
}
