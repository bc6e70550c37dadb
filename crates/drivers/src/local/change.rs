//! Changing: create, update, delete, and the action.

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::Outcome;

use super::blocking::Permit;
use super::kinds::Kind;
use super::paths::RelativePath;
use super::root::{self, Root};
use super::spec::Spec;
use super::stage::{Stage, TEMPORARY};
use super::{failures, look};

/// Makes it, unless something is there already.
pub(super) fn create(
    root: &Root,
    kind: Kind,
    spec: &Spec,
    permit: &Permit,
) -> Result<Outcome, Failure> {
    let root = root.open()?;
    let (parent, name) = spec.path.split();
    permit.ask()?;
    let parent = root::directory_made(&root, parent)
        .map_err(|e| failures::below_root(e, "make the parent directories"))?;
    let made = match kind {
        Kind::File => {
            let stage = Stage::write(&parent, spec.content.as_bytes(), spec.mode)?;
            permit.ask()?;
            stage.publish_new(&parent, name)
        }
        Kind::Directory => {
            permit.ask()?;
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o777))
        }
    };
    match made {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(taken(kind, &parent, name, &spec.path)),
        Err(errno) => return Err(failures::below_root(errno, "create it")),
    }
    if let (Kind::Directory, Some(mode)) = (kind, spec.mode) {
        change_mode(&parent, name, mode).map_err(failures::after_change)?;
    }
    durable(&parent)?;
    Ok(done(&spec.path))
}

fn taken(kind: Kind, parent: &OwnedFd, name: &str, path: &RelativePath) -> Failure {
    match type_of(parent, name) {
        Ok(Some(found)) if kind.is(found) => Failure::harmless(
            ErrorClass::AlreadyExists { external_id: ExternalId(path.as_str().to_owned()) },
            "already_exists",
            format!("a {} is at the path already", kind.noun()),
        ),
        Ok(Some(_)) => failures::other_type(kind.noun()),
        Ok(None) => {
            let message = "something was at the path for a moment";
            Failure::harmless(ErrorClass::Conflict, "path_in_motion", message)
        }
        Err(failure) => failure,
    }
}

/// Makes what is there as desired.
///
/// A file is replaced as a whole: readers see the old or the new content, never a part. Owner, extended
/// attributes and hard links of the old one are not carried over; its mode is, unless it is managed.
pub(super) fn update(
    root: &Root,
    kind: Kind,
    spec: &Spec,
    permit: &Permit,
) -> Result<Outcome, Failure> {
    let root = root.open()?;
    let (parent, name) = spec.path.split();
    let parent = match root::directory(&root, parent) {
        Err(Errno::NOENT) => return Err(not_found()),
        result => result.map_err(|e| failures::below_root(e, "open the parent directory"))?,
    };
    match type_of(&parent, name)? {
        None => return Err(not_found()),
        Some(found) if !kind.is(found) => return Err(failures::other_type(kind.noun())),
        Some(_) => {}
    }
    match kind {
        Kind::File => {
            let mode = spec.mode.map_or_else(|| current_mode(&parent, name), Ok)?;
            let stage = Stage::write(&parent, spec.content.as_bytes(), Some(mode))?;
            permit.ask()?;
            stage.publish_over(&parent, name).map_err(|errno| match errno {
                Errno::ISDIR => failures::other_type(kind.noun()),
                _ => failures::below_root(errno, "replace the file"),
            })?;
            durable(&parent)?;
        }
        Kind::Directory => {
            if let Some(mode) = spec.mode {
                permit.ask()?;
                change_mode(&parent, name, mode)?;
            }
        }
    }
    Ok(done(&spec.path))
}

/// Removes it; what is not there, or is something else by now, is a success.
pub(super) fn delete(
    root: &Root,
    kind: Kind,
    path: &RelativePath,
    permit: &Permit,
) -> Result<Outcome, Failure> {
    let root = root.open()?;
    let (parent, name) = path.split();
    let parent = match root::directory(&root, parent) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(gone()),
        result => result.map_err(|e| failures::below_root(e, "open the parent directory"))?,
    };
    if !type_of(&parent, name)?.is_some_and(|found| kind.is(found)) {
        return Ok(gone());
    }
    permit.ask()?;
    let removed = match kind {
        Kind::File => rustix::fs::unlinkat(&parent, name, AtFlags::empty()),
        Kind::Directory => remove_directory(&parent, name),
    };
    match removed {
        Ok(()) => durable(&parent)?,
        Err(Errno::NOENT) => {}
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            let message = "the directory is not empty; what is in it is never deleted with it";
            return Err(Failure::harmless(ErrorClass::Conflict, "directory_not_empty", message));
        }
        Err(errno) => return Err(failures::below_root(errno, "delete it")),
    }
    Ok(gone())
}

/// The digest of the content as it is on the disk, whatever its size.
pub(super) fn checksum(
    root: &Root,
    path: &RelativePath,
    permit: &Permit,
) -> Result<Outcome, Failure> {
    let root = root.open()?;
    let (parent, name) = path.split();
    let opened = root::directory(&root, parent).and_then(|parent| look::open_file(&parent, name));
    let mut file = match opened {
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(not_found()),
        result => result.map_err(|e| failures::below_root(e, "open the file"))?,
    }
    .into_file();
    let (mut digest, mut size) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        permit.ask()?;
        let length = file.read(&mut buffer).map_err(|error| {
            failures::below_root(Errno::from_io_error(&error).unwrap_or(Errno::IO), "read the file")
        })?;
        if length == 0 {
            break;
        }
        digest.update(&buffer[..length]);
        size += length as u64;
    }
    let attributes = json!({"sha256": look::hex(&digest.finalize()), "size": size});
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

/// Removes an empty directory. Files that we were writing when we were killed do not count as content.
fn remove_directory(parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        result => return result,
    }
    let directory = root::child(parent, name)?;
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

fn change_mode(parent: &OwnedFd, name: &str, mode: u32) -> Result<(), Failure> {
    let change = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        // Through its handle, because its own mode may forbid to open it, and by name a link could be followed.
        let itself = format!("/proc/self/fd/{}", directory.as_raw_fd());
        rustix::fs::chmodat(CWD, itself, Mode::from_raw_mode(mode), AtFlags::empty())
    };
    change().map_err(|errno| failures::below_root(errno, "change the mode"))
}

fn current_mode(parent: &OwnedFd, name: &str) -> Result<u32, Failure> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(stat.st_mode & 0o7777),
        Err(Errno::NOENT) => Err(not_found()),
        Err(errno) => Err(failures::below_root(errno, "look at the file")),
    }
}

fn type_of(parent: &OwnedFd, name: &str) -> Result<Option<FileType>, Failure> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failures::below_root(errno, "look at the path")),
    }
}

/// Waits until the directory's new entry is on the disk: before that, a crash may undo what was reported.
fn durable(parent: &OwnedFd) -> Result<(), Failure> {
    rustix::fs::fsync(parent)
        .map_err(|e| failures::after_change(failures::below_root(e, "write the directory")))
}

fn done(path: &RelativePath) -> Outcome {
    let external_id = Some(ExternalId(path.as_str().to_owned()));
    Outcome::Done { external_id, attributes: Value::Null }
}

fn gone() -> Outcome {
    Outcome::Done { external_id: None, attributes: Value::Null }
}

fn not_found() -> Failure {
    Failure::harmless(ErrorClass::NotFound, "not_found", "nothing is at the path")
}
