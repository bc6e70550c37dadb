//! The source of the configuration: environment, file, or pipe.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use figment::Figment;
use figment::providers::{Format, Toml};

use crate::input_file;

/// Bytes of a configuration at most.
const BYTES_MAX: u64 = 1024 * 1024;

/// Where the configuration is read from, with the flags that override it at each reading. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ConfigSource {
    origin: Origin,
    /// `--listen`.
    listen: Option<SocketAddr>,
}

#[derive(Clone, Debug)]
enum Origin {
    /// The environment alone.
    Environment,
    /// A file, read at each [`layer`](ConfigSource::layer).
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
        Ok(Self { origin: Origin::open(path)?, listen: None })
    }

    /// Overrides `server.listen`; `None` = what file and environment say.
    pub(crate) const fn with_listen(mut self, listen: Option<SocketAddr>) -> Self {
        self.listen = listen;
        self
    }

    /// Its present content.
    pub(super) fn layer(&self) -> Figment {
        match &self.origin {
            Origin::Environment => Figment::new(),
            Origin::File(path) => Figment::from(Toml::file_exact(path)),
            Origin::Pipe(text) => Figment::from(Toml::string(text)),
        }
    }

    /// What the flags say; overrides [`layer`](Self::layer) and the environment.
    pub(super) fn flags(&self) -> Figment {
        match self.listen {
            None => Figment::new(),
            Some(listen) => Figment::from(("server.listen", listen.to_string())),
        }
    }

    /// The directory that its paths are relative to; `None` = the working directory.
    pub(super) fn base(&self) -> Option<&Path> {
        match &self.origin {
            Origin::File(path) => path.parent(),
            Origin::Environment | Origin::Pipe(_) => None,
        }
    }
}

impl Origin {
    fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Environment) };
        let none = || format!("there is no configuration file {}", path.display());
        let metadata = std::fs::metadata(path).with_context(none)?;
        anyhow::ensure!(!metadata.is_dir(), "{}", none());
        if metadata.is_file() {
            return Ok(Self::File(path.to_owned()));
        }
        Ok(Self::Pipe(input_file::read(path, BYTES_MAX)?.into()))
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
