//! Views that do not fit their log any more. They may be the only trace of events that are remove_if_present, so they are kept beside
//! the new ones.

use std::io::{Error, ErrorKind};
use std::path::Path;

use stateward_domain::id::Position;
use stateward_domain::time::{Timestamp, rfc3339};

use crate::sqlite::files::restore_hold::sync_directory;

/// What their names begin with; the time and the number of the life that began then follow.
const PREFIX: &str = "views.db.kept-";
/// Kept at most; each is as large as the views were.
const KEPT_MAX: usize = 2;
/// What `SQLite` keeps beside a database, after its name.
const WAL_SUFFIXES: [&str; 2] = ["-wal", "-shm"];

/// Makes room for new views in `directory`, where nobody has the old ones open: they are put aside, or removed when no
/// projection in them `checkpoints` behind an event.
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

/// Puts the views in `directory` aside; nothing happens when there are none.
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
        // What was not taken into the file yet; without its database it would be nobody's.
        rename_if_present(&with_suffix(&views, "-wal"), &with_suffix(&kept, "-wal"))?;
    }
    for end in WAL_SUFFIXES {
        remove_if_present(&with_suffix(&views, end))?;
    }
    Ok(())
}

/// Names of what is kept in `directory`, the oldest first.
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

/// Whether there was something to be moved.
fn rename_if_present(from: &Path, to: &Path) -> Result<bool, Error> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what may be there.
pub(in crate::sqlite) fn remove_if_present(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
