//! The restore hold. A restored, imported or copied log, or one older than its recorded head, must not act on any
//! backend before a person lifts the hold. Here: its marker file, and the detection of an older log.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use stateward_domain::id::Position;
use stateward_domain::ports::audit::RestoreHold;
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::ports::store_error::StoreError;

use crate::sqlite::error::OpenError;
use crate::sqlite::files::lock::LogHead;

/// Why the log that ends at `log` is not the one that was last written here; `None` = no sign of that. `known` is the
/// recorded head, `views` are the views' checkpoints. Both lag behind their log, so neither can be ahead of it. A
/// whole directory that was restored looks like one that was stopped.
pub(in crate::sqlite) fn detect_rollback(
    log: LogHead,
    known: Option<LogHead>,
    views: &[Position],
) -> Option<String> {
    if let Some(known) = known.filter(|known| known.log_id != log.log_id) {
        let (here, there) = (log.log_id, known.log_id);
        return Some(format!("events.db is log {here}, and not {there} that was served here"));
    }
    let known = known.map(|known| ("the lock file", known.position));
    let views = views.iter().map(|position| ("views.db", *position));
    let begun = known.into_iter().chain(views).filter(|(_, position)| *position != Position::START);
    let newer =
        |(_, at): &(_, Position)| at.epoch != log.position.epoch || at.minor > log.position.minor;
    let (who, at) = begun.filter(newer).max_by_key(|(_, at)| at.minor)?;
    Some(if at.epoch == log.position.epoch {
        let ends = log.position.minor;
        format!("events.db ends at {ends}, and {who} knows {}: it was put back, or cut", at.minor)
    } else {
        format!(
            "events.db is not of the life of the log that {who} knows: one of them was put back"
        )
    })
}

/// What the hold is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sqlite) enum Mark {
    /// A new epoch of the log: once a person lifted the hold in that epoch, the mark means nothing.
    OfEpoch,
    /// The log as it is, as when it was copied elsewhere.
    OfLog,
}

/// The marker file of the hold: while it exists, nothing is changed on any backend.
pub struct RestoreHoldFile {
    directory: PathBuf,
}

impl RestoreHoldFile {
    const NAME: &'static str = "put-back";
    /// Content of the file with [`Mark::OfEpoch`]; older versions left it empty.
    const OF_EPOCH: &'static [u8] = b"epoch\n";

    pub(in crate::sqlite) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(Self::NAME)
    }

    pub(in crate::sqlite) fn is_set(&self) -> bool {
        self.path().exists()
    }

    /// Whether the hold was set with [`Mark::OfEpoch`].
    pub(in crate::sqlite) fn is_of_epoch(&self) -> bool {
        std::fs::read(self.path()).is_ok_and(|content| content == Self::OF_EPOCH)
    }

    /// Sets the hold, durably.
    pub(in crate::sqlite) fn set(&self, mark: Mark) -> Result<(), OpenError> {
        let path = self.path();
        let content = if mark == Mark::OfEpoch { Self::OF_EPOCH } else { b"" };
        let made = File::create(&path).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
        made.and_then(|()| sync_directory(&self.directory))
            .map_err(|error| OpenError::from_io(&path, &error))
    }

    /// Lifts the hold, durably; idempotent.
    pub(in crate::sqlite) fn remove(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.path()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => sync_directory(&self.directory),
        }
    }
}

/// Makes created, renamed and removed names in `directory` durable.
pub(in crate::sqlite) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

#[async_trait]
impl RestoreHold for RestoreHoldFile {
    async fn clear(&self) -> Result<(), ReadError> {
        let failed = |error| StoreError::unavailable(format!("{}: {error}", self.path().display()));
        Ok(self.remove().map_err(failed)?)
    }
}

#[cfg(test)]
mod tests {
    use stateward_domain::id::LogId;
    use uuid::Uuid;

    use super::*;

    const fn at(epoch: u32, minor: u64) -> Position {
        Position { epoch, major: 0, minor }
    }

    const fn head(log: u128, epoch: u32, minor: u64) -> LogHead {
        LogHead { log_id: LogId(Uuid::from_u128(log)), position: at(epoch, minor) }
    }

    #[test]
    fn whatever_knows_more_than_the_log_speaks_against_it() {
        let log = head(1, 5, 10);
        for (known, views, says) in [
            (None, vec![], None),
            (None, vec![Position::START], None),
            (Some(head(1, 5, 10)), vec![at(5, 10), at(5, 3)], None),
            (Some(head(1, 5, 2)), vec![Position::START, at(5, 9)], None),
            (Some(LogHead { position: Position::START, ..log }), vec![], None),
            (Some(head(1, 5, 11)), vec![at(5, 9)], Some("the lock file knows 11")),
            (None, vec![at(5, 9), at(5, 12)], Some("views.db knows 12")),
            (Some(head(1, 5, 13)), vec![at(5, 12)], Some("the lock file knows 13")),
            (Some(head(1, 6, 2)), vec![at(5, 9)], Some("not of the life")),
            (None, vec![at(4, 1)], Some("not of the life")),
            (
                Some(head(2, 5, 1)),
                vec![at(5, 1)],
                Some("and not 00000000-0000-0000-0000-0000000000"),
            ),
        ] {
            let found = detect_rollback(log, known, &views);
            let same = match says {
                None => found.is_none(),
                Some(says) => found.as_ref().is_some_and(|found| found.contains(says)),
            };
            assert!(same, "{known:?} {views:?}: {found:?}");
        }
    }
}
