//! The first administrator's token: a file that only its owner can read.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::chance;

/// Where the token lies.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("admin.token")
}

/// Reads the token; the first start writes one.
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

/// A new file that only its owner can read.
///
/// # Errors
/// When it is there already, or cannot be made.
pub(crate) fn create(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

/// 256 bits from the system.
fn random() -> anyhow::Result<String> {
    Ok(format!("stw_{}", chance::hexadecimal::<32>()?))
}
