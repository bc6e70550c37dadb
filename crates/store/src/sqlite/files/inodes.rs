//! Whether the open files are still those that their paths lead to. If a file was moved, removed or replaced, writes
//! to it would be lost, or would go beside another server's.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sqlite::error::OpenError;

/// Identifies a file among all that exist at the same time. The default matches no file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sqlite) struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    pub(in crate::sqlite) fn of_file(file: &File) -> std::io::Result<Self> {
        Ok(Self::of(&file.metadata()?))
    }

    /// Of the file that the path leads to now.
    pub(in crate::sqlite) fn at(path: &Path) -> std::io::Result<Self> {
        Ok(Self::of(&std::fs::metadata(path)?))
    }

    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), number: metadata.ino() }
    }
}

/// A directory and files in it, as they were when they were opened. All of them are held open, so that their inode
/// numbers cannot be reused.
pub(in crate::sqlite) struct Inodes {
    known: Vec<(PathBuf, Inode)>,
}

impl Inodes {
    /// Records `directory` and the files `names` in it, as they are now.
    ///
    /// # Errors
    /// When one of them does not exist.
    pub(in crate::sqlite) fn of(directory: &Path, names: &[&str]) -> Result<Self, OpenError> {
        let failed = |path: &Path, error: &std::io::Error| OpenError::Io {
            path: path.to_owned(),
            message: error.to_string(),
        };
        // Paths as people use them, with their symbolic links: a link may be changed as well.
        let directory =
            std::path::absolute(directory).map_err(|error| failed(directory, &error))?;
        let files = names.iter().map(|name| directory.join(name));
        let known = std::iter::once(directory.clone()).chain(files).map(|path| {
            let inode = Inode::at(&path).map_err(|error| failed(&path, &error))?;
            Ok((path, inode))
        });
        Ok(Self { known: known.collect::<Result<_, OpenError>>()? })
    }

    /// Compares all paths. Costs a few microseconds, so that it can run before each commit.
    ///
    /// # Errors
    /// One line, when a path leads to another file.
    pub(in crate::sqlite) fn check(&self) -> Result<(), String> {
        for (path, inode) in &self.known {
            let same = match Inode::at(path) {
                Ok(now) => now == *inode,
                // A lookup that fails for another reason proves nothing.
                Err(error) => {
                    !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                }
            };
            if !same {
                return Err(format!(
                    "{} was moved, removed or replaced while it was in use: nothing more is written",
                    path.display()
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_that_leads_elsewhere_is_said() {
        let parent = tempfile::tempdir().expect("a folder");
        let (data, away) = (parent.path().join("data"), parent.path().join("away"));
        let file = data.join("a");
        std::fs::create_dir(&data).expect("made");
        std::fs::write(&file, "x").expect("written");
        let _open = File::open(&file).expect("there");
        let inodes = Inodes::of(&data, &["a"]).expect("there");
        let says = |path: &Path| {
            let line = inodes.check().expect_err("it leads elsewhere");
            assert!(line.starts_with(&path.display().to_string()), "{line}");
        };
        assert_eq!(inodes.check(), Ok(()));
        std::fs::rename(&data, &away).expect("moved");
        says(&data);
        std::fs::create_dir(&data).expect("made");
        says(&data);
        std::fs::remove_dir(&data).expect("removed");
        std::os::unix::fs::symlink(&away, &data).expect("linked");
        assert_eq!(inodes.check(), Ok(()), "it leads to the same files");
        std::fs::remove_file(away.join("a")).expect("removed");
        says(&file);
        std::fs::write(away.join("a"), "x").expect("written");
        says(&file);
        assert!(Inodes::of(&data, &["b"]).is_err());
    }
}
