//! Checks of addresses, shared by HTTP clients.

use std::net::{IpAddr, UdpSocket};

use reqwest::Url;

/// Whether `url` names this machine: a loopback or unspecified address, an address of one of its interfaces,
/// `localhost` or a name below it (RFC 6761), or its host name. Such requests must not go through a proxy: it would
/// read the token, and would look for the server on its own machine.
///
/// Only the parsed host counts, not the text: in `http://127.0.0.1:x@host/` the host is `host`.
#[must_use]
pub fn is_this_machine(url: &Url) -> bool {
    is_loopback(url)
        || match host(url) {
            Some(Host::Address(ip)) => ip.is_unspecified() || is_assigned(ip),
            Some(Host::Name(name)) => is_host_name(name, &host_name()),
            None => false,
        }
}

/// Whether `url` names a loopback address, `localhost` or a name below it: requests to it leave no network interface.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match host(url) {
        Some(Host::Address(ip)) => ip.is_loopback(),
        Some(Host::Name(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

enum Host<'a> {
    /// An address; IPv4-mapped IPv6 addresses are converted to IPv4.
    Address(IpAddr),
    /// A name in lower case, as the parser returns it.
    Name(&'a str),
}

fn host(url: &Url) -> Option<Host<'_>> {
    let host = url.host_str()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some(match bare.parse::<IpAddr>() {
        Ok(ip) => Host::Address(ip.to_canonical()),
        Err(_) => Host::Name(host),
    })
}

/// Whether `ip` is an address of this machine. The system binds sockets to its own addresses only; nothing is sent.
fn is_assigned(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase()
}

/// Whether `name` is the host name `own`; either may have a domain.
fn is_host_name(name: &str, own: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    !own.is_empty()
        && (name == own
            || (!name.contains('.') && name == label(own))
            || (!own.contains('.') && label(name) == own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn the_parsed_host_decides_what_is_loopback() {
        for (text, expected) in [
            ("http://127.0.0.1:8420", true),
            ("http://127.8.9.1", true),
            ("http://127.1/", true),
            ("http://[::1]:8420/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("https://localhost", true),
            ("https://LOCALHOST.:1", true),
            ("https://stateward.localhost", true),
            ("http://127.0.0.1:x@host/", false),
            ("http://localhost@host/", false),
            ("http://host/?127.0.0.1", false),
            ("http://localhost.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("http://notlocalhost", false),
            ("http://0.0.0.0:1", false),
            ("http://192.0.2.1", false),
        ] {
            assert_eq!(is_loopback(&url(text)), expected, "{text}");
        }
    }

    #[test]
    fn this_machine_has_more_names_than_loopback() {
        for (text, expected) in [
            ("http://127.0.0.1:8420", true),
            ("http://0.0.0.0:8502", true),
            ("http://[::]:8502", true),
            // TEST-NET-1 and the documentation prefix of IPv6: never assigned to a machine.
            ("http://192.0.2.1", false),
            ("http://[2001:db8::1]", false),
            ("http://0.0.0.0@example.org/", false),
            ("http://example.org", false),
        ] {
            assert_eq!(is_this_machine(&url(text)), expected, "{text}");
        }
        let own = format!("http://{}:8420", host_name());
        assert!(own.parse().is_ok_and(|own| is_this_machine(&own)), "{own}");
    }

    #[test]
    fn a_host_name_is_recognised_with_and_without_its_domain() {
        for (name, own, expected) in [
            ("node1", "node1", true),
            ("node1.example.org", "node1", true),
            ("node1", "node1.example.org", true),
            ("node1.example.org", "node1.example.org", true),
            ("node1.example.org.", "node1.example.org", true),
            ("node1.example.net", "node1.example.org", false),
            ("node10", "node1", false),
            ("", "", false),
        ] {
            assert_eq!(is_host_name(name, own), expected, "{name} on {own}");
        }
    }
}
