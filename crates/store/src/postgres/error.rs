//! Errors of the database, by what has to happen before the same call can succeed.

use sqlx::postgres::{PgDatabaseError, PgSeverity};
use stateward_domain::ports::store_error::StoreError;

use crate::sql_value::inconsistency;

use super::target::BadUrl;

/// Why the store could not be opened: one line for the terminal. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no database.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// No host is a writable primary.
    #[error("no primary of the database {database}: {reasons}")]
    NoPrimary {
        /// Name of the database.
        database: String,
        /// What each host answered.
        reasons: String,
    },
    /// A pooler lends its sessions for a transaction: settings and prepared statements would be lost.
    #[error(
        "a pooler before the database {0} lends a session for each transaction: set its pool_mode to session, or connect \
         directly"
    )]
    Pooler(String),
    /// The server is too old.
    #[error("PostgreSQL {0} is too old: version 15 or a newer one is needed")]
    TooOld(String),
    /// The database has no log.
    #[error("the database {0} has no log yet: run `stateward migrate` as its owner")]
    NotMigrated(String),
    /// The schema `stateward` is another program's.
    #[error("the schema stateward of the database {0} is another program's; nothing was changed")]
    Foreign(String),
    /// The schema is of another version of stateward.
    #[error(
        "the schema stateward of the database {database} has version {found}, and not {known}: {advice}"
    )]
    OtherVersion {
        /// Name of the database.
        database: String,
        /// Its version.
        found: i64,
        /// The version that this program needs.
        known: i64,
        /// What to do about it.
        advice: &'static str,
    },
    /// The role lacks rights.
    #[error("the role {role} lacks rights in the database {database}: {missing}")]
    Rights {
        /// Name of the role.
        role: String,
        /// Name of the database.
        database: String,
        /// The rights, as `GRANT` names them.
        missing: String,
    },
    /// The log cannot be continued.
    #[error("the log of the database {database} cannot be written: {fault}")]
    Damaged {
        /// Name of the database.
        database: String,
        /// What was found.
        fault: String,
    },
    /// The clock of this machine is too far from the database's.
    #[error("{skew}, {database}: correct it (NTP), then start again")]
    Clock {
        /// Name of the database.
        database: String,
        /// How far, and on which side.
        skew: String,
    },
    /// Everything else.
    #[error("the database {database} cannot be used: {message}")]
    Database {
        /// Name of the database.
        database: String,
        /// The server's error.
        message: String,
    },
}

/// What an error says about the connection and the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// The statement wrote nothing, and the same one may succeed: a deadlock, a lock or memory that was not got.
    Contended,
    /// The statement wrote nothing: a unique constraint.
    Unique,
    /// The statement wrote nothing: the disk is full, or connections are used up.
    Exhausted,
    /// The statement wrote nothing: this server is no writable primary.
    ReadOnly,
    /// The connection ended. It is unknown what became of a statement that was sent.
    Lost,
    /// A value that this system did not write.
    Undecodable,
    /// The statement was refused, or is wrong. It wrote nothing.
    Refused,
}

/// Class of an error of a statement.
pub(super) fn classify(error: &sqlx::Error) -> ErrorClass {
    match error {
        sqlx::Error::Database(error) => {
            let severity = error
                .try_downcast_ref::<PgDatabaseError>()
                .map_or(PgSeverity::Error, PgDatabaseError::severity);
            let fatal = matches!(severity, PgSeverity::Fatal | PgSeverity::Panic);
            class_of_code(error.code().as_deref().unwrap_or_default(), fatal)
        }
        sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. } => ErrorClass::Undecodable,
        sqlx::Error::Configuration(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::InvalidArgument(_) => ErrorClass::Refused,
        _ => ErrorClass::Lost,
    }
}

/// Class of an SQLSTATE. A fatal error ends the session: also one that waited for its standby after it committed.
fn class_of_code(code: &str, fatal: bool) -> ErrorClass {
    match code {
        "25006" => ErrorClass::ReadOnly,
        // 53300: too many connections, which is fatal, but before any statement.
        _ if code.starts_with("53") && code != "53200" => ErrorClass::Exhausted,
        _ if fatal || code.starts_with("57P") || code.starts_with("08") => ErrorClass::Lost,
        "40P01" | "40001" | "55P03" | "53200" => ErrorClass::Contended,
        "23505" => ErrorClass::Unique,
        _ => ErrorClass::Refused,
    }
}

/// The innermost message in one line: sqlx repeats it in every wrapper.
pub(super) fn message(error: &sqlx::Error) -> String {
    let text = match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The error of a call that only read, or that certainly wrote nothing.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    inconsistency(error).unwrap_or_else(|error| StoreError::unavailable(message(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql_value::undecodable;

    #[test]
    fn every_state_of_the_server_has_a_class() {
        for (code, fatal, class) in [
            ("40P01", false, ErrorClass::Contended),
            ("40001", false, ErrorClass::Contended),
            ("55P03", false, ErrorClass::Contended),
            ("53200", false, ErrorClass::Contended),
            ("53100", false, ErrorClass::Exhausted),
            ("53300", true, ErrorClass::Exhausted),
            ("25006", false, ErrorClass::ReadOnly),
            ("23505", false, ErrorClass::Unique),
            ("57P01", true, ErrorClass::Lost),
            ("57P03", true, ErrorClass::Lost),
            ("08006", false, ErrorClass::Lost),
            ("XX000", true, ErrorClass::Lost),
            ("SW001", false, ErrorClass::Refused),
            ("42501", false, ErrorClass::Refused),
            ("", false, ErrorClass::Refused),
        ] {
            assert_eq!(class_of_code(code, fatal), class, "{code} {fatal}");
        }
    }

    #[test]
    fn a_broken_connection_is_lost_and_a_wrong_value_is_not() {
        let io = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(classify(&io), ErrorClass::Lost);
        assert!(store_error(io).is_temporary());
        let wrong = undecodable(("events", "hash"), "a/1", "too short");
        assert_eq!(classify(&wrong), ErrorClass::Undecodable);
        let StoreError::Inconsistent { table, column, key, .. } = store_error(wrong) else {
            panic!("a damaged value is not temporary");
        };
        assert_eq!((&*table, &*column, &*key), ("events", "hash", "a/1"));
    }
}
