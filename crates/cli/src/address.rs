//! The address of a running server, in its data directory: so the command line finds it without flags.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the address lies.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("server.url")
}

/// The file, as long as this lives. One that a killed server left behind names an address where nobody answers,
/// which the client says.
pub(crate) struct Announced {
    path: PathBuf,
}

/// An address that this machine can ask: one that stands for all interfaces is no address to send anything to.
fn near(url: &str) -> String {
    url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
}

/// Writes where the server answers. That it cannot is no reason not to serve.
pub(crate) fn announce(data: &Path, url: &str) -> Announced {
    let path = path(data);
    // Beside it, then renamed: whoever reads it finds a whole address.
    let beside = path.with_extension("url.new");
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| writeln!(file, "{}", near(url)))
        .and_then(|()| std::fs::rename(&beside, &path));
    if let Err(error) = written {
        tracing::warn!(%error, path = %path.display(), "the address is not written down");
    }
    Announced { path }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // It may be gone already; one that stays is harmless.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_address_is_there_for_its_owner_as_long_as_the_server() {
        let data = tempfile::tempdir().unwrap();
        let announced = announce(data.path(), "http://127.0.0.1:1");
        assert_eq!(std::fs::read_to_string(path(data.path())).unwrap(), "http://127.0.0.1:1\n");
        let mode = std::fs::metadata(path(data.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(near("https://0.0.0.0:8420"), "https://127.0.0.1:8420");
        drop(announced);
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
    }
}
