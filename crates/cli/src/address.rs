//! The address of a running server, in its data directory: so the command line finds it without flags.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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

/// Where this machine reaches a server that listens on `listens`: the unspecified address stands for all interfaces,
/// and is no destination.
pub(crate) fn reachable(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}

/// Writes where this machine reaches the server. That it cannot is no reason not to serve.
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
        .and_then(|mut file| writeln!(file, "{url}"))
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
