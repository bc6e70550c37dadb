//! The first administrator's token: a file that only its owner can read.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::random;

/// The file with the token.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("admin.token")
}

/// Reads the token; `None` = there is none yet.
pub(crate) fn load(data: &Path) -> anyhow::Result<Option<String>> {
    if path(data).exists() { load_or_create(data).map(Some) } else { Ok(None) }
}

/// A token that is written nowhere.
pub(crate) fn unwritten() -> anyhow::Result<String> {
    random()
}

/// Writes `token` as the first administrator's.
///
/// # Errors
/// When there is a file already, or it cannot be written.
pub(crate) fn write(data: &Path, token: &str) -> anyhow::Result<()> {
    let path = path(data);
    let written = create_private_file(&path).and_then(|mut file| {
        file.write_all(token.as_bytes()).and_then(|()| file.sync_all()).map_err(Into::into)
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Reads the token; the first start creates it.
pub(crate) fn load_or_create(data: &Path) -> anyhow::Result<String> {
    let path = path(data);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let token = random()?;
            let written = file.write_all(token.as_bytes()).and_then(|()| file.sync_all());
            written.with_context(|| format!("cannot write {}", path.display()))?;
            Ok(token)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let token = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let token = token.trim().to_owned();
            anyhow::ensure!(!token.is_empty(), "{} is empty: delete it", path.display());
            Ok(token)
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

/// Creates a file that only its owner can read.
///
/// # Errors
/// When it exists already, or cannot be created.
pub(crate) fn create_private_file(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

/// A token of 256 random bits.
fn random() -> anyhow::Result<String> {
    Ok(format!("stw_{}", random::hexadecimal::<32>()?))
}
