//! Integers as `SQLite` stores them: signed, with 64 bits.

use crate::sqlite::error::undecodable;

/// `value` as a signed integer; at most [`i64::MAX`].
pub(in crate::sqlite) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// `value` of the column `place` in the row `key` as an unsigned integer.
///
/// # Errors
/// A negative one was not written by this system.
pub(in crate::sqlite) fn unsigned(
    place: (&'static str, &'static str),
    key: &str,
    value: i64,
) -> Result<u64, sqlx::Error> {
    u64::try_from(value).map_err(|error| undecodable(place, key, error))
}

/// The argument of a LIMIT or OFFSET; at most [`i64::MAX`].
pub(in crate::sqlite) fn limit_of(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
