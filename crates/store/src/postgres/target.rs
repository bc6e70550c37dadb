//! The database that a URL names: its hosts, and how to sign in to each of them.
//!
//! sqlx knows URLs of one host only, and prints parameters that it does not know; so the URL is taken apart here.
//! Invariant: no error repeats a part of the URL that may be a secret.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// The hosts of one database, one of which is the primary.
#[derive(Clone)]
pub struct Target {
    hosts: Vec<PgConnectOptions>,
    database: String,
}

/// The URL does not name a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("store.url: {0}")]
pub struct BadUrl(String);

impl Target {
    /// The hosts, in the order of the URL.
    pub(super) fn hosts(&self) -> &[PgConnectOptions] {
        &self.hosts
    }

    /// Its name, for messages.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Signs in with `password`.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.hosts = self.hosts.into_iter().map(|host| host.password(password)).collect();
        self
    }
}

/// Without user and password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(address).collect();
        f.debug_struct("Target").field("hosts", &hosts).field("database", &self.database).finish()
    }
}

/// Host and port, or the folder of the socket, for messages.
pub(super) fn address(host: &PgConnectOptions) -> String {
    match host.get_socket() {
        Some(socket) => format!("{}:{}", socket.display(), host.get_port()),
        None => format!("{}:{}", host.get_host(), host.get_port()),
    }
}

impl FromStr for Target {
    type Err = BadUrl;

    /// `postgres://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]/DATABASE[?sslmode=…&sslrootcert=…&host=FOLDER]`.
    fn from_str(url: &str) -> Result<Self, BadUrl> {
        let bad = |text: &str| BadUrl(text.to_owned());
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or_else(|| bad("it begins with postgres://"))?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (query, encrypted) = parameters(query)?;
        let hosts: Result<Vec<_>, _> = hosts
            .split(',')
            .map(|host| {
                // sqlx repeats no value of these parts in its errors, but no promise of that is known.
                let one = format!("postgres://{user}{host}{path}?{query}");
                let options: PgConnectOptions =
                    one.parse().map_err(|_| bad("a host, a port or a parameter cannot be read"))?;
                Ok(if encrypted { options } else { with_encryption(options) })
            })
            .collect();
        let hosts: Vec<PgConnectOptions> = hosts?;
        let database = hosts.first().and_then(PgConnectOptions::get_database);
        let database = database.ok_or_else(|| bad("it names no database"))?.to_owned();
        Ok(Self { hosts, database })
    }
}

/// The parameters that sqlx gets, and whether they say how to encrypt.
fn parameters(query: &str) -> Result<(String, bool), BadUrl> {
    let (mut kept, mut encrypted) = (Vec::new(), std::env::var_os("PGSSLMODE").is_some());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "sslmode" => encrypted = true,
            "sslrootcert" | "sslcert" | "sslkey" | "user" | "password" | "dbname" | "port" => {}
            "host" if !value.contains(',') => {}
            "host" => {
                return Err(BadUrl("several hosts stand before the database's name".to_owned()));
            }
            // The primary is what is used, whatever these ask for.
            "target_session_attrs" if matches!(value, "read-write" | "primary" | "any") => continue,
            "connect_timeout" => continue,
            other => return Err(BadUrl(format!("the parameter {other:?} is not known"))),
        }
        kept.push(pair);
    }
    Ok((kept.join("&"), encrypted))
}

/// Encrypts and verifies the connection, unless it stays on this machine. There TLS protects nothing, and costs: a message
/// of several records leaves in several writes, of which the last waits 40 ms for the server (sqlx 0.9 sets no
/// `TCP_NODELAY`).
fn with_encryption(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host();
    let local = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    options.ssl_mode(if local { PgSslMode::Disable } else { PgSslMode::VerifyFull })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<String> {
        let target: Target = url.parse().unwrap();
        target.hosts().iter().map(address).collect()
    }

    #[test]
    fn a_url_names_several_hosts_of_one_database() {
        let url =
            "postgres://stateward:secret@h1,h2:5433,[::1]:5434/db?target_session_attrs=primary";
        assert_eq!(hosts(url), ["h1:5432", "h2:5433", "[::1]:5434"]);
        assert_eq!(hosts("postgresql://h/db"), ["h:5432"]);
        assert_eq!(hosts("postgres://u@localhost/db?host=/tmp/x&port=7"), ["/tmp/x:7"]);
        let target: Target = url.parse().unwrap();
        assert_eq!(target.database(), "db");
        assert!(target.hosts().iter().all(|host| host.get_username() == "stateward"));
    }

    #[test]
    fn other_machines_are_verified_and_this_one_is_not_encrypted_unless_the_url_says_otherwise() {
        let mode = |url: &str| {
            let target: Target = url.parse().unwrap();
            format!("{:?}", target.hosts()[0].get_ssl_mode())
        };
        for (url, expected) in [
            ("postgres://u@h/db", "VerifyFull"),
            ("postgres://u@h/db?sslmode=require", "Require"),
            ("postgres://u@127.0.0.1/db", "Disable"),
            ("postgres://u@127.0.0.1/db?sslmode=require", "Require"),
            ("postgres://u@[::1]/db", "Disable"),
            ("postgres://u@localhost/db?host=/run/postgresql", "Disable"),
        ] {
            assert_eq!(mode(url), expected, "{url}");
        }
    }

    #[test]
    fn a_bad_url_is_refused_in_one_line_without_its_secrets() {
        for url in [
            "mysql://u:secret@h/db",
            "postgres://u:secret@h1,h2/",
            "postgres://u:secret@h:port/db",
            "postgres://u:secret@h/db?passwd=secret",
            "postgres://u:secret@/db?host=h1,h2",
            "postgres://u:secret@h/db?sslmode=secret",
        ] {
            let error = url.parse::<Target>().unwrap_err().to_string();
            assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
            assert!(error.starts_with("store.url: "), "{error}");
        }
        let target: Target = "postgres://u:secret@h/db".parse().unwrap();
        assert!(!format!("{target:?}").contains("secret"));
    }
}
