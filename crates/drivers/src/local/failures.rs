//! What the kernel's error numbers mean to the engine.

use rustix::io::Errno;
use stateward_domain::failure::{Effect, ErrorClass, Failure};

/// The failure of something below the root. `doing` names the step; paths stay out of it, because the entity
/// that carries the failure names its path anyway.
pub(super) fn below_root(errno: Errno, doing: &str) -> Failure {
    let (class, code) = match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::MLINK => (ErrorClass::QuotaExceeded, "no_space"),
        Errno::ACCESS | Errno::PERM => (ErrorClass::Invalid, "permission_denied"),
        Errno::LOOP | Errno::XDEV => (ErrorClass::Invalid, "symlink_in_path"),
        Errno::NOTDIR => (ErrorClass::Invalid, "parent_not_directory"),
        Errno::NAMETOOLONG => (ErrorClass::Invalid, "name_too_long"),
        Errno::ROFS => (ErrorClass::Misconfigured, "read_only"),
        // The rest is the disk, memory, open files or somebody working in the same place: it may pass.
        _ => (ErrorClass::Transient, "io_error"),
    };
    Failure::harmless(class, code, format!("could not {doing}: {errno}"))
}

/// The failure of opening the root itself: that is the configuration's fault, not an entity's.
pub(super) fn of_root(errno: Errno) -> Failure {
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
