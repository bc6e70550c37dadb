//! Files that a command writes what it read into.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::random;

/// Symbolic links that are followed to a file, as in the kernel.
const LINKS_MAX: usize = 40;

/// A file that appears under its name only once it is whole, readable by its owner alone. It replaces a file of that
/// name, or the one that a symbolic link leads to. Devices, pipes and sockets are written in place.
///
/// Dropped before [`finish`](Self::finish), it leaves the name as it was.
pub(crate) struct OutputFile {
    out: BufWriter<File>,
    path: PathBuf,
    /// The file that is written, and the name that it gets; `None` = written in place.
    rename: Option<(PathBuf, PathBuf)>,
}

impl OutputFile {
    /// # Errors
    /// When `path` is a directory, or nothing can be written there.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot write {}", path.display());
        let (file, rename) = open(path).with_context(cannot)?;
        Ok(Self { out: BufWriter::new(file), path: path.to_owned(), rename })
    }

    /// Completes the file.
    ///
    /// # Errors
    /// When it cannot be written or renamed.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let finished = self.out.flush().and_then(|()| {
            let Some((from, to)) = &self.rename else { return Ok(()) };
            self.out.get_ref().sync_all()?;
            std::fs::rename(from, to)
        });
        finished.with_context(|| format!("cannot write {}", self.path.display()))?;
        self.rename = None;
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some((partial, _)) = &self.rename {
            // What cannot be removed has no name that a reader expects.
            let _ = std::fs::remove_file(partial);
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn open(path: &Path) -> anyhow::Result<(File, Option<(PathBuf, PathBuf)>)> {
    let target = followed(path);
    let is = std::fs::metadata(path).ok();
    // A link in /proc leads to an open file, not to the name that it shows.
    let same = |is: &Metadata| {
        std::fs::metadata(&target).is_ok_and(|to| (to.dev(), to.ino()) == (is.dev(), is.ino()))
    };
    if is.as_ref().is_some_and(|is| !is.is_file() || !same(is)) {
        return Ok((OpenOptions::new().write(true).open(path)?, None));
    }
    let mut name = target.file_name().context("it has no name")?.to_owned();
    // Unique: another process may write the same file.
    name.push(format!(".{}.part", random::hexadecimal::<4>()?));
    let partial = target.with_file_name(name);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    Ok((file, Some((partial, target))))
}

/// The path that symbolic links from `path` lead to, whether it exists or not.
fn followed(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = std::fs::read_link(&path) else { break };
        path = path.parent().unwrap_or_else(|| Path::new("")).join(target);
    }
    path
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    use rustix::fs::{CWD, FileType, Mode};

    use super::*;

    fn write(path: &Path, text: &str) {
        let mut file = OutputFile::create(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.finish().unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_once_it_is_whole_and_belongs_to_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "before").unwrap();
        let mut one = OutputFile::create(&path).unwrap();
        let mut other = OutputFile::create(&path).unwrap();
        one.write_all(b"one").unwrap();
        other.write_all(b"other").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
        other.finish().unwrap();
        drop(one);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "other");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["log"]);
    }

    #[test]
    fn a_link_is_followed_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        symlink("target", &link).unwrap();
        for text in ["new", "newer"] {
            write(&link, text);
            assert_eq!(std::fs::read_to_string(&target).unwrap(), text);
            assert!(link.is_symlink());
        }
        assert_eq!(names(folder.path()), ["link", "target"]);
    }

    #[test]
    fn a_pipe_and_a_device_are_written_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut text = String::new();
                File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        write(&pipe, "through");
        assert_eq!(reader.join().unwrap(), "through");
        assert!(pipe.metadata().unwrap().file_type().is_fifo());
        symlink("/dev/null", folder.path().join("null")).unwrap();
        write(&folder.path().join("null"), "gone");
        assert_eq!(names(folder.path()), ["null", "pipe"]);
        assert!(Path::new("/dev/null").metadata().unwrap().file_type().is_char_device());
        assert!(OutputFile::create(folder.path()).is_err(), "a directory");
    }
}
