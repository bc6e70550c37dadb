//! Environment variables: which ones configure the server, and which ones only have the same prefix.

use figment::providers::Env;

/// Prefix of environment variables.
const PREFIX: &str = "STATEWARD_";
/// Separates a section from its key. A variable without it does not configure the server: Kubernetes sets several in
/// every pod beside a Service called `stateward`.
const SEPARATOR: &str = "__";
/// Variables of the client.
const CLIENT_VARIABLES: &[&str] = &["SERVER", "TOKEN", "TOKEN_FILE", "CA_FILE"];

/// The configuration from `STATEWARD_<SECTION>__<KEY>`.
pub(super) fn layer() -> Env {
    Env::prefixed(PREFIX).filter(|name| name.as_str().contains(SEPARATOR)).split(SEPARATOR)
}

/// Variables with our prefix that neither the server, the client nor Kubernetes uses: probably misspelt.
pub(crate) fn unknown_variables() -> Vec<String> {
    let variables = std::env::vars_os();
    let texts = variables.map(|(name, value)| (name.to_string_lossy().into_owned(), value));
    let unknown = texts.filter(|(name, value)| is_unknown(name, &value.to_string_lossy()));
    unknown.map(|(name, _)| name).collect()
}

fn is_unknown(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    !rest.contains(SEPARATOR) && !CLIENT_VARIABLES.contains(&rest) && !is_of_a_service(name, value)
}

/// Whether Kubernetes sets such a variable for a Service
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
fn is_of_a_service(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") {
        return true;
    }
    let Some((_, port)) = name.rsplit_once("_PORT_") else {
        let address =
            ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
        return name.ends_with("_PORT") && address;
    };
    let mut parts = port.split('_');
    let number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
    let protocol = parts.next().is_some_and(|name| ["TCP", "UDP", "SCTP"].contains(&name));
    let rest = parts.next().is_none_or(|name| ["PROTO", "PORT", "ADDR"].contains(&name));
    number && protocol && rest && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_only_look_like_ours_are_not_taken_for_misspelt_ones() {
        for (name, value) in [
            ("STATEWARD_PORT", "tcp://10.0.0.1:8420"),
            ("STATEWARD_SERVICE_HOST", "10.0.0.1"),
            ("STATEWARD_SERVICE_PORT", "8420"),
            ("STATEWARD_SERVICE_PORT_HTTP", "8420"),
            ("STATEWARD_PORT_8420_TCP", "tcp://10.0.0.1:8420"),
            ("STATEWARD_PORT_8420_TCP_PROTO", "tcp"),
            ("STATEWARD_PORT_8420_TCP_PORT", "8420"),
            ("STATEWARD_PORT_8420_TCP_ADDR", "10.0.0.1"),
            ("STATEWARD_API_PORT_53_UDP_ADDR", "10.0.0.1"),
            ("STATEWARD_TOKEN_FILE", "x"),
            ("STATEWARD_SERVER", "x"),
            ("STATEWARD_SERVER__LISTEN", "x"),
            ("HOME", "x"),
        ] {
            assert!(!is_unknown(name, value), "{name}");
        }
        for (name, value) in [
            ("STATEWARD_LISTEN", "x"),
            ("STATEWARD_PORT", "8420"),
            ("STATEWARD_SERVER_LISTEN", "x"),
            ("STATEWARD_PORT_8420", "x"),
            ("STATEWARD_PORT_X_TCP", "x"),
        ] {
            assert!(is_unknown(name, value), "{name}");
        }
    }
}
