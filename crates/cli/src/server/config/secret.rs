//! `[secrets]`: names, and the sources of their values. No other source of secrets exists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use stateward_domain::id::Namespace;
use stateward_engine::secrets::{REFERENCE, Secret, forms};

/// Bytes of a secret at most: a certificate chain with its key, not a backup.
const BYTES_MAX: usize = 64 * 1024;
const SCRUBBED: &str = "[secret]";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretConfig {
    file: Option<PathBuf>,
    env: Option<String>,
    #[serde(default)]
    namespaces: Option<Vec<String>>,
}

impl SecretConfig {
    pub(super) fn relative_to(&mut self, base: &Path) {
        if let Some(file) = &mut self.file {
            *file = base.join(&*file);
        }
    }

    /// Checks that it names one source; `key`: its place in the configuration.
    pub(super) fn check(&self, key: &str) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.file.is_some() != self.env.is_some(),
            "{key} needs either `file` or `env`"
        );
        Ok(())
    }

    /// Reads the present value.
    ///
    /// # Errors
    /// A file or variable that is missing, empty, too long, or no text. The message does not contain the value.
    pub(crate) fn read(&self) -> anyhow::Result<SecretString> {
        let (value, place) = match (&self.file, &self.env) {
            (Some(file), _) => {
                let bytes = std::fs::read(file);
                let bytes = bytes.with_context(|| format!("cannot read {}", file.display()))?;
                anyhow::ensure!(bytes.len() <= BYTES_MAX, "{} is too long", file.display());
                let text = String::from_utf8(bytes).ok();
                let text = text.with_context(|| format!("{} is no text", file.display()))?;
                // Editors end a file with a line break, which is no part of the secret.
                (text.trim_end_matches(['\r', '\n']).to_owned(), file.display().to_string())
            }
            (None, Some(variable)) => {
                let value = std::env::var(variable).ok();
                let value = value.with_context(|| format!("there is no variable {variable}"))?;
                (value, variable.clone())
            }
            (None, None) => anyhow::bail!("it needs either `file` or `env`"),
        };
        anyhow::ensure!(!value.is_empty(), "{place} is empty");
        Ok(SecretString::from(value))
    }
}

/// Reads all secrets.
///
/// # Errors
/// The first one that cannot be read, with its name.
pub(crate) fn read(
    configured: &BTreeMap<String, SecretConfig>,
) -> anyhow::Result<BTreeMap<String, Secret>> {
    let read = |(name, secret): (&String, &SecretConfig)| {
        let value = secret.read().with_context(|| format!("secrets.{name}"))?;
        let names = secret.namespaces.as_ref();
        let namespaces = names.map(|names| names.iter().map(|n| Namespace::from(&**n)).collect());
        Ok((name.clone(), Secret { value, namespaces }))
    };
    configured.iter().map(read).collect()
}

/// A backend's settings with references to secrets replaced by values; and those values, for [`scrubbed`].
///
/// # Errors
/// A secret that is not configured.
pub(crate) fn resolve(
    settings: &Map<String, Value>,
    secrets: &BTreeMap<String, Secret>,
) -> anyhow::Result<(Map<String, Value>, Vec<SecretString>)> {
    let (mut resolved, mut used) = (settings.clone(), Vec::new());
    for (key, value) in &mut resolved {
        let Some(name) = value.get(REFERENCE).and_then(Value::as_str) else { continue };
        let secret = secrets.get(name).with_context(|| format!("{key}: no secret {name:?}"))?;
        used.push(secret.value.clone());
        *value = Value::from(secret.value.expose_secret());
    }
    Ok((resolved, used))
}

/// `text` with each of `values` replaced, in whatever encoding. Short values are replaced too, unlike in texts of
/// backends: this text is shown to the author of the configuration.
pub(crate) fn scrubbed(text: &str, values: &[SecretString]) -> String {
    let exposed = values.iter().map(ExposeSecret::expose_secret);
    let mut all: Vec<String> =
        exposed.flat_map(|value| forms(value).into_iter().chain([value.to_owned()])).collect();
    all.sort_by_key(|form| std::cmp::Reverse(form.len()));
    all.iter().fold(text.to_owned(), |text, form| text.replace(form, SCRUBBED))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(value: Value) -> SecretConfig {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_file_is_read_without_its_last_line_end_and_a_bad_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("it");
        let config = secret(json!({ "file": file }));
        assert!(config.read().is_err(), "not there");
        for (bytes, value) in [
            (&b"hunter2\n"[..], Some("hunter2")),
            (b"a b\r\n", Some("a b")),
            (b"", None),
            (b"\xff", None),
        ] {
            std::fs::write(&file, bytes).unwrap();
            let read = config.read();
            assert_eq!(read.as_ref().ok().map(ExposeSecret::expose_secret), value, "{bytes:?}");
            if let Err(error) = read {
                assert!(error.to_string().contains("it"), "{error}");
            }
        }
    }

    #[test]
    fn one_place_is_needed_and_no_more() {
        for bad in [json!({}), json!({ "file": "a", "env": "B" })] {
            assert!(secret(bad).check("x").is_err());
        }
        assert!(secret(json!({ "env": "B" })).check("x").is_ok());
    }

    #[test]
    fn settings_get_values_and_messages_lose_them() {
        let value = SecretString::from("hunter2");
        let secrets = BTreeMap::from([("p".to_owned(), Secret { value, namespaces: None })]);
        let Value::Object(settings) = json!({ "a": 1, "password": { "$secret": "p" } }) else {
            unreachable!("an object")
        };
        let (resolved, used) = resolve(&settings, &secrets).unwrap();
        assert_eq!(resolved["password"], "hunter2");
        assert_eq!(scrubbed("bad value hunter2!", &used), "bad value [secret]!");
        let quoted = [SecretString::from("a\"b\nc d e f g")];
        assert_eq!(scrubbed("bad \"a\\\"b\\nc d e f g\"", &quoted), "bad \"[secret]\"");
        assert!(resolve(&settings, &BTreeMap::new()).is_err());
    }
}
