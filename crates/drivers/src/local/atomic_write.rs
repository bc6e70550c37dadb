//! Atomic writes: a file becomes visible under its name only when its whole content is on the disk.

use std::io::Write;
use std::os::fd::AsRawFd;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use stateward_domain::failure::Failure;

use super::errors;
use super::ownership::{self, ManagedOwnership, PreviousOwnership};
use super::paths::RESERVED;

/// A staged file in the directory where it will be published. Dropping it unpublished removes it.
pub(super) struct StagedFile<'a> {
    directory: &'a OwnedFd,
    file: OwnedFd,
    /// Temporary name; `None` while the file is unnamed (`O_TMPFILE`), so that even a killed process leaves nothing
    /// behind.
    name: Option<String>,
}

impl<'a> StagedFile<'a> {
    /// Writes `content` to a file with the `managed` owner, group and mode, and otherwise those of the file `before` it
    /// if they can be kept; returns when it is on the disk.
    ///
    /// # Errors
    /// As [`errors::below_root`] and [`ownership::apply`]; nothing is left behind.
    pub(super) fn write(
        directory: &'a OwnedFd,
        content: &[u8],
        managed: &ManagedOwnership,
        before: Option<&PreviousOwnership>,
    ) -> Result<Self, Failure> {
        let stage = Self::open(directory).map_err(|e| errors::below_root(e, "make a file"))?;
        let written = |errno| errors::below_root(errno, "write the content");
        stage.fill(content).map_err(written)?;
        // After the content, because writing clears set-user-ID bits.
        ownership::apply(&stage.file, managed, before)?;
        rustix::fs::fsync(&stage.file).map_err(written)?;
        Ok(stage)
    }

    fn open(directory: &'a OwnedFd) -> Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        match rustix::fs::openat(directory, ".", flags | OFlags::TMPFILE, mode) {
            Ok(file) => Ok(Self { directory, file, name: None }),
            // Some file systems (NFS, older overlays) have no unnamed files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let name = temporary_name();
                let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let file = rustix::fs::openat(directory, &name, flags, mode)?;
                Ok(Self { directory, file, name: Some(name) })
            }
            Err(errno) => Err(errno),
        }
    }

    fn fill(&self, content: &[u8]) -> Result<(), Errno> {
        let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let mut file = std::fs::File::from(self.file.try_clone().map_err(errno)?);
        file.write_all(content).map_err(errno)
    }

    /// Publishes the file under a name that is free.
    ///
    /// # Errors
    /// `EXIST` if something has that name already; it is left unchanged.
    pub(super) fn publish_new(mut self, directory: &OwnedFd, name: &str) -> Result<(), Errno> {
        let Some(temporary) = self.name.clone() else { return self.link(directory, name) };
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(directory, &temporary, directory, name, flags) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                // A hard link is exclusive as well; the temporary name is removed on drop.
                rustix::fs::linkat(directory, &temporary, directory, name, AtFlags::empty())
            }
            result => {
                if result.is_ok() {
                    self.name = None;
                }
                result
            }
        }
    }

    /// Publishes the file in place of the one that has the name.
    pub(super) fn publish_over(mut self, directory: &OwnedFd, name: &str) -> Result<(), Errno> {
        let temporary = if let Some(temporary) = self.name.clone() {
            temporary
        } else {
            // Only a named file can be renamed over another. A process killed here leaves the temporary name behind; it
            // is reserved, never listed, and removed with its directory.
            let temporary = temporary_name();
            self.link(directory, &temporary)?;
            self.name = Some(temporary.clone());
            temporary
        };
        rustix::fs::renameat(directory, &temporary, directory, name)?;
        self.name = None;
        Ok(())
    }

    fn link(&self, directory: &OwnedFd, name: &str) -> Result<(), Errno> {
        let proc_path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::linkat(CWD, proc_path, directory, name, AtFlags::SYMLINK_FOLLOW)
    }
}

impl Drop for StagedFile<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Best effort: a leftover has a reserved name and does no harm.
            let _ = rustix::fs::unlinkat(self.directory, name, AtFlags::empty());
        }
    }
}

/// Prefix of the names of files that are being written.
pub(super) const TEMPORARY: &str = ".stateward-tmp-";

fn temporary_name() -> String {
    debug_assert!(TEMPORARY.starts_with(RESERVED), "users cannot take these names");
    format!("{TEMPORARY}{:032x}", rand::random::<u128>())
}
