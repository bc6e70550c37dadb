//! What the kernel's error numbers mean to the engine.

use rustix::io::Errno;
use stateward_domain::failure::{Effect, ErrorClass, Failure};

use crate::resource_exhaustion::ResourceExhausted;

/// The failure of something below the root. `doing` names the step; paths stay out of it, because the entity
/// that carries the failure names its path anyway.
pub(super) fn below_root(errno: Errno, doing: &str) -> Failure {
    if let Some(exhausted) = ResourceExhausted::of(errno) {
        return exhausted.failure();
    }
    let (class, code) = match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::MLINK => (ErrorClass::QuotaExceeded, "no_space"),
        // Of this path alone: a directory without permission, a read-only mount below the root.
        Errno::ACCESS | Errno::PERM => (ErrorClass::Refused, "permission_denied"),
        Errno::ROFS => (ErrorClass::Refused, "read_only"),
        Errno::LOOP | Errno::XDEV => (ErrorClass::Invalid, "symlink_in_path"),
        Errno::NOTDIR => (ErrorClass::Invalid, "parent_not_directory"),
        Errno::NAMETOOLONG => (ErrorClass::Invalid, "name_too_long"),
        // The rest is the disk, or somebody working in the same place: it may pass.
        _ => (ErrorClass::Transient, "io_error"),
    };
    Failure::harmless(class, code, format!("could not {doing}: {errno}"))
}

/// The failure of opening the root itself: that is the configuration's fault, not an entity's.
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

/// The same failure, but after something was changed.
pub(super) fn after_change(failure: Failure) -> Failure {
    Failure { effect: Effect::Maybe, ..failure }
}

/// Something that is no `noun` sits at the path.
pub(super) fn other_type(noun: &str) -> Failure {
    let message = format!("something that is no {noun} is at the path");
    Failure::harmless(ErrorClass::Invalid, "other_type", message)
}

#[cfg(test)]
mod tests {
    use ErrorClass::{Exhausted, Invalid, Misconfigured, QuotaExceeded, Refused, Transient};

    use super::*;

    /// Each error number, what it means of something below the root, and what of the root itself. Only the latter says
    /// anything of the backend.
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
