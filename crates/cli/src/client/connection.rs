//! Server and token: from flags, then the environment, then the data directory of a local server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use reqwest::Url;
use stateward_drivers::address_check::{is_loopback, is_this_machine};

use crate::client::certificate_pinning;
use crate::exit::CliError;
use crate::server::admin_token;
use crate::server::discovery;

/// The server's default address.
const DEFAULT_URL: &str = "http://127.0.0.1:8420";
/// The server's default data directory.
const DEFAULT_DATA: &str = "./data";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Heading of these options in help texts.
const HEADING: &str = "Connection";

/// Options of every verb that talks to a server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub(crate) struct ConnectionOptions {
    #[arg(
        long,
        help = "Address of the server [env: STATEWARD_SERVER]",
        value_name = "URL",
        global = true
    )]
    server: Option<String>,
    #[arg(
        long,
        help = "File with the token [env: STATEWARD_TOKEN_FILE; STATEWARD_TOKEN is the token itself]",
        value_name = "FILE",
        global = true
    )]
    token_file: Option<PathBuf>,
    #[arg(
        long,
        help = "Authority of the server's certificate, PEM [env: STATEWARD_CA_FILE]",
        value_name = "FILE",
        global = true
    )]
    ca_file: Option<PathBuf>,
    /// Data directory of a local server, which has its address and a token [default: ./data]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

/// A token, and the file or variable that it was read from.
#[derive(Clone)]
pub(crate) struct Token {
    value: String,
    origin: String,
}

impl Token {
    pub(super) fn value(&self) -> &str {
        &self.value
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }
}

/// One server with one token.
#[derive(Clone)]
pub(crate) struct ServerConnection {
    pub(super) url: String,
    /// `None` = anonymous.
    pub(super) token: Option<Token>,
    /// The token of the data directory that the address or the token came from. The server has to prove that it knows
    /// it before anything is sent. `None` = address and token were given explicitly.
    pub(super) proof_token: Option<Token>,
    /// The data directory of a local server that does not run. Nothing is sent then: a server at the default address
    /// would be another one.
    pub(super) stopped_data_dir: Option<PathBuf>,
    trust: Trust,
}

/// The certificates that are trusted.
#[derive(Clone)]
enum Trust {
    /// The system's authorities, and this one.
    System(Option<reqwest::Certificate>),
    /// This certificate alone (DER): the server is this process. `None` = it does not encrypt.
    ThisProcess(Option<Vec<u8>>),
}

/// The client's environment variables. They do not configure the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub(crate) server: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
}

impl Environment {
    fn of_this_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
        Self {
            server: text("STATEWARD_SERVER"),
            token: text("STATEWARD_TOKEN"),
            token_file: text("STATEWARD_TOKEN_FILE").map(PathBuf::from),
            ca_file: text("STATEWARD_CA_FILE").map(PathBuf::from),
        }
    }
}

impl ConnectionOptions {
    /// Data directory of a local server.
    pub(crate) fn data(&self) -> &Path {
        self.data.as_deref().unwrap_or_else(|| Path::new(DEFAULT_DATA))
    }

    /// # Errors
    /// A named file that cannot be read, with its name.
    pub(crate) fn connection(&self) -> anyhow::Result<ServerConnection> {
        self.within(Environment::of_this_process())
    }

    fn within(&self, environment: Environment) -> anyhow::Result<ServerConnection> {
        let data = self.data();
        let trust = trust(self.ca_file.as_ref().or(environment.ca_file.as_ref()))?;
        let named = self.server.clone().or(environment.server);
        let token_file = self.token_file.clone();
        let given = match (token_file, environment.token, environment.token_file) {
            (Some(file), _, _) | (None, None, Some(file)) => Some(read_token(&file)?),
            (None, Some(value), _) => {
                let (value, origin) = (value.trim().to_owned(), "STATEWARD_TOKEN".to_owned());
                Some(Token { value, origin })
            }
            (None, None, None) => None,
        };
        let found = std::fs::read_to_string(discovery::path(data)).ok();
        let local_token = admin_token::path(data);
        let is_meant = self.data.is_some() || (given.is_none() && local_token.exists());
        let stopped_data_dir =
            (named.is_none() && found.is_none() && is_meant).then(|| data.to_owned());
        let local = named.is_none() && found.is_some();
        let url = named.or(found).unwrap_or_else(|| DEFAULT_URL.to_owned());
        let url = url.trim().trim_end_matches('/').to_owned();
        let parsed = parsed(&url)?;
        // The token of the local server is never sent to another server.
        let takes_local = given.is_none() && (local || is_loopback(&parsed));
        let proof_token = if local || takes_local { read_token(&local_token).ok() } else { None };
        let token = if takes_local { proof_token.clone() } else { given };
        Ok(ServerConnection { url, token, proof_token, stopped_data_dir, trust })
    }
}

fn trust(file: Option<&PathBuf>) -> anyhow::Result<Trust> {
    let Some(file) = file else { return Ok(Trust::System(None)) };
    let name = || format!("{} is no certificate (PEM)", file.display());
    let pem = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Trust::System(Some(reqwest::Certificate::from_pem(&pem).with_context(name)?)))
}

fn read_token(file: &Path) -> anyhow::Result<Token> {
    let origin = file.display().to_string();
    let value = std::fs::read_to_string(file).with_context(|| format!("cannot read {origin}"))?;
    let value = value.trim().to_owned();
    if value.is_empty() {
        return Err(CliError::usage(format!("{origin} holds no token")));
    }
    Ok(Token { value, origin })
}

/// Parses the address of a server. A user name in it is refused: it could be mistaken for the host or for a token.
fn parsed(url: &str) -> anyhow::Result<Url> {
    let no = |why: &str| CliError::usage(format!("{url} is no address of a server: {why}"));
    let parsed: Url = url.parse().map_err(|error| no(&format!("{error}")))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(no("it begins with http:// or https://"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(CliError::usage(
            "the address of a server names no user: the token says who calls",
        ));
    }
    Ok(parsed)
}

impl ServerConnection {
    /// The server in this process, which presents `certificate` (DER; `None` = it does not encrypt). The certificate is
    /// compared as a whole: it names the external address, and this machine may not know its authority.
    pub(crate) fn of_this_process(url: &str, token: &str, certificate: Option<Vec<u8>>) -> Self {
        let (value, origin) = (token.to_owned(), "this process".to_owned());
        let token = Some(Token { value, origin });
        let trust = Trust::ThisProcess(certificate);
        Self { url: url.to_owned(), token, proof_token: None, stopped_data_dir: None, trust }
    }

    pub(super) fn http(&self) -> anyhow::Result<reqwest::Client> {
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        if matches!(self.trust, Trust::ThisProcess(_)) || is_this_machine(&parsed(&self.url)?) {
            http = http.no_proxy();
        }
        http = match &self.trust {
            Trust::System(None) => http,
            Trust::System(Some(authority)) => http.tls_certs_merge([authority.clone()]),
            Trust::ThisProcess(None) => http.https_only(false),
            Trust::ThisProcess(Some(certificate)) => {
                let tls = certificate_pinning::pinned_to(certificate).context("no TLS")?;
                http.https_only(true).tls_backend_preconfigured(tls)
            }
        };
        http.build().context("no HTTP client")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(data: &Path) -> ConnectionOptions {
        ConnectionOptions {
            server: None,
            token_file: None,
            ca_file: None,
            data: Some(data.to_owned()),
        }
    }

    fn served() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("server.url"), "http://127.0.0.1:1234\n").unwrap();
        std::fs::write(data.path().join("admin.token"), "stw_local\n").unwrap();
        data
    }

    fn token(connection: &ServerConnection) -> Option<&str> {
        connection.token.as_ref().map(Token::value)
    }

    #[test]
    fn a_local_server_is_found_without_flags() {
        let data = served();
        let found = options(data.path()).within(Environment::default()).unwrap();
        assert_eq!((&*found.url, token(&found)), ("http://127.0.0.1:1234", Some("stw_local")));
        assert!(found.stopped_data_dir.is_none());
        let unnamed = ConnectionOptions { data: None, ..options(Path::new("")) };
        let nowhere = unnamed.within(Environment::default()).unwrap();
        assert_eq!((&*nowhere.url, token(&nowhere)), (DEFAULT_URL, None));
        assert_eq!(nowhere.stopped_data_dir, None);
    }

    #[test]
    fn a_directory_whose_server_does_not_run_is_named_and_not_replaced_by_the_default_address() {
        let data = served();
        std::fs::remove_file(data.path().join("server.url")).unwrap();
        let stopped_data_dir = options(data.path()).within(Environment::default()).unwrap();
        assert_eq!(stopped_data_dir.stopped_data_dir.as_deref(), Some(data.path()));
        for environment in [
            Environment { token: Some("stw_x".to_owned()), ..Environment::default() },
            Environment {
                token_file: Some(data.path().join("admin.token")),
                ..Environment::default()
            },
        ] {
            let stopped_data_dir = options(data.path()).within(environment).unwrap();
            assert_eq!(
                stopped_data_dir.stopped_data_dir.as_deref(),
                Some(data.path()),
                "it was named"
            );
        }
        let environment =
            Environment { server: Some("http://127.0.0.1:9".to_owned()), ..Environment::default() };
        assert_eq!(
            options(data.path()).within(environment).unwrap().stopped_data_dir,
            None,
            "another was named"
        );
    }

    #[test]
    fn the_local_token_goes_to_no_other_machine() {
        let data = served();
        for (server, expected) in [
            ("https://stateward.example.org", None),
            ("https://localhost.example.org:8420", None),
            ("http://127.0.0.1:9", Some("stw_local")),
            ("http://[::1]:9/", Some("stw_local")),
            ("http://127.0.0.1.example.org", None),
            ("http://0.0.0.0:9", None),
        ] {
            let environment =
                Environment { server: Some(server.to_owned()), ..Environment::default() };
            let found = options(data.path()).within(environment).unwrap();
            assert_eq!(token(&found), expected, "{server}");
        }
    }

    #[test]
    fn an_address_with_a_user_or_without_a_scheme_is_refused() {
        let data = served();
        for server in ["http://127.0.0.1:x@host/", "http://localhost@host", "host:8420", "/run/x"] {
            let environment =
                Environment { server: Some(server.to_owned()), ..Environment::default() };
            let error = options(data.path()).within(environment).err().expect("refused");
            assert_eq!(crate::client::exit_of(&error).code(), 2, "{server}: {error:#}");
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_the_value_over_the_file() {
        let data = served();
        let file = data.path().join("other");
        std::fs::write(&file, "stw_file").unwrap();
        let environment = Environment {
            server: Some("http://env".to_owned()),
            token: Some("stw_env".to_owned()),
            token_file: Some(file.clone()),
            ca_file: None,
        };
        let mut options = options(data.path());
        let found = options.within(environment.clone()).unwrap();
        assert_eq!((&*found.url, token(&found)), ("http://env", Some("stw_env")));
        options.server = Some("http://flag/".to_owned());
        options.token_file = Some(file);
        let found = options.within(environment).unwrap();
        assert_eq!((&*found.url, token(&found)), ("http://flag", Some("stw_file")));
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        let data = served();
        let mut options = options(data.path());
        options.ca_file = Some(data.path().join("none.pem"));
        let error = options.within(Environment::default()).err().expect("refused");
        assert!(format!("{error:#}").contains("none.pem"), "{error:#}");
    }
}
