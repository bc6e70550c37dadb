//! The source of the configuration: environment, file, or pipe.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use figment::Figment;
use figment::providers::{Format, Toml};

use crate::input;

/// Bytes of a configuration at most.
const BYTES_MAX: u64 = 1024 * 1024;

/// Where the configuration is read from. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum ConfigSource {
    /// The environment alone.
    Environment,
    /// A file, read at each [`layer`](Self::layer).
    File(PathBuf),
    /// The content of a pipe (`<(…)`, `/dev/stdin`). It is kept, because a second read would find the pipe empty and
    /// yield the defaults. A reload reads secrets and environment again, and uses this text unchanged.
    Pipe(Arc<str>),
}

impl ConfigSource {
    /// `path`: `None` = no file.
    ///
    /// # Errors
    /// When `path` cannot be read, or a pipe holds more than 1 MiB.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Environment) };
        let none = || format!("there is no configuration file {}", path.display());
        let metadata = std::fs::metadata(path).with_context(none)?;
        anyhow::ensure!(!metadata.is_dir(), "{}", none());
        if metadata.is_file() {
            return Ok(Self::File(path.to_owned()));
        }
        Ok(Self::Pipe(input::read(path, BYTES_MAX)?.into()))
    }

    /// Its present content.
    pub(super) fn layer(&self) -> Figment {
        match self {
            Self::Environment => Figment::new(),
            Self::File(path) => Figment::from(Toml::file_exact(path)),
            Self::Pipe(text) => Figment::from(Toml::string(text)),
        }
    }

    /// The directory that its paths are relative to; `None` = the working directory.
    pub(super) fn base(&self) -> Option<&Path> {
        match self {
            Self::File(path) => path.parent(),
            Self::Environment | Self::Pipe(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode};

    use super::*;
    use crate::server::config::Config;

    #[test]
    fn a_pipe_is_read_once_and_counts_at_each_reload() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let text = "[backends.x]\ndriver = \"local\"\nroot = \"below\"\n";
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::write(pipe, text).unwrap()
        });
        let source = ConfigSource::open(Some(&pipe)).unwrap();
        writer.join().unwrap();
        for _ in 0..2 {
            let backends = Config::load(&source).unwrap().backends.unwrap();
            assert_eq!(
                backends["x"].settings["root"], "below",
                "relative to the working directory"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("none.toml")] {
            let error = ConfigSource::open(Some(&path)).expect_err("refused");
            assert!(format!("{error:#}").contains(&*path.to_string_lossy()), "{error:#}");
        }
    }
}
