//! Views that do not fit their log any more. They may be the only trace of events that are lost, so they are kept
//! beside the new ones.

use std::io::{Error, ErrorKind};
use std::path::Path;

use stateward_domain::id::Position;
use stateward_domain::time::{Timestamp, rfc3339};

use crate::sqlite::files::restore_hold::sync_directory;

/// Prefix of their names; the time and the number of the new epoch follow.
const PREFIX: &str = "views.db.kept-";
/// Kept at most; each has the size of the views.
const KEPT_MAX: usize = 2;
/// Suffixes of the files that `SQLite` keeps beside a database.
const WAL_SUFFIXES: [&str; 2] = ["-wal", "-shm"];

/// Makes room for new views in `directory`, where no process has the old ones open. They are moved aside, or removed
/// when none of their checkpoints is behind an event.
pub(in crate::sqlite) fn retire(
    directory: &Path,
    checkpoints: &[Position],
    now: Timestamp,
    epoch: u32,
) -> Result<(), Error> {
    if checkpoints.iter().any(|position| *position != Position::START) {
        move_aside(directory, now, epoch)?;
    }
    for end in ["", WAL_SUFFIXES[0], WAL_SUFFIXES[1]] {
        remove_if_present(&with_suffix(&directory.join("views.db"), end))?;
    }
    sync_directory(directory)
}

/// Moves the views in `directory` aside; does nothing when there are none.
pub(in crate::sqlite) fn move_aside(
    directory: &Path,
    now: Timestamp,
    epoch: u32,
) -> Result<(), Error> {
    let mut older = retired(directory);
    while older.len() >= KEPT_MAX {
        let oldest = directory.join(older.remove(0));
        std::fs::remove_file(&oldest)?;
        for end in WAL_SUFFIXES {
            remove_if_present(&with_suffix(&oldest, end))?;
        }
    }
    let views = directory.join("views.db");
    let time = rfc3339::text(now).replace(['-', ':'], "");
    let kept = directory.join(format!("{PREFIX}{time}-{epoch:08x}"));
    if rename_if_present(&views, &kept)? {
        // The part that no checkpoint took into the file yet; it is useless without its database.
        rename_if_present(&with_suffix(&views, "-wal"), &with_suffix(&kept, "-wal"))?;
    }
    for end in WAL_SUFFIXES {
        remove_if_present(&with_suffix(&views, end))?;
    }
    Ok(())
}

/// Names of the kept views in `directory`, oldest first.
pub(in crate::sqlite) fn retired(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let ours = |name: &String| {
        name.starts_with(PREFIX) && !WAL_SUFFIXES.iter().any(|end| name.ends_with(end))
    };
    let mut names: Vec<_> = names.filter(ours).collect();
    names.sort();
    names
}

fn with_suffix(path: &Path, end: &str) -> std::path::PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// Renames `from`; false when it does not exist.
fn rename_if_present(from: &Path, to: &Path) -> Result<bool, Error> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes `path` if it exists.
pub(in crate::sqlite) fn remove_if_present(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
