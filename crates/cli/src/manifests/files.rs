//! Reads the manifest texts of a path: a file, a pipe, standard input, or a folder.

use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use rustix::fs::OFlags;

use crate::exit::CliError;
use crate::input_file;
use crate::presentation::terminal;

const EXTENSIONS: &[&str] = &["yaml", "yml", "json"];
/// The path that means standard input.
const STANDARD_INPUT: &str = "-";

/// Bounds for one path.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Folders within each other.
    depth: usize,
    /// Entries of all its folders.
    entries: usize,
    /// Bytes of all its files, and so of each.
    bytes: u64,
}

const BOUNDS: Bounds = Bounds { depth: 32, entries: 100_000, bytes: 64 * 1024 * 1024 };

/// A text, and its name in messages.
#[derive(Debug)]
pub(super) struct ManifestText {
    pub(super) name: String,
    pub(super) text: String,
    /// Named `*.json`: it must be JSON.
    pub(super) is_json: bool,
}

/// The texts of `path`: one, or those of a folder's manifests ordered by name.
///
/// In a folder, a file with several names (links) is read once, and so is a folder, which ends loops. A pipe, socket or
/// device with a manifest's extension is skipped with a note on standard error.
///
/// # Errors
/// What cannot be read or is not UTF-8, and a folder that exceeds [`BOUNDS`]; nothing is omitted silently.
pub(super) fn sources(path: &Path) -> anyhow::Result<Vec<ManifestText>> {
    within(path, BOUNDS)
}

fn within(path: &Path, bounds: Bounds) -> anyhow::Result<Vec<ManifestText>> {
    if path == Path::new(STANDARD_INPUT) {
        let name = "standard input".to_owned();
        let text = input_file::text(std::io::stdin().lock(), &name, bounds.bytes)?;
        return Ok(vec![ManifestText { name, text, is_json: false }]);
    }
    let metadata = metadata(path)?;
    if !metadata.is_dir() {
        let text = input_file::read(path, bounds.bytes)?;
        return Ok(vec![ManifestText {
            name: path.display().to_string(),
            text,
            is_json: is_json(path),
        }]);
    }
    let mut walk = Walk {
        bounds,
        bytes_left: bounds.bytes,
        entries: 0,
        seen: HashSet::new(),
        root: path,
        found: Vec::new(),
    };
    walk.folder(path, &metadata, 1)?;
    Ok(walk.found)
}

fn metadata(path: &Path) -> anyhow::Result<Metadata> {
    std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

struct Walk<'a> {
    bounds: Bounds,
    bytes_left: u64,
    entries: usize,
    /// Device and inode of what was read already.
    seen: HashSet<(u64, u64)>,
    root: &'a Path,
    found: Vec<ManifestText>,
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, metadata: &Metadata, depth: usize) -> anyhow::Result<()> {
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        let (name, max) = (path.display(), self.bounds.depth);
        if depth > max {
            return Err(CliError::usage(format!(
                "{name} is nested deeper than {max} folders: name it by itself"
            )));
        }
        let cannot = || format!("cannot read {name}");
        let mut below = Vec::new();
        for entry in std::fs::read_dir(path).with_context(cannot)? {
            self.entries += 1;
            if self.entries > self.bounds.entries {
                let (root, max) = (self.root.display(), self.bounds.entries);
                return Err(CliError::usage(format!(
                    "{root} has more than {max} files and folders: name its parts"
                )));
            }
            below.push(entry.with_context(cannot)?.path());
        }
        below.sort();
        below.iter().try_for_each(|path| self.entry(path, depth))
    }

    fn entry(&mut self, path: &Path, depth: usize) -> anyhow::Result<()> {
        let known = path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e == *known));
        let metadata = match metadata(path) {
            // Such as a dangling link.
            Err(_) if !known => return Ok(()),
            metadata => metadata?,
        };
        if metadata.is_dir() {
            return self.folder(path, &metadata, depth + 1);
        }
        if !known {
            return Ok(());
        }
        if !metadata.is_file() {
            terminal::note(&format!(
                "stateward: {} is passed over: it is a {}",
                path.display(),
                noun(&metadata)
            ));
            return Ok(());
        }
        if self.seen.insert((metadata.dev(), metadata.ino())) {
            self.file(path)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let name = path.display().to_string();
        let file = open(path).with_context(|| format!("cannot read {name}"))?;
        let text = input_file::text(file, &name, self.bounds.bytes)?;
        let Some(left) = self.bytes_left.checked_sub(text.len() as u64) else {
            let (root, max) = (self.root.display(), self.bounds.bytes);
            return Err(CliError::usage(format!(
                "the manifests in {root} are longer than {max} bytes: name its parts"
            )));
        };
        self.bytes_left = left;
        self.found.push(ManifestText { name, text, is_json: is_json(path) });
        Ok(())
    }
}

/// Opens a path that was a file when it was listed. Non-blocking: if it is a pipe by now, the open waits for no writer.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn noun(metadata: &Metadata) -> &'static str {
    let file_type = metadata.file_type();
    if file_type.is_fifo() {
        "pipe"
    } else if file_type.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode};

    use super::*;

    const SMALL: Bounds = Bounds { depth: 3, entries: 9, bytes: 20 };

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "12345").unwrap();
        }
        folder
    }

    fn found(folder: &tempfile::TempDir) -> Vec<String> {
        let root = format!("{}/", folder.path().display());
        let sources = within(folder.path(), SMALL).unwrap();
        sources.iter().map(|source| source.name.replace(&root, "")).collect()
    }

    #[test]
    fn bounds_are_errors_that_say_so() {
        assert_eq!(found(&tree(&["b.yaml", "a/c/x.json", "a.txt"])), ["a/c/x.json", "b.yaml"]);
        let too_many = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
        let cases = [
            (tree(&["a/b/c/x.yaml"]), "a/b/c is nested deeper than 3 folders"),
            (tree(&too_many), "more than 9 files and folders"),
            (tree(&["1.yaml", "2.yaml", "3.yaml", "4.yaml", "5.yaml"]), "longer than 20 bytes"),
        ];
        for (folder, part) in cases {
            let error = within(folder.path(), SMALL).expect_err(part);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn what_has_several_names_is_read_once() {
        let folder = tree(&["..2026/a.yaml", "sub/b.yaml"]);
        // A mounted ConfigMap of Kubernetes, and a loop.
        symlink("..2026", folder.path().join("..data")).unwrap();
        symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
        symlink("..", folder.path().join("sub/up")).unwrap();
        symlink("nowhere", folder.path().join("README")).unwrap();
        assert_eq!(found(&folder), ["..2026/a.yaml", "sub/b.yaml"]);
        symlink("nowhere", folder.path().join("gone.yaml")).unwrap();
        let error = within(folder.path(), SMALL).expect_err("a manifest that is not there");
        assert!(error.to_string().contains("gone.yaml"), "{error}");
    }

    #[test]
    fn pipes_and_sockets_in_a_folder_are_passed_over() {
        let folder = tree(&["a.yaml"]);
        let pipe = folder.path().join("pipe.yaml");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s.json")).unwrap();
        assert_eq!(found(&folder), ["a.yaml"]);
    }

    #[test]
    fn a_pipe_that_is_named_is_read() {
        let folder = tree(&[]);
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::write(pipe, "123").unwrap()
        });
        let sources = within(&pipe, SMALL).unwrap();
        writer.join().unwrap();
        assert_eq!(sources[0].text, "123");
    }
}
