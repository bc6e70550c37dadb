//! Integers as `SQLite` stores them: signed, with 64 bits. A number out of range saturates.

/// `value` as a signed integer; at most [`i64::MAX`].
pub(in crate::sqlite) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// `value` as an unsigned integer; a negative one is 0.
pub(in crate::sqlite) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// The argument of a LIMIT or OFFSET; at most [`i64::MAX`].
pub(in crate::sqlite) fn limit_of(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
