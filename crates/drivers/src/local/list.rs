//! Listing of all objects of a kind below the root, page by page, in a stable order.

use std::cmp::Ordering;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::ports::driver::{Listing, Object};

use super::blocking_pool::Permit;
use super::kinds::Kind;
use super::paths::{DEPTH_MAX, RESERVED};
use super::root::{self, Root};
use super::{errors, observe};

const PAGE_OBJECTS_MAX: usize = 500;
/// Objects contain their contents, so a limit on their number alone does not bound a page.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One page; the cursor is the path of its last object.
///
/// An object that changes during the walk is listed at most once and may be missed. Names that are not UTF-8 are left
/// out, because no entity can have such a path.
pub(super) fn list(
    root: &Root,
    kind: Kind,
    cursor: Option<&str>,
    permit: &Permit,
) -> Result<Listing, Failure> {
    let root = root.open()?;
    let mut walk = Walk { kind, after: cursor, permit, objects: Vec::new(), bytes: 0, full: false };
    walk.visit(&root, "", 0)?;
    let last = walk.objects.last().map(|object| object.external_id.0.clone());
    Ok(Listing { cursor: last.filter(|_| walk.full), objects: walk.objects, partial: false })
}

struct Walk<'a> {
    kind: Kind,
    after: Option<&'a str>,
    permit: &'a Permit,
    objects: Vec<Object>,
    bytes: usize,
    full: bool,
}

impl Walk<'_> {
    fn visit(&mut self, directory: &OwnedFd, prefix: &str, depth: usize) -> Result<(), Failure> {
        if self.permit.is_abandoned() {
            let message = "the caller of the listing is gone";
            return Err(Failure::harmless(ErrorClass::Cancelled, "given_up", message));
        }
        let names = names(directory).map_err(|e| errors::below_root(e, "list a directory"))?;
        for name in names {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            match self.entry(directory, &name, &path, depth) {
                // Deleted since its name was read, or not readable: leaving it out of the list claims nothing.
                Ok(())
                | Err(ListError::Errno(
                    Errno::NOENT | Errno::ACCESS | Errno::PERM | Errno::NOTDIR | Errno::LOOP,
                )) => {}
                Err(ListError::Errno(errno)) => {
                    return Err(errors::below_root(errno, "list a directory"));
                }
                Err(ListError::Failure(failure)) => return Err(failure),
            }
            if self.full {
                break;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        parent: &OwnedFd,
        name: &str,
        path: &str,
        depth: usize,
    ) -> Result<(), ListError> {
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let found = FileType::from_raw_mode(stat.st_mode);
        let seen = self.after.is_some_and(|after| compare_paths(path, after) != Ordering::Greater);
        if self.kind.is(found) && !seen {
            let attributes = observe::attributes(self.kind, parent, name, path, &stat)?;
            self.bytes += attributes["content"].as_str().map_or(0, str::len);
            self.objects.push(observe::object(path, attributes));
            if self.objects.len() >= PAGE_OBJECTS_MAX || self.bytes >= PAGE_BYTES_MAX {
                self.full = true;
                return Ok(());
            }
        }
        // A subtree before the cursor was listed in full, unless it contains the cursor.
        let done = seen && self.after.is_some_and(|after| !is_below(after, path));
        if found == FileType::Directory && !done && depth + 1 < DEPTH_MAX {
            self.visit(&root::open_child(parent, name)?, path, depth + 1)?;
        }
        Ok(())
    }
}

enum ListError {
    Errno(Errno),
    Failure(Failure),
}

impl From<Errno> for ListError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Failure> for ListError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

fn names(directory: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name != "." && name != ".." && !name.starts_with(RESERVED) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The order of the walk: by components, so that a directory comes right before its content.
fn compare_paths(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}

/// Whether `path` equals `above` or is below it.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
