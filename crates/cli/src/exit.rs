//! Exit codes: scripts rely on them.

use std::process::ExitCode;

use reqwest::StatusCode;

/// The end of a command. Later variants are worse: a command with many results ends with the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// 0.
    Ok,
    /// 3: something that was named does not exist.
    NotFound,
    /// 4: it conflicts with the present state.
    Conflict,
    /// 5: the caller is not authenticated or not authorised.
    Access,
    /// 124, like `timeout(1)`: the time is over.
    Timeout,
    /// 1: anything else that went wrong; for `diff`: it differs.
    Failure,
    /// 2: the arguments make no sense.
    Usage,
}

impl Exit {
    /// The exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Access => 5,
            Self::Timeout => 124,
        }
    }

    /// The end that a response with this status leads to.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Access,
            StatusCode::NOT_FOUND | StatusCode::GONE => Self::NotFound,
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Self::Conflict,
            _ => Self::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error of the command line itself, with its exit code.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: Exit,
    message: String,
}

impl CliError {
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// The arguments make no sense.
    pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
        Self { exit: Exit::Usage, message: message.into() }.into()
    }

    /// Something that was named does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> anyhow::Error {
        Self { exit: Exit::NotFound, message: message.into() }.into()
    }

    /// It conflicts with the present state.
    pub(crate) fn conflict(message: impl Into<String>) -> anyhow::Error {
        Self { exit: Exit::Conflict, message: message.into() }.into()
    }

    /// The time is over.
    pub(crate) fn timeout(message: impl Into<String>) -> anyhow::Error {
        Self { exit: Exit::Timeout, message: message.into() }.into()
    }

    /// The reader closed the pipe: ends with 0 and without a message.
    pub(crate) fn closed_pipe() -> anyhow::Error {
        Self { exit: Exit::Ok, message: String::new() }.into()
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_code() {
        for (status, code) in [(401, 5), (403, 5), (404, 3), (410, 3), (409, 4), (412, 4), (422, 1)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Exit::of_status(status).code(), code, "{status}");
        }
        assert_eq!((Exit::Timeout.code(), Exit::Usage.code()), (124, 2));
    }

    #[test]
    fn the_worst_of_many_is_the_exit_code() {
        let worst = [Exit::NotFound, Exit::Failure, Exit::Conflict].into_iter().max();
        assert_eq!(worst, Some(Exit::Failure));
    }
}
