//! The connection pool of a client: time-outs, certificate authorities, proxy.

use std::path::Path;
use std::time::Duration;

use reqwest::Url;

use crate::address_check::is_this_machine;
use crate::settings::ConnectError;

/// A backend that does not accept a connection in this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a single request, even if its call has more time.
const TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// The proxy of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proxy<'a> {
    /// The one that the environment names, but none for a service on this machine.
    Environment,
    /// None, whatever the environment names.
    Direct,
    /// This one, for every request.
    At(&'a Url),
}

/// Prepares a connection pool for the service at `url`; sends nothing. `authorities` is a file of PEM certificates that
/// replaces the system's authorities; `None` = these.
///
/// # Errors
/// If that file cannot be read or holds no certificate, or the proxy cannot be used.
pub(crate) fn client(
    driver: &'static str,
    url: &Url,
    authorities: Option<&Path>,
    proxy: Proxy<'_>,
) -> Result<reqwest::Client, ConnectError> {
    let unusable = |message: String| ConnectError::Unusable { driver, message };
    let mut http = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT_MAX)
        // Following a redirect would send the token to a host that is not configured.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("stateward/", env!("CARGO_PKG_VERSION")));
    http = match proxy {
        Proxy::Environment if is_this_machine(url) => http.no_proxy(),
        Proxy::Environment => http,
        Proxy::Direct => http.no_proxy(),
        Proxy::At(proxy) => {
            let proxy = reqwest::Proxy::all(proxy.clone());
            let refused = |_| unusable("`proxy` is no address of a proxy".to_owned());
            http.no_proxy().proxy(proxy.map_err(refused)?)
        }
    };
    if let Some(path) = authorities {
        let refused = |what: String| unusable(format!("{}: {what}", path.display()));
        let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if authorities.is_empty() {
            return Err(refused("holds no certificates".to_owned()));
        }
        http = http.tls_certs_only(authorities);
    }
    http.build().map_err(|error| unusable(error.to_string()))
}
