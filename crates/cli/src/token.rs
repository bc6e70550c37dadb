//! The first administrator's token: a file that only its owner can read.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

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

/// 256 bits from the system.
fn random() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    let source = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    source.context("no random numbers")?;
    let mut token = String::from("stw_");
    for byte in bytes {
        write!(token, "{byte:02x}").context("out of memory")?;
    }
    Ok(token)
}
