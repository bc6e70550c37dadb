//! The kernel's error numbers as failures.

use rustix::io::Errno;
use stateward_domain::failure::{Effect, ErrorClass, Failure};

use crate::resource_exhaustion::ResourceExhausted;

/// The failure of a step below the root. `doing` names the step. The message has no path, because the entity names it
/// already.
pub(super) fn below_root(errno: Errno, doing: &str) -> Failure {
    if let Some(exhausted) = ResourceExhausted::of(errno) {
        return exhausted.failure();
    }
    let (class, code) = match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::MLINK => (ErrorClass::QuotaExceeded, "no_space"),
        // About this path alone: a directory without permission, a read-only mount below the root.
        Errno::ACCESS | Errno::PERM => (ErrorClass::Refused, "permission_denied"),
        Errno::ROFS => (ErrorClass::Refused, "read_only"),
        Errno::LOOP | Errno::XDEV => (ErrorClass::Invalid, "symlink_in_path"),
        Errno::NOTDIR => (ErrorClass::Invalid, "parent_not_directory"),
        Errno::NAMETOOLONG => (ErrorClass::Invalid, "name_too_long"),
        // The rest is a disk error or a concurrent change, and may pass.
        _ => (ErrorClass::Transient, "io_error"),
    };
    Failure::harmless(class, code, format!("could not {doing}: {errno}"))
}

/// The failure to open the root itself: a fault of the configuration, not of an entity.
pub(super) fn of_root(errno: Errno) -> Failure {
    if let Some(exhausted) = ResourceExhausted::of(errno) {
        return exhausted.failure();
    }
    let (class, code) = match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::PERM | Errno::LOOP => {
            (ErrorClass::Misconfigured, "root_unusable")
        }
        _ => (ErrorClass::Transient, "io_error"),
    };
    Failure::harmless(class, code, format!("could not open the backend's root: {errno}"))
}

/// The same failure after a change: its effect is `Maybe`.
pub(super) fn after_change(failure: Failure) -> Failure {
    Failure { effect: Effect::Maybe, ..failure }
}

/// The object at the path is not of the type `noun`.
pub(super) fn other_type(noun: &str) -> Failure {
    let message = format!("something that is no {noun} is at the path");
    Failure::harmless(ErrorClass::Invalid, "other_type", message)
}

#[cfg(test)]
mod tests {
    use ErrorClass::{Exhausted, Invalid, Misconfigured, QuotaExceeded, Refused, Transient};

    use super::*;

    /// Error number, its class below the root, and its class for the root itself. Only the latter is about the backend.
    const TABLE: &[(Errno, ErrorClass, ErrorClass)] = &[
        (Errno::ACCESS, Refused, Misconfigured),
        (Errno::PERM, Refused, Misconfigured),
        (Errno::ROFS, Refused, Transient),
        (Errno::LOOP, Invalid, Misconfigured),
        (Errno::XDEV, Invalid, Transient),
        (Errno::NOTDIR, Invalid, Misconfigured),
        (Errno::NAMETOOLONG, Invalid, Transient),
        (Errno::NOSPC, QuotaExceeded, Transient),
        (Errno::DQUOT, QuotaExceeded, Transient),
        (Errno::MLINK, QuotaExceeded, Transient),
        (Errno::NOENT, Transient, Misconfigured),
        (Errno::IO, Transient, Transient),
        (Errno::STALE, Transient, Transient),
        (Errno::BUSY, Transient, Transient),
        (Errno::MFILE, Exhausted, Exhausted),
        (Errno::NFILE, Exhausted, Exhausted),
        (Errno::NOMEM, Exhausted, Exhausted),
    ];

    #[test]
    fn an_error_about_a_path_is_none_about_the_backend() {
        for (errno, below, root) in TABLE {
            assert_eq!(below_root(*errno, "look").class, *below, "{errno} below the root");
            assert_eq!(of_root(*errno).class, *root, "{errno} of the root");
            assert_ne!(below_root(*errno, "look").class, Misconfigured, "{errno}");
        }
    }
}
