//! Endpoint and credentials of a cloud, from the backend's own keys, a cloud of `clouds.yaml`, or the `OS_*` variables.

mod clouds_yaml;
mod config_source;
mod environment;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value};

pub(super) use environment::Environment;

use super::NAME;
use crate::http::Secret;
use crate::settings::{ConnectError, Settings, duration_of};

/// Reference to a user, project or domain in Keystone: by id, or by a name in a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeystoneRef {
    Id(String),
    Name { name: String, domain: Box<KeystoneRef> },
    Domain(String),
}

/// What is sent to Keystone to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// The password of a person or a service, and the project to work in.
    Password { user: KeystoneRef, password: Secret, project: KeystoneRef },
    /// An application credential; it belongs to a project already.
    ApplicationCredential { credential: KeystoneRef, secret: Secret },
}

/// The resolved configuration of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cloud {
    pub(super) auth_url: Url,
    pub(super) credentials: Credentials,
    /// `None` = any region of the catalogue.
    pub(super) region: Option<String>,
    /// `public`, `internal` or `admin`.
    pub(super) interface: String,
    pub(super) cacert: Option<PathBuf>,
    /// How long a service works on a request at most, also after the caller is gone.
    pub(super) service_timeout: Duration,
}

/// Default of `service_timeout`: the time-out of a load balancer before the services, and of their own calls.
pub(super) const SERVICE_TIMEOUT: Duration = Duration::from_mins(1);

/// All keys of any source; the members of `auth` in `clouds.yaml` and the others in one struct.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CloudKeys {
    auth_type: Option<String>,
    auth_url: Option<String>,
    username: Option<String>,
    user_id: Option<String>,
    password: Option<String>,
    project_name: Option<String>,
    project_id: Option<String>,
    user_domain_name: Option<String>,
    user_domain_id: Option<String>,
    project_domain_name: Option<String>,
    project_domain_id: Option<String>,
    application_credential_id: Option<String>,
    application_credential_name: Option<String>,
    application_credential_secret: Option<String>,
    region_name: Option<String>,
    interface: Option<String>,
    cacert: Option<PathBuf>,
    verify: Option<bool>,
}

/// Keys that a backend's section may have.
const KNOWN: &[&str] = &[
    "cloud",
    "clouds_file",
    "auth_type",
    "auth_url",
    "username",
    "user_id",
    "password",
    "project_name",
    "project_id",
    "user_domain_name",
    "user_domain_id",
    "project_domain_name",
    "project_domain_id",
    "application_credential_id",
    "application_credential_name",
    "application_credential_secret",
    "region_name",
    "interface",
    "cacert",
    "service_timeout",
];

impl Cloud {
    /// Resolves the section of a backend, with the files and variables that it refers to.
    ///
    /// # Errors
    /// An unknown, missing or contradictory key; a file that cannot be read. The message never contains a value.
    pub(super) fn resolve(settings: &Settings, env: &Environment) -> Result<Self, ConnectError> {
        if let Some(unknown) = settings.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(invalid(format!("unknown key `{unknown}`")));
        }
        if let Some((key, _)) = settings.iter().find(|(_, value)| !value.is_string()) {
            return Err(invalid(format!("`{key}` must be a text")));
        }
        let mut keys = config_source::base_keys(settings, env)?;
        for (key, value) in settings {
            keys.insert(key.clone(), value.clone());
        }
        Self::build(keys, service_timeout(settings)?)
    }

    fn build(keys: Map<String, Value>, service_timeout: Duration) -> Result<Self, ConnectError> {
        // Serde's message would contain the value.
        let keys: CloudKeys = serde_json::from_value(Value::Object(keys))
            .map_err(|_| invalid("a key of the cloud is no text"))?;
        if keys.verify == Some(false) {
            return Err(invalid("`verify: false` is refused: name the cloud's own CA in `cacert`"));
        }
        let auth_url = keys.auth_url.as_deref().ok_or_else(|| invalid("`auth_url` is missing"))?;
        let mut auth_url: Url =
            auth_url.parse().map_err(|_| invalid("`auth_url` is no address of a web service"))?;
        if !matches!(auth_url.scheme(), "http" | "https") || auth_url.cannot_be_a_base() {
            return Err(invalid("`auth_url` is no address of a web service"));
        }
        super::service::append_version(&mut auth_url, "v3");
        let interface = keys.interface.clone().unwrap_or_else(|| "public".to_owned());
        let interface = interface.trim_end_matches("URL").to_owned();
        Ok(Self {
            auth_url,
            credentials: credentials(&keys)?,
            region: keys.region_name,
            interface,
            cacert: keys.cacert,
            service_timeout,
        })
    }
}

/// A key of the backend's section alone: it is no property of the account.
fn service_timeout(settings: &Settings) -> Result<Duration, ConnectError> {
    let Some(text) = settings.get("service_timeout").and_then(Value::as_str) else {
        return Ok(SERVICE_TIMEOUT);
    };
    let longest = Duration::from_hours(1);
    let time = duration_of(text).filter(|time| !time.is_zero() && *time <= longest);
    time.ok_or_else(|| {
        invalid("`service_timeout` must be a duration such as \"60s\", at most \"1h\"")
    })
}

fn credentials(keys: &CloudKeys) -> Result<Credentials, ConnectError> {
    let domain = |id: &Option<String>, name: &Option<String>| match (id, name) {
        (Some(id), _) => KeystoneRef::Id(id.clone()),
        (None, Some(name)) => KeystoneRef::Domain(name.clone()),
        (None, None) => KeystoneRef::Id("default".to_owned()),
    };
    let user_domain = domain(&keys.user_domain_id, &keys.user_domain_name);
    let project_domain = domain(&keys.project_domain_id, &keys.project_domain_name);
    let user = keystone_ref(keys.user_id.as_ref(), keys.username.as_ref(), user_domain.clone());
    if let Some(secret) = &keys.application_credential_secret {
        let owner = Box::new(user.unwrap_or(user_domain));
        let credential = match (&keys.application_credential_id, &keys.application_credential_name)
        {
            (Some(id), _) => KeystoneRef::Id(id.clone()),
            (None, Some(name)) => KeystoneRef::Name { name: name.clone(), domain: owner },
            _ => return Err(invalid("`application_credential_id` is missing")),
        };
        return Ok(Credentials::ApplicationCredential { credential, secret: Secret::new(secret) });
    }
    if keys.auth_type.as_deref().is_some_and(|auth| auth.contains("applicationcredential")) {
        return Err(invalid("`application_credential_secret` is missing"));
    }
    let user = user.ok_or_else(|| invalid("`username` or `user_id` is missing"))?;
    let password = keys.password.as_ref().ok_or_else(|| invalid("`password` is missing"))?;
    let project =
        keystone_ref(keys.project_id.as_ref(), keys.project_name.as_ref(), project_domain)
            .ok_or_else(|| invalid("`project_name` or `project_id` is missing"))?;
    Ok(Credentials::Password { user, password: Secret::new(password), project })
}

fn keystone_ref(
    id: Option<&String>,
    name: Option<&String>,
    domain: KeystoneRef,
) -> Option<KeystoneRef> {
    match (id, name) {
        (Some(id), _) => Some(KeystoneRef::Id(id.clone())),
        (None, Some(name)) => {
            Some(KeystoneRef::Name { name: name.clone(), domain: Box::new(domain) })
        }
        (None, None) => None,
    }
}

fn invalid(message: impl Into<String>) -> ConnectError {
    ConnectError::Settings { driver: NAME, message: message.into() }
}

#[cfg(test)]
mod tests;
