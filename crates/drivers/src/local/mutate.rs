//! Changes: create, update, delete; and the action `checksum`.

use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::Outcome;

use super::atomic_write::{StagedFile, TEMPORARY};
use super::blocking_pool::Permit;
use super::kinds::Kind;
use super::ownership::{self, ManagedOwnership, PreviousOwnership};
use super::paths::RelativePath;
use super::root::{self, Root};
use super::spec::Spec;
use super::{errors, observe};

/// Creates the object, unless the path exists.
pub(super) fn create(
    root: &Root,
    kind: Kind,
    spec: &Spec,
    permit: &Permit,
) -> Result<Outcome, Failure> {
    let root = root.open()?;
    let (parent, name) = spec.path.split();
    // Before the first change: an unknown account must not leave new parent directories behind.
    let managed = ManagedOwnership::of(spec)?;
    permit.check()?;
    let parent = root::open_or_create_directory(&root, parent)
        .map_err(|e| errors::below_root(e, "make the parent directories"))?;
    let made = match kind {
        Kind::File => {
            let stage = StagedFile::write(&parent, spec.content.as_bytes(), &managed, None)?;
            permit.check()?;
            stage.publish_new(&parent, name)
        }
        Kind::Directory => {
            permit.check()?;
            // Never more open than wanted, not even for a moment.
            let mode = spec.mode.unwrap_or(0o777) & 0o777;
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode))
        }
    };
    match made {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(path_taken(kind, &parent, name, &spec.path)),
        Err(errno) => return Err(errors::below_root(errno, "create it")),
    }
    if kind == Kind::Directory
        && let Err(failure) = apply_to_directory(&parent, name, &managed)
    {
        // A directory that cannot be as desired is removed again, unless it already has content.
        let undone = rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR).is_ok();
        return Err(if undone { failure } else { errors::after_change(failure) });
    }
    sync_directory(&parent)?;
    Ok(done(&spec.path))
}

fn path_taken(kind: Kind, parent: &OwnedFd, name: &str, path: &RelativePath) -> Failure {
    match type_of(parent, name) {
        Ok(Some(found)) if kind.is(found) => Failure::harmless(
            ErrorClass::AlreadyExists { external_id: ExternalId(path.as_str().to_owned()) },
            "already_exists",
            format!("a {} is at the path already", kind.noun()),
        ),
        Ok(Some(_)) => errors::other_type(kind.noun()),
        Ok(None) => {
            let message = "something was at the path for a moment";
            Failure::harmless(ErrorClass::Conflict, "path_in_motion", message)
        }
        Err(failure) => failure,
    }
}

/// Makes the existing object as desired.
///
/// A file is replaced as a whole: readers see the old or the new content, never a part. Owner, group and mode of the
/// old file are kept as far as this process may, see [`ownership`]; extended attributes, access control lists and hard
/// links are not.
pub(super) fn update(
    root: &Root,
    kind: Kind,
    spec: &Spec,
    permit: &Permit,
) -> Result<Outcome, Failure> {
    let root = root.open()?;
    let (parent, name) = spec.path.split();
    let parent = match root::open_directory(&root, parent) {
        Err(Errno::NOENT) => return Err(not_found()),
        result => result.map_err(|e| errors::below_root(e, "open the parent directory"))?,
    };
    let there = stat_of(&parent, name)?.ok_or_else(not_found)?;
    if !kind.is(FileType::from_raw_mode(there.st_mode)) {
        return Err(errors::other_type(kind.noun()));
    }
    let managed = ManagedOwnership::of(spec)?;
    match kind {
        Kind::File => {
            let content = spec.content.as_bytes();
            let stage = StagedFile::write(
                &parent,
                content,
                &managed,
                Some(&PreviousOwnership::from(&there)),
            )?;
            permit.check()?;
            stage.publish_over(&parent, name).map_err(|errno| match errno {
                Errno::ISDIR => errors::other_type(kind.noun()),
                _ => errors::below_root(errno, "replace the file"),
            })?;
            sync_directory(&parent)?;
        }
        Kind::Directory => {
            permit.check()?;
            // Owner and group may already be changed when the mode is refused.
            apply_to_directory(&parent, name, &managed).map_err(errors::after_change)?;
        }
    }
    Ok(done(&spec.path))
}

/// Deletes the object. Succeeds if the path does not exist, or holds another type of object by now.
pub(super) fn delete(
    root: &Root,
    kind: Kind,
    path: &RelativePath,
    permit: &Permit,
) -> Result<Outcome, Failure> {
    let root = root.open()?;
    let (parent, name) = path.split();
    let parent = match root::open_directory(&root, parent) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(deleted()),
        result => result.map_err(|e| errors::below_root(e, "open the parent directory"))?,
    };
    if !type_of(&parent, name)?.is_some_and(|found| kind.is(found)) {
        return Ok(deleted());
    }
    permit.check()?;
    let removed = match kind {
        Kind::File => rustix::fs::unlinkat(&parent, name, AtFlags::empty()),
        Kind::Directory => remove_directory(&parent, name),
    };
    match removed {
        Ok(()) => sync_directory(&parent)?,
        Err(Errno::NOENT) => {}
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            let message = "the directory is not empty; what is in it is never deleted with it";
            return Err(Failure::harmless(ErrorClass::Conflict, "directory_not_empty", message));
        }
        Err(errno) => return Err(errors::below_root(errno, "delete it")),
    }
    Ok(deleted())
}

/// The digest of the content on the disk, of any size.
pub(super) fn checksum(
    root: &Root,
    path: &RelativePath,
    permit: &Permit,
) -> Result<Outcome, Failure> {
    let root = root.open()?;
    let (parent, name) = path.split();
    let opened =
        root::open_directory(&root, parent).and_then(|parent| observe::open_file(&parent, name));
    let mut file = match opened {
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(not_found()),
        result => result.map_err(|e| errors::below_root(e, "open the file"))?,
    }
    .into_file();
    let (mut digest, mut size) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        permit.check()?;
        let length = file.read(&mut buffer).map_err(|error| {
            errors::below_root(Errno::from_io_error(&error).unwrap_or(Errno::IO), "read the file")
        })?;
        if length == 0 {
            break;
        }
        digest.update(&buffer[..length]);
        size += length as u64;
    }
    let attributes = json!({"sha256": observe::hex(&digest.finalize()), "size": size});
    let external_id = Some(ExternalId(path.as_str().to_owned()));
    Ok(Outcome::Done { external_id, attributes })
}

trait IntoFile {
    fn into_file(self) -> std::fs::File;
}

impl IntoFile for OwnedFd {
    fn into_file(self) -> std::fs::File {
        self.into()
    }
}

/// Removes an empty directory. Temporary files of a killed process do not count as content.
fn remove_directory(parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        result => return result,
    }
    let directory = root::open_child(parent, name)?;
    let mut left_behind = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        if !bytes.starts_with(TEMPORARY.as_bytes()) {
            return Err(Errno::NOTEMPTY);
        }
        left_behind.push(entry.file_name().to_owned());
    }
    for name in left_behind {
        rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Applies the managed owner, group and mode to the directory `name`.
fn apply_to_directory(
    parent: &OwnedFd,
    name: &str,
    managed: &ManagedOwnership,
) -> Result<(), Failure> {
    // An `O_PATH` handle, because the mode may forbid any other.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())
        .map_err(|errno| errors::below_root(errno, "open the directory"))?;
    ownership::apply(&directory, managed, None)
}

fn type_of(parent: &OwnedFd, name: &str) -> Result<Option<FileType>, Failure> {
    Ok(stat_of(parent, name)?.map(|stat| FileType::from_raw_mode(stat.st_mode)))
}

fn stat_of(parent: &OwnedFd, name: &str) -> Result<Option<Stat>, Failure> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errors::below_root(errno, "look at the path")),
    }
}

/// Flushes the directory entry to the disk: without it, a crash could undo a change that was reported.
fn sync_directory(parent: &OwnedFd) -> Result<(), Failure> {
    rustix::fs::fsync(parent)
        .map_err(|e| errors::after_change(errors::below_root(e, "write the directory")))
}

fn done(path: &RelativePath) -> Outcome {
    let external_id = Some(ExternalId(path.as_str().to_owned()));
    Outcome::Done { external_id, attributes: Value::Null }
}

fn deleted() -> Outcome {
    Outcome::Done { external_id: None, attributes: Value::Null }
}

fn not_found() -> Failure {
    Failure::harmless(ErrorClass::NotFound, "not_found", "nothing is at the path")
}
