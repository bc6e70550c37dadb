//! Address and credentials of a site, from the backend's own keys.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use super::NAME;
use crate::http::Secret;
use crate::settings::{ConnectError, Settings, duration_of};

/// The product, which decides the version of the API and its formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deployment {
    /// API v3: ADF documents, users by account id.
    Cloud,
    /// API v2: wiki text, users by name.
    DataCenter,
}

impl Deployment {
    /// The API's version in paths.
    pub(super) const fn version(self) -> &'static str {
        match self {
            Self::Cloud => "3",
            Self::DataCenter => "2",
        }
    }

    /// The member that identifies a user.
    pub(super) const fn user_id(self) -> &'static str {
        match self {
            Self::Cloud => "accountId",
            Self::DataCenter => "name",
        }
    }
}

/// What is sent to prove who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Cloud: e-mail address and API token.
    ApiToken { email: String, token: Secret },
    /// Cloud: OAuth 2.0 client credentials, exchanged for tokens at `token_url`.
    Client { id: String, secret: Secret, token_url: Url },
    /// Data Center: personal access token.
    PersonalToken(Secret),
}

/// The resolved configuration of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// With the context path, without `rest`.
    pub(super) url: Url,
    pub(super) deployment: Deployment,
    pub(super) credentials: Credentials,
    pub(super) cacert: Option<PathBuf>,
    /// `None` = no proxy, whatever the environment names.
    pub(super) proxy: Option<Url>,
    /// How long a search may not show a write, or a lost request may still run.
    pub(super) settle: Duration,
    /// How long a read by id may not show a write.
    pub(super) read_lag: Duration,
    /// Whether deleted projects go to the recycle bin (Cloud), where they keep their keys, or are deleted for good.
    pub(super) recycle_bin: bool,
}

const KNOWN: &[&str] = &[
    "url",
    "email",
    "api_token",
    "client_id",
    "client_secret",
    "token_url",
    "personal_access_token",
    "cacert",
    "proxy",
    "settle",
    "read_lag",
    "project_deletion",
];
/// Where Atlassian's Cloud issues tokens.
const TOKEN_URL: &str = "https://auth.atlassian.com/oauth/token";
/// Searches of the Cloud lag by seconds, a request ends within a minute.
pub(super) const SETTLE: Duration = Duration::from_mins(1);
/// Reads by id rarely lag at all.
const READ_LAG: Duration = Duration::from_secs(5);

impl Site {
    /// Resolves the section of a backend.
    ///
    /// # Errors
    /// An unknown, missing or contradictory key. The message never contains a value.
    pub(super) fn resolve(settings: &Settings) -> Result<Self, ConnectError> {
        if let Some(unknown) = settings.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(invalid(format!("unknown key `{unknown}`")));
        }
        if let Some((key, _)) = settings.iter().find(|(_, value)| !value.is_string()) {
            return Err(invalid(format!("`{key}` must be a text")));
        }
        let text = |key: &str| settings.get(key).and_then(Value::as_str);
        let url = text("url").ok_or_else(|| invalid("`url` is missing"))?;
        let (deployment, credentials) = credentials(&text)?;
        let time = |key: &str, usual| match text(key) {
            None => Ok(usual),
            Some(text) => {
                let time = duration_of(text).filter(|time| *time <= Duration::from_hours(1));
                time.ok_or_else(|| {
                    invalid(format!("`{key}` must be a duration such as \"30s\", at most \"1h\""))
                })
            }
        };
        Ok(Self {
            url: address("url", url)?,
            deployment,
            credentials,
            cacert: text("cacert").map(PathBuf::from),
            proxy: text("proxy").map(|proxy| address("proxy", proxy)).transpose()?,
            settle: time("settle", SETTLE)?,
            read_lag: time("read_lag", READ_LAG)?,
            recycle_bin: match text("project_deletion") {
                None | Some("recycle_bin") => true,
                Some("permanent") => false,
                Some(_) => {
                    let message = "`project_deletion` must be \"recycle_bin\" or \"permanent\"";
                    return Err(invalid(message));
                }
            },
        })
    }
}

fn credentials<'a>(
    text: &impl Fn(&str) -> Option<&'a str>,
) -> Result<(Deployment, Credentials), ConnectError> {
    let needs = |key: &str, other: &str| {
        text(key).ok_or_else(|| invalid(format!("`{other}` needs `{key}`")))
    };
    match (text("api_token"), text("client_secret"), text("personal_access_token")) {
        (Some(token), None, None) => {
            let email = needs("email", "api_token")?.to_owned();
            let token = Secret::new(token);
            Ok((Deployment::Cloud, Credentials::ApiToken { email, token }))
        }
        (None, Some(secret), None) => {
            let id = needs("client_id", "client_secret")?.to_owned();
            let token_url = address("token_url", text("token_url").unwrap_or(TOKEN_URL))?;
            let secret = Secret::new(secret);
            Ok((Deployment::Cloud, Credentials::Client { id, secret, token_url }))
        }
        (None, None, Some(token)) => {
            Ok((Deployment::DataCenter, Credentials::PersonalToken(Secret::new(token))))
        }
        _ => Err(invalid(
            "exactly one of `api_token`, `client_secret` and `personal_access_token` is required",
        )),
    }
}

fn address(key: &str, text: &str) -> Result<Url, ConnectError> {
    let refused = || invalid(format!("`{key}` is no address of a web service"));
    let url: Url = text.parse().map_err(|_| refused())?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(refused());
    }
    Ok(url)
}

fn invalid(message: impl Into<String>) -> ConnectError {
    ConnectError::Settings { driver: NAME, message: message.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(settings: Value) -> Result<Site, String> {
        let Value::Object(settings) = settings else { unreachable!("an object") };
        Site::resolve(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_credentials_decide_the_product() {
        let url = "https://jira.example.org/jira";
        for (keys, deployment) in [
            (json!({"url": url, "email": "a@b", "api_token": "hush"}), Deployment::Cloud),
            (json!({"url": url, "client_id": "c", "client_secret": "hush"}), Deployment::Cloud),
            (json!({"url": url, "personal_access_token": "hush"}), Deployment::DataCenter),
        ] {
            let site = resolved(keys).unwrap();
            assert_eq!((site.deployment, site.url.as_str()), (deployment, url));
            assert!(!format!("{site:?}").contains("hush"));
        }
    }

    #[test]
    fn a_faulty_section_names_the_key_and_no_value() {
        for (keys, named) in [
            (json!({}), "`url`"),
            (json!({"url": "https://a"}), "`api_token`"),
            (json!({"url": "https://a", "api_token": "hush"}), "`email`"),
            (json!({"url": "https://a", "api_token": 7}), "`api_token` must be a text"),
            (json!({"url": "a", "personal_access_token": "hush"}), "`url` is no address"),
            (json!({"url": "https://a", "personal_access_token": "hush", "x": "y"}), "`x`"),
            (
                json!({"url": "https://a", "personal_access_token": "hush", "settle": "2h"}),
                "`settle`",
            ),
            (
                json!({"url": "https://a", "personal_access_token": "hush", "api_token": "hush"}),
                "exactly one",
            ),
        ] {
            let message = resolved(keys).expect_err("refused");
            assert!(message.contains(named) && !message.contains("hush"), "{message}");
        }
    }
}
