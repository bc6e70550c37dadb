//! Values of SQL rows, as every SQL adapter reads and writes them.

use std::error::Error;
use std::str::FromStr;

use stateward_domain::ports::store_error::StoreError;

/// A stored value that no version wrote.
#[derive(Debug, thiserror::Error)]
#[error("{table}.{column} of {key:?} cannot be read: {source}")]
struct Undecodable {
    table: &'static str,
    column: &'static str,
    key: String,
    source: Box<dyn Error + Send + Sync>,
}

/// The error for `column` of the row `key` of `table`, whose value no version wrote.
pub(crate) fn undecodable(
    (table, column): (&'static str, &'static str),
    key: &str,
    source: impl Into<Box<dyn Error + Send + Sync>>,
) -> sqlx::Error {
    let (key, source) = (key.to_owned(), source.into());
    sqlx::Error::Decode(Box::new(Undecodable { table, column, key, source }))
}

/// The inconsistency that `error` stands for.
///
/// # Errors
/// `error` itself, when it is not about a value.
pub(crate) fn inconsistency(error: sqlx::Error) -> Result<StoreError, sqlx::Error> {
    match error {
        sqlx::Error::Decode(source) => Ok(match source.downcast::<Undecodable>() {
            Ok(value) => {
                let Undecodable { table, column, key, source } = *value;
                StoreError::inconsistent((table, column), key, source)
            }
            Err(source) => StoreError::inconsistent(("", ""), "", source),
        }),
        sqlx::Error::ColumnDecode { index, source } => {
            Ok(StoreError::inconsistent(("", &index), "", source))
        }
        other => Err(other),
    }
}

/// The value that `text` stands for, in the column `place` of the row `key`.
///
/// # Errors
/// [`undecodable`]: no version wrote it.
pub(crate) fn parsed<T>(
    place: (&'static str, &'static str),
    key: &str,
    text: &str,
) -> Result<T, sqlx::Error>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    text.parse().map_err(|error: T::Err| undecodable(place, key, error))
}

/// `value` of the column `place` in the row `key` as an unsigned integer.
///
/// # Errors
/// [`undecodable`]: a negative one was not written by this system.
pub(crate) fn unsigned(
    place: (&'static str, &'static str),
    key: &str,
    value: i64,
) -> Result<u64, sqlx::Error> {
    u64::try_from(value).map_err(|error| undecodable(place, key, error))
}

/// The argument of a LIMIT or OFFSET; at most [`i64::MAX`].
pub(crate) fn limit_of(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
