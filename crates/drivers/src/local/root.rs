//! The root directory, and the only functions that open anything below it.
//!
//! Invariant: every path is resolved from a fresh handle of the root with `openat2` and `RESOLVE_BENEATH |
//! RESOLVE_NO_SYMLINKS`, so that neither `..` nor a symbolic link, not even one that replaces a parent during the call,
//! leads out. The handle is fresh, so that an unmounted or replaced root is noticed.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use stateward_domain::failure::{ErrorClass, Failure};

use super::atomic_write::StagedFile;
use super::errors;
use super::ownership::ManagedOwnership;

/// Name of the file with the identity of this root.
const MARKER: &str = ".stateward-identity";
const MARKER_BYTES_MAX: usize = 128;
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

/// One backend's root.
pub(super) struct Root {
    path: PathBuf,
    /// The identity that was reported to the engine last. A root with another identity is refused until the engine has
    /// read and compared it: so nothing is created, deleted or proved absent in a replaced root.
    reported_identity: Mutex<String>,
}

impl Root {
    /// Creates the root if it is missing, and its marker if it has none. A new marker is a new identity: the engine,
    /// which recorded the old one, parks the backend.
    pub(super) fn prepare(path: PathBuf) -> Result<Self, Failure> {
        std::fs::create_dir_all(&path).map_err(|error| {
            let message = format!("could not make the root: {error}");
            Failure::harmless(ErrorClass::Misconfigured, "root_unusable", message)
        })?;
        let root = Self { path, reported_identity: Mutex::default() };
        let directory = root.open_unchecked()?;
        if read_marker(&directory)?.is_none() {
            let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
            let managed = ManagedOwnership { mode: Some(0o644), ..ManagedOwnership::default() };
            let stage =
                StagedFile::write(&directory, format!("{id}\n").as_bytes(), &managed, None)?;
            match stage.publish_new(&directory, MARKER) {
                // Two processes may start on one root: the first marker is valid for both.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errors::of_root(errno)),
            }
            rustix::fs::fsync(&directory).map_err(errors::of_root)?;
        }
        root.identity()?;
        Ok(root)
    }

    /// Reads the marker, and keeps it as the reported identity.
    pub(super) fn identity(&self) -> Result<String, Failure> {
        let marker = read_marker(&self.open_unchecked()?)?.ok_or_else(marker_missing)?;
        self.reported_identity.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&marker);
        Ok(marker)
    }

    /// Opens the root.
    ///
    /// # Errors
    /// `Misconfigured` if it does not exist, or its identity is not the reported one.
    pub(super) fn open(&self) -> Result<OwnedFd, Failure> {
        let directory = self.open_unchecked()?;
        let marker = read_marker(&directory)?.ok_or_else(marker_missing)?;
        let same = *self.reported_identity.lock().unwrap_or_else(PoisonError::into_inner) == marker;
        if same { Ok(directory) } else { Err(root_changed()) }
    }

    fn open_unchecked(&self) -> Result<OwnedFd, Failure> {
        rustix::fs::openat(CWD, &self.path, DIRECTORY, Mode::empty()).map_err(errors::of_root)
    }
}

/// Opens the directory `path` below `root`; `None` = the root itself.
pub(super) fn open_directory(root: &OwnedFd, path: Option<&str>) -> Result<OwnedFd, Errno> {
    let Some(path) = path else { return duplicate(root) };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, path, DIRECTORY, Mode::empty(), resolve) {
        // Old kernels and some sandboxes lack `openat2`; descending step by step is as safe, only slower.
        Err(Errno::NOSYS) => descend(root, path, |_, _| Err(Errno::NOENT)),
        result => result,
    }
}

/// Like [`open_directory`], but creates missing directories. They stay if the call fails later, because parents are not
/// managed.
pub(super) fn open_or_create_directory(
    root: &OwnedFd,
    path: Option<&str>,
) -> Result<OwnedFd, Errno> {
    match (open_directory(root, path), path) {
        (Err(Errno::NOENT), Some(path)) => descend(root, path, |parent, name| {
            match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
                Ok(()) => rustix::fs::fsync(parent),
                Err(Errno::EXIST) => Ok(()),
                Err(errno) => Err(errno),
            }
        }),
        (result, _) => result,
    }
}

fn duplicate(handle: &OwnedFd) -> Result<OwnedFd, Errno> {
    handle.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn descend(
    root: &OwnedFd,
    path: &str,
    missing: impl Fn(&OwnedFd, &str) -> Result<(), Errno>,
) -> Result<OwnedFd, Errno> {
    let mut here = duplicate(root)?;
    for name in path.split('/') {
        here = match open_child(&here, name) {
            Err(Errno::NOENT) => {
                missing(&here, name)?;
                open_child(&here, name)?
            }
            result => result?,
        };
    }
    Ok(here)
}

/// Opens a directory by its name in `parent`; refuses a symbolic link.
pub(super) fn open_child(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let opened = rustix::fs::openat(&parent, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
    match opened {
        // With O_DIRECTORY the kernel reports a symbolic link as "not a directory"; this gives users the real reason.
        Err(Errno::NOTDIR) if is_symlink(&parent, name) => Err(Errno::LOOP),
        result => result,
    }
}

fn is_symlink(parent: impl AsFd, name: &str) -> bool {
    rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
}

fn read_marker(directory: &OwnedFd) -> Result<Option<String>, Failure> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, MARKER, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errors::of_root(errno)),
    };
    let mut buffer = [0; MARKER_BYTES_MAX];
    let length = rustix::io::read(&file, &mut buffer[..]).map_err(errors::of_root)?;
    let text = String::from_utf8_lossy(&buffer[..length]).trim().to_owned();
    match text.parse::<uuid::Uuid>() {
        Ok(_) => Ok(Some(text)),
        Err(_) => Err(Failure::harmless(
            ErrorClass::Misconfigured,
            "marker_malformed",
            format!("`{MARKER}` in the backend's root holds no identity"),
        )),
    }
}

fn marker_missing() -> Failure {
    let message =
        format!("`{MARKER}` is missing in the backend's root; is the right disk mounted?");
    Failure::harmless(ErrorClass::Misconfigured, "marker_missing", message)
}

fn root_changed() -> Failure {
    let message = "the backend's root is another directory than before";
    Failure::harmless(ErrorClass::Misconfigured, "root_changed", message)
}
