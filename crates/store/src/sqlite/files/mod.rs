//! The files of a store: opened, locked, copied and installed.
//!
//! - `open`: the directory and both files; `database`: one file; `lock`: the lock on them, and the log's recorded head; `inodes`,
//!   `directory_guard`: whether the files are still where they were opened
//! - `backup`, `restore`, `import`, `copy`: copies, which `install` puts in place as a whole; `restore_hold`: the mark of a
//!   restored store; `stale_views`: views that are ahead of their log
//! - `spool`: what a copy of another store's log has read; `object_claims`: claims that older versions did not take

pub(super) mod backup;
pub(super) mod copy;
pub(super) mod database;
pub(super) mod directory_guard;
pub(super) mod import;
pub(super) mod inodes;
pub(super) mod install;
pub(super) mod lock;
pub(super) mod object_claims;
pub(super) mod open;
pub(super) mod restore;
pub(super) mod restore_hold;
mod spool;
pub(super) mod stale_views;
