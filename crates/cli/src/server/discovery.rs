//! Discovery: a running server writes its address into its data directory, where the command line finds it without flags.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file with the address.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("server.url")
}

/// Removes the file when dropped. A killed server leaves it behind; the client then reports that the address does not
/// answer.
pub(crate) struct Announced {
    path: PathBuf,
}

/// The address at which this machine reaches a server that listens on `listens`. The unspecified address (0.0.0.0, ::)
/// means all interfaces and is no destination: loopback replaces it.
pub(crate) fn reachable(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}

/// Writes the address at which this machine reaches the server. A failure is logged only: the server works without it.
pub(crate) fn announce(data: &Path, url: &str) -> Announced {
    let path = path(data);
    // Written beside the file and renamed, so that a reader never sees half an address.
    let beside = path.with_extension("url.new");
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| writeln!(file, "{url}"))
        .and_then(|()| std::fs::rename(&beside, &path));
    if let Err(error) = written {
        tracing::warn!(%error, path = %path.display(), "the address is not written down");
    }
    Announced { path }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // The file may be gone already; a stale one is harmless.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_server_on_all_interfaces_is_reached_on_loopback() {
        for (listens, reached) in [
            ("0.0.0.0:8420", "127.0.0.1:8420"),
            ("[::]:8420", "[::1]:8420"),
            ("192.0.2.1:8420", "192.0.2.1:8420"),
            ("127.0.0.2:8420", "127.0.0.2:8420"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }

    #[test]
    fn the_address_is_there_for_its_owner_as_long_as_the_server() {
        let data = tempfile::tempdir().unwrap();
        let announced = announce(data.path(), "http://127.0.0.1:1");
        assert_eq!(std::fs::read_to_string(path(data.path())).unwrap(), "http://127.0.0.1:1\n");
        let mode = std::fs::metadata(path(data.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(announced);
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
    }
}
