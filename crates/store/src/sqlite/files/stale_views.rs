//! Views that do not fit their log any more. They may be the only trace of events that are gone, so they are kept beside
//! the new ones.

use std::io::{Error, ErrorKind};
use std::path::Path;

use stateward_domain::id::Position;
use stateward_domain::time::{Timestamp, rfc3339};

use crate::sqlite::files::restore_hold::synced;

/// What their names begin with; the time and the number of the life that began then follow.
const PREFIX: &str = "views.db.kept-";
/// Kept at most; each is as large as the views were.
const KEPT_MAX: usize = 2;
/// What `SQLite` keeps beside a database, after its name.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Makes room for new views in `directory`, where nobody has the old ones open: they are put aside, or removed when no
/// projection in them `stood` behind an event.
pub(in crate::sqlite) fn keep(
    directory: &Path,
    stood: &[Position],
    now: Timestamp,
    epoch: u32,
) -> Result<(), Error> {
    if stood.iter().any(|position| *position != Position::START) {
        aside(directory, now, epoch)?;
    }
    for end in ["", BESIDE[0], BESIDE[1]] {
        gone(&with(&directory.join("views.db"), end))?;
    }
    synced(directory)
}

/// Puts the views in `directory` aside; nothing happens when there are none.
pub(in crate::sqlite) fn aside(directory: &Path, now: Timestamp, life: u32) -> Result<(), Error> {
    let mut older = names(directory);
    while older.len() >= KEPT_MAX {
        let oldest = directory.join(older.remove(0));
        std::fs::remove_file(&oldest)?;
        for end in BESIDE {
            gone(&with(&oldest, end))?;
        }
    }
    let views = directory.join("views.db");
    let time = rfc3339::text(now).replace(['-', ':'], "");
    let kept = directory.join(format!("{PREFIX}{time}-{life:08x}"));
    if moved(&views, &kept)? {
        // What was not taken into the file yet; without its database it would be nobody's.
        moved(&with(&views, "-wal"), &with(&kept, "-wal"))?;
    }
    for end in BESIDE {
        gone(&with(&views, end))?;
    }
    Ok(())
}

/// Names of what is kept in `directory`, the oldest first.
pub(in crate::sqlite) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let ours =
        |name: &String| name.starts_with(PREFIX) && !BESIDE.iter().any(|end| name.ends_with(end));
    let mut names: Vec<_> = names.filter(ours).collect();
    names.sort();
    names
}

fn with(path: &Path, end: &str) -> std::path::PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// Whether there was something to be moved.
fn moved(from: &Path, to: &Path) -> Result<bool, Error> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what may be there.
pub(in crate::sqlite) fn gone(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
