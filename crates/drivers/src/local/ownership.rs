//! Owner, group and mode of objects that are created or rewritten: a managed value is set or the change fails; an
//! unmanaged one is kept if possible.
//!
//! Invariant: a set-user-ID or set-group-ID bit never passes to another owner or group, because it is an authority of
//! theirs. If they cannot be kept, the bit is dropped, or the change fails if the mode is managed.

use std::os::fd::AsRawFd;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use stateward_domain::failure::{ErrorClass, Failure};

use super::errors;
use super::spec::Spec;

const SET_IDS: u32 = 0o6000;
const OWNER_READS: u32 = 0o400;

/// The values in a desired state; `None` = not managed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ManagedOwnership {
    pub(super) owner: Option<u32>,
    pub(super) group: Option<u32>,
    pub(super) mode: Option<u32>,
}

/// The values of an object before it was rewritten.
#[derive(Clone, Copy, Debug)]
pub(super) struct PreviousOwnership {
    owner: u32,
    group: u32,
    mode: u32,
}

impl ManagedOwnership {
    /// The values of `spec`, with names resolved to ids.
    ///
    /// # Errors
    /// `Invalid` for names that the system does not know.
    pub(super) fn of(spec: &Spec) -> Result<Self, Failure> {
        Ok(Self {
            owner: spec.owner.as_ref().map(super::accounts::Account::uid).transpose()?,
            group: spec.group.as_ref().map(super::accounts::Account::gid).transpose()?,
            mode: spec.mode,
        })
    }
}

impl From<&Stat> for PreviousOwnership {
    fn from(stat: &Stat) -> Self {
        Self { owner: stat.st_uid, group: stat.st_gid, mode: stat.st_mode & 0o7777 }
    }
}

/// Sets owner, group and mode of `object`; `before` = those of the object that it replaces.
///
/// `object` may be an `O_PATH` handle, because a mode may forbid any other.
///
/// # Errors
/// `Invalid` if this process may not set a managed value; failures of the disk.
pub(super) fn apply(
    object: &OwnedFd,
    managed: &ManagedOwnership,
    before: Option<&PreviousOwnership>,
) -> Result<(), Failure> {
    set_owner_and_group(object, managed, before)?;
    let now = stat(object)?;
    let is_file = FileType::from_raw_mode(now.st_mode).is_file();
    let Some(mode) = target_mode(is_file, managed, before, &PreviousOwnership::from(&now))? else {
        return Ok(());
    };
    if now.st_mode & 0o7777 != mode
        && let Err(errno) = set_mode(object, mode)
    {
        let managed = managed.mode.map(|_| refused(errno, "mode", "change the mode"));
        return managed.map_or(Ok(()), Err);
    }
    if stat(object)?.st_mode & 0o7777 != mode && managed.mode.is_some() {
        return Err(not_permitted("mode", "drops bits of it, as of a group that it is not in"));
    }
    if is_file && !readable(object)? {
        if managed.mode.is_some() {
            let message = "with this owner and mode, this process could not read the file back";
            return Err(Failure::harmless(ErrorClass::Invalid, "mode_hides_content", message));
        }
        set_mode(object, mode | OWNER_READS)
            .map_err(|errno| errors::below_root(errno, "change the mode"))?;
    }
    Ok(())
}

/// Sets owner and group separately: a process that may not change the owner may still set a group of its own.
fn set_owner_and_group(
    object: &OwnedFd,
    managed: &ManagedOwnership,
    before: Option<&PreviousOwnership>,
) -> Result<(), Failure> {
    let now = stat(object)?;
    let group = managed.group.or_else(|| before.map(|before| before.group));
    if let Some(gid) = group.filter(|gid| *gid != now.st_gid)
        && let Err(errno) = change_owner(object, None, Some(gid))
        && managed.group.is_some()
    {
        return Err(refused(errno, "group", "change the group"));
    }
    let owner = managed.owner.or_else(|| before.map(|before| before.owner));
    if let Some(uid) = owner.filter(|uid| *uid != now.st_uid)
        && let Err(errno) = change_owner(object, Some(uid), None)
        && managed.owner.is_some()
    {
        return Err(refused(errno, "owner", "change the owner"));
    }
    Ok(())
}

/// The mode to set on the object `now`; `None` = leave it.
fn target_mode(
    is_file: bool,
    managed: &ManagedOwnership,
    before: Option<&PreviousOwnership>,
    now: &PreviousOwnership,
) -> Result<Option<u32>, Failure> {
    let Some(mode) = managed.mode.or_else(|| before.map(|before| before.mode)) else {
        return Ok(None);
    };
    let Some(before) = before.filter(|_| is_file && mode & SET_IDS != 0) else {
        return Ok(Some(mode));
    };
    let moved = before.owner != now.owner || before.group != now.group;
    if managed.mode.is_none() {
        return Ok(Some(if moved { mode & !SET_IDS } else { mode }));
    }
    let meant = |managed: Option<u32>, before: u32, now: u32| managed.is_some() || before == now;
    if meant(managed.owner, before.owner, now.owner)
        && meant(managed.group, before.group, now.group)
    {
        return Ok(Some(mode));
    }
    let message = "the mode has a set-user-ID or set-group-ID bit, and this process cannot keep the file's owner and \
                   group: declare them, or a mode without";
    Err(Failure::harmless(ErrorClass::Invalid, "owner_not_kept", message))
}

/// The path of a handle in /proc: it works for `O_PATH` handles, and never follows a link.
fn proc_path(object: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", object.as_raw_fd())
}

fn change_owner(object: &OwnedFd, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    rustix::fs::chownat(CWD, proc_path(object), uid, gid, AtFlags::empty())
}

fn set_mode(object: &OwnedFd, mode: u32) -> Result<(), Errno> {
    rustix::fs::chmodat(CWD, proc_path(object), Mode::from_raw_mode(mode), AtFlags::empty())
}

fn readable(object: &OwnedFd) -> Result<bool, Failure> {
    match rustix::fs::openat(
        CWD,
        proc_path(object),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(_) => Ok(true),
        Err(Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(errno) => Err(errors::below_root(errno, "read the file back")),
    }
}

fn stat(object: &OwnedFd) -> Result<Stat, Failure> {
    rustix::fs::fstat(object).map_err(|errno| errors::below_root(errno, "look at it"))
}

/// The failure to set a managed field: a fault of the desired state if the kernel denied permission.
fn refused(errno: Errno, field: &str, doing: &str) -> Failure {
    match errno {
        // The kernel reports an id outside the user namespace as invalid.
        Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::OPNOTSUPP => {
            not_permitted(field, &format!("may not change it: {errno}"))
        }
        _ => errors::below_root(errno, doing),
    }
}

fn not_permitted(field: &str, why: &str) -> Failure {
    let code = format!("{field}_not_permitted");
    Failure::harmless(ErrorClass::Invalid, &code, format!("`{field}`: this process {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(owner: u32, group: u32, mode: u32) -> PreviousOwnership {
        PreviousOwnership { owner, group, mode }
    }

    fn mode(
        managed: &ManagedOwnership,
        before: Option<PreviousOwnership>,
        now: &PreviousOwnership,
    ) -> Result<Option<u32>, String> {
        target_mode(true, managed, before.as_ref(), now).map_err(|failure| failure.code)
    }

    #[test]
    fn set_id_bits_never_move_to_another_owner() {
        let nothing = ManagedOwnership::default();
        let wants = |mode| ManagedOwnership { mode: Some(mode), ..nothing };
        let before = Some(object(1_000, 1_000, 0o6755));
        let (kept, moved) = (object(1_000, 1_000, 0o600), object(0, 1_000, 0o600));
        let grouped = object(1_000, 0, 0o600);
        let dropped = "owner_not_kept".to_owned();
        for (managed, now, expected) in [
            (nothing, kept, Ok(Some(0o6755))),
            (nothing, moved, Ok(Some(0o755))),
            (nothing, grouped, Ok(Some(0o755))),
            (wants(0o4755), kept, Ok(Some(0o4755))),
            (wants(0o4755), moved, Err(dropped.clone())),
            (wants(0o4755), grouped, Err(dropped)),
            (wants(0o1755), moved, Ok(Some(0o1755))),
            (wants(0o755), moved, Ok(Some(0o755))),
            // A declared new owner gets the bits only if the mode is declared, too.
            (ManagedOwnership { owner: Some(0), ..nothing }, moved, Ok(Some(0o755))),
            (ManagedOwnership { owner: Some(0), ..wants(0o4755) }, moved, Ok(Some(0o4755))),
        ] {
            assert_eq!(mode(&managed, before, &now), expected, "{managed:?} {now:?}");
        }
        assert_eq!(mode(&wants(0o4755), None, &kept), Ok(Some(0o4755)), "made as it was asked for");
        assert_eq!(mode(&nothing, None, &kept), Ok(None), "what the umask leaves");
    }

    #[test]
    fn the_bits_of_a_directory_are_no_authority() {
        let (before, now) = (object(1_000, 1_000, 0o2775), object(0, 0, 0o755));
        let mode = target_mode(false, &ManagedOwnership::default(), Some(&before), &now);
        assert_eq!(mode, Ok(Some(0o2775)));
    }
}
