//! `clouds.yaml`, and `secure.yaml` beside it, which holds the secrets.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::environment::Environment;
use super::invalid;
use crate::settings::ConnectError;

/// A larger file is no clouds.yaml.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The keys of the cloud `name`, with the members of its `auth` moved up.
///
/// # Errors
/// No file, no such cloud in it, or a file that is no YAML. The message names the file, never its content.
pub(super) fn cloud_keys(
    name: &str,
    file: Option<PathBuf>,
    env: &Environment,
) -> Result<Map<String, Value>, ConnectError> {
    let explicit = file.or_else(|| env.get("OS_CLIENT_CONFIG_FILE").map(PathBuf::from));
    let file = match explicit {
        Some(file) => file,
        None => first(&places("clouds.yaml", env))
            .ok_or_else(|| invalid(format!("cloud `{name}`: there is no clouds.yaml")))?,
    };
    let mut keys = section(&file, name)?
        .ok_or_else(|| invalid(format!("{} has no cloud `{name}`", file.display())))?;
    let beside = file.parent().map(|folder| folder.join("secure.yaml"));
    let explicit = env.get("OS_CLIENT_SECURE_FILE").map(PathBuf::from);
    if let Some(secure) = explicit.or(beside).filter(|path| path.is_file())
        && let Some(secure) = section(&secure, name)?
    {
        keys.extend(secure);
    }
    Ok(keys)
}

/// The search path of openstacksdk, in its order.
fn places(file: &str, env: &Environment) -> Vec<PathBuf> {
    let home = env.get("HOME").map(PathBuf::from);
    let config = env.get("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| home.map(|home| home.join(".config")));
    let mut places = vec![PathBuf::from(file)];
    places.extend(config.map(|config| config.join("openstack").join(file)));
    places.push(Path::new("/etc/openstack").join(file));
    places
}

fn first(places: &[PathBuf]) -> Option<PathBuf> {
    places.iter().find(|place| place.is_file()).cloned()
}

fn section(file: &Path, cloud: &str) -> Result<Option<Map<String, Value>>, ConnectError> {
    let unreadable = |what: &str| invalid(format!("{}: {what}", file.display()));
    let length = std::fs::metadata(file).map_err(|error| unreadable(&error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(unreadable("is too large"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(&error.to_string()))?;
    let document: Value = serde_norway::from_str(&text).map_err(|_| unreadable("is no YAML"))?;
    let Some(section) = document["clouds"][cloud].as_object() else { return Ok(None) };
    let mut keys = section.clone();
    if let Some(Value::Object(auth)) = keys.remove("auth") {
        keys.extend(auth);
    }
    Ok(Some(keys))
}
