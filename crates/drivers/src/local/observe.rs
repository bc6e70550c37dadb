//! Observation of one object: its attributes, in the spelling of the desired state.

use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stateward_domain::failure::Failure;
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::{Object, Observation};

use super::kinds::Kind;
use super::paths::RelativePath;
use super::root::{self, Root};
use super::spec::{CONTENT_BYTES_MAX, mode_text};
use super::{accounts, errors};

/// The state of a path.
pub(super) enum PathState {
    /// An object of the requested kind.
    Present(Object),
    /// No object of that kind; the text is the proof.
    Absent(String),
}

/// Observes `path`.
///
/// # Errors
/// Nothing is proved: a directory on the way is not accessible, or the disk failed.
pub(super) fn observe_path(
    root: &Root,
    kind: Kind,
    path: &RelativePath,
) -> Result<PathState, Failure> {
    let root = root.open()?;
    let (parent, name) = path.split();
    let parent = match root::open_directory(&root, parent) {
        Ok(parent) => parent,
        Err(Errno::NOENT) => {
            return Ok(PathState::Absent("the directory that held it is gone".to_owned()));
        }
        Err(Errno::NOTDIR) => {
            return Ok(PathState::Absent("a parent is no directory".to_owned()));
        }
        Err(errno) => return Err(observe_failed(errno)),
    };
    let stat = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(PathState::Absent("the path does not exist".to_owned())),
        Err(errno) => return Err(observe_failed(errno)),
    };
    if !kind.is(FileType::from_raw_mode(stat.st_mode)) {
        return Ok(PathState::Absent(format!("what is at the path is no {}", kind.noun())));
    }
    match attributes(kind, &parent, name, path.as_str(), &stat) {
        Ok(attributes) => Ok(PathState::Present(object(path.as_str(), attributes))),
        Err(Errno::NOENT) => Ok(PathState::Absent("it went away during the look".to_owned())),
        Err(errno) => Err(observe_failed(errno)),
    }
}

fn observe_failed(errno: Errno) -> Failure {
    errors::below_root(errno, "look at the path")
}

/// The result of `observe`.
pub(super) fn observation(found: PathState) -> Observation {
    match found {
        PathState::Present(object) => Observation::Present(object),
        PathState::Absent(proof) => Observation::Absent { proof },
    }
}

pub(super) fn object(path: &str, attributes: Value) -> Object {
    Object { external_id: ExternalId(path.to_owned()), attributes, owner_key: None }
}

/// The attributes of the object `name`, whose status is `stat`.
pub(super) fn attributes(
    kind: Kind,
    parent: &OwnedFd,
    name: &str,
    path: &str,
    stat: &Stat,
) -> Result<Value, Errno> {
    let mut attributes = json!({
        "path": path, "mode": mode_text(stat.st_mode),
        "owner": accounts::user(stat.st_uid)?, "uid": stat.st_uid,
        "group": accounts::group(stat.st_gid)?, "gid": stat.st_gid,
    });
    if kind == Kind::File {
        attributes["content"] = content(parent, name, stat)?;
    }
    Ok(attributes)
}

/// `observed` with owner and group in the spelling of `spec`: as an id where `spec` has an id.
pub(super) fn with_declared_account_spelling(observed: &Value, spec: &Value) -> Value {
    let mut observed = observed.clone();
    for (name, id) in [("owner", "uid"), ("group", "gid")] {
        let Some(id) = observed.get(id).and_then(Value::as_u64) else { continue };
        let id = Value::from(id.to_string());
        if spec[name] == id {
            observed[name] = id;
        }
    }
    observed
}

/// The content as text. Content that is no text is an object instead: it equals no desired text, and changes whenever
/// the file does.
fn content(parent: &OwnedFd, name: &str, stat: &Stat) -> Result<Value, Errno> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let too_large = || json!({"size": size, "modified": stat.st_mtime, "too_large": true});
    if size > CONTENT_BYTES_MAX as u64 {
        return Ok(too_large());
    }
    let file = match open_file(parent, name) {
        // The mode forbids reading. Rewriting the file repairs that, so it is drift, not a failure.
        Err(Errno::ACCESS | Errno::PERM) => return Ok(json!({"size": size, "unreadable": true})),
        result => result?,
    };
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    let read = std::fs::File::from(file).take(CONTENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if bytes.len() > CONTENT_BYTES_MAX {
        return Ok(too_large());
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => Value::String(text),
        Err(error) => {
            let bytes = error.as_bytes();
            json!({"size": bytes.len(), "sha256": hex(&Sha256::digest(bytes))})
        }
    })
}

/// Opens a regular file for reading; never blocks on a pipe, never follows a link.
pub(super) fn open_file(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let is = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if Kind::File.is(is) { Ok(file) } else { Err(Errno::NOENT) }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
