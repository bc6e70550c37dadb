//! Random bytes from the operating system.

use std::io::Read;

use anyhow::Context;

/// `BYTES` random bytes, in hexadecimal.
///
/// # Errors
/// When `/dev/urandom` cannot be read.
pub(crate) fn hexadecimal<const BYTES: usize>() -> anyhow::Result<String> {
    let mut bytes = [0_u8; BYTES];
    let source =
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    source.context("no random numbers")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
