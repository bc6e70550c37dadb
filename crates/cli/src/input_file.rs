//! Reads a file that was named on the command line: the whole text, or an error.
//!
//! **Invariant:** the bound applies to the bytes read, never to the size or type in the metadata: `<(…)`, `/dev/stdin`
//! and a named pipe have neither, and a file may grow while it is read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;

use crate::exit::CliError;

/// The whole text at `path`, `bytes_max` at most.
///
/// # Errors
/// With the path: it cannot be read, is longer, or is not UTF-8.
pub(crate) fn read(path: &Path, bytes_max: u64) -> anyhow::Result<String> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    text(file, &name, bytes_max)
}

/// The whole text of `from`, which errors call `name`.
///
/// # Errors
/// See [`read`].
pub(crate) fn text(from: impl Read, name: &str, bytes_max: u64) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    from.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > bytes_max {
        return Err(CliError::usage(format!(
            "{name} is longer than {bytes_max} bytes: nothing of it was used"
        )));
    }
    if [[0xff, 0xfe], [0xfe, 0xff]].iter().any(|mark| bytes.starts_with(mark)) {
        return Err(CliError::usage(format!("{name} is UTF-16: save it as UTF-8")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        CliError::usage(format!("{name} is no UTF-8: byte {at} begins no character"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_or_no_text_is_refused_as_a_whole() {
        assert_eq!(text(&b"12345"[..], "it", 5).unwrap(), "12345");
        let error = text(&b"123456"[..], "it", 5).expect_err("refused");
        assert!(error.to_string().contains("it is longer than 5 bytes"), "{error}");
        let error = text(&b"ab\xffc"[..], "it", 5).expect_err("refused");
        assert!(error.to_string().contains("byte 2"), "{error}");
        let error = text(&b"\xff\xfea\0"[..], "it", 5).expect_err("refused");
        assert!(error.to_string().contains("is UTF-16"), "{error}");
        assert!(read(Path::new("/dev/zero"), 1_000).is_err());
    }
}
