//! The source of a cloud's keys: the backend's section alone, a named cloud, or the environment.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::environment::Environment;
use super::{clouds_yaml, invalid};
use crate::settings::{ConnectError, Settings};

/// The keys that the section overrides: those of the cloud that it names; none if it has its own `auth_url`; otherwise
/// those of `OS_CLOUD` or of the other variables.
pub(super) fn base_keys(
    settings: &Settings,
    env: &Environment,
) -> Result<Map<String, Value>, ConnectError> {
    let text = |key: &str| settings.get(key).and_then(Value::as_str).map(str::to_owned);
    let file = text("clouds_file").map(PathBuf::from);
    if let Some(cloud) = text("cloud") {
        return clouds_yaml::cloud_keys(&cloud, file, env);
    }
    if settings.contains_key("auth_url") {
        return Ok(Map::new());
    }
    if let Some(cloud) = env.get("OS_CLOUD") {
        return clouds_yaml::cloud_keys(&cloud, file, env);
    }
    if env.get("OS_AUTH_URL").is_some() {
        return Ok(variables(env));
    }
    Err(invalid("neither `cloud` nor `auth_url` is set, nor `OS_CLOUD` or `OS_AUTH_URL`"))
}

/// The same keys from the environment, in capitals: `OS_USERNAME` and so on.
fn variables(env: &Environment) -> Map<String, Value> {
    super::KNOWN
        .iter()
        .filter_map(|key| {
            let value = env.get(&format!("OS_{}", key.to_ascii_uppercase()))?;
            Some(((*key).to_owned(), Value::from(value)))
        })
        .collect()
}
