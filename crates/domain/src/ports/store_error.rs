//! Why a store did not answer, whichever port was called.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why a store did not answer. The class says what has to happen before the same call can succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Temporary: retry later.
    #[error("the store is not available: {source}")]
    Unavailable {
        /// What the adapter met.
        source: Cause,
    },
    /// A stored value is none that this system wrote. A retry reads the same value: a person restores the log, or
    /// deletes what is derived from it.
    #[error("{table}.{column} of {key:?} is damaged: {source}")]
    Inconsistent {
        /// Table, or file, that holds the value.
        table: String,
        /// Its column.
        column: String,
        /// Key of its row, as far as it is known; else empty.
        key: String,
        /// Why it cannot be read.
        source: Cause,
    },
    /// This process can use the store no more: it has to end.
    #[error("the store cannot be used any more: {source}")]
    Fatal {
        /// What the adapter met.
        source: Cause,
    },
}

impl StoreError {
    /// [`StoreError::Unavailable`] because of `cause`.
    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable { source: cause.into() }
    }

    /// [`StoreError::Inconsistent`]: `column` of the row `key` of `table` cannot be read because of `cause`.
    pub fn inconsistent(
        (table, column): (&str, &str),
        key: impl fmt::Display,
        cause: impl Into<Cause>,
    ) -> Self {
        let (table, column, key) = (table.to_owned(), column.to_owned(), key.to_string());
        Self::Inconsistent { table, column, key, source: cause.into() }
    }

    /// [`StoreError::Fatal`] because of `cause`.
    pub fn fatal(cause: impl Into<Cause>) -> Self {
        Self::Fatal { source: cause.into() }
    }

    /// Whether the same call may succeed later without a person's help.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// The error that an adapter met. Two are equal when they read the same.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Cause {
    fn from(error: E) -> Self {
        Self(error.into().into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Cause {}

impl std::ops::Deref for Cause {
    type Target = dyn Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}
