//! The desired state of both kinds, checked and in one spelling.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::ports::driver::FieldError;

use super::kinds::Kind;
use super::paths::RelativePath;

/// What is observed as text has to fit into an event.
pub(super) const CONTENT_BYTES_MAX: usize = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    path: String,
    content: Option<String>,
    mode: Option<String>,
}

/// A desired state that passed [`check`].
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) path: RelativePath,
    /// Empty for directories.
    pub(super) content: String,
    /// Permission bits; `None` = not managed.
    pub(super) mode: Option<u32>,
}

/// Checks and normalises a desired state.
pub(super) fn check(kind: Kind, spec: &Value) -> Result<Value, Vec<FieldError>> {
    let parsed = parse(kind, spec)?;
    let mut normal = Map::new();
    normal.insert("path".to_owned(), json!(parsed.path.as_str()));
    if kind == Kind::File {
        normal.insert("content".to_owned(), json!(parsed.content));
    }
    if let Some(mode) = parsed.mode {
        normal.insert("mode".to_owned(), json!(mode_text(mode)));
    }
    Ok(Value::Object(normal))
}

/// For calls: the engine passes only what was checked, but a call trusts nobody.
pub(super) fn checked(kind: Kind, spec: &Value) -> Result<Spec, Failure> {
    parse(kind, spec).map_err(|errors| {
        let faults: Vec<_> =
            errors.iter().map(|error| format!("{} {}", error.pointer, error.message)).collect();
        Failure::harmless(ErrorClass::Invalid, "invalid_desired_state", faults.join("; "))
    })
}

/// Mode bits as the attribute `mode`.
pub(super) fn mode_text(mode: u32) -> String {
    format!("{:04o}", mode & 0o7777)
}

fn parse(kind: Kind, spec: &Value) -> Result<Spec, Vec<FieldError>> {
    let raw: Raw = Raw::deserialize(spec).map_err(|error| vec![fault("", error.to_string())])?;
    let mut errors = Vec::new();
    let path =
        RelativePath::parse(&raw.path).map_err(|message| errors.push(fault("/path", message)));
    match (kind, &raw.content) {
        (Kind::File, None) => errors.push(fault("/content", "is missing")),
        (Kind::File, Some(content)) if content.len() > CONTENT_BYTES_MAX => {
            errors.push(fault("/content", format!("is longer than {CONTENT_BYTES_MAX} bytes")));
        }
        (Kind::Directory, Some(_)) => errors.push(fault("/content", "a directory has no content")),
        _ => {}
    }
    let mode = raw.mode.map(|text| parse_mode(kind, &text)).transpose();
    let mode = mode.map_err(|message| errors.push(fault("/mode", message)));
    match (path, mode) {
        (Ok(path), Ok(mode)) if errors.is_empty() => {
            Ok(Spec { path, content: raw.content.unwrap_or_default(), mode })
        }
        _ => Err(errors),
    }
}

fn parse_mode(kind: Kind, text: &str) -> Result<u32, String> {
    let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let plain = text.len() == 3 || (text.len() == 4 && text.starts_with('0'));
    if !octal || !plain {
        return Err("must be three octal digits such as \"0644\"".to_owned());
    }
    let mode = u32::from_str_radix(text, 8).map_err(|error| error.to_string())?;
    // Without these bits nobody but root could look at it again, and its state would stay unknown.
    let needed = if kind == Kind::File { 0o400 } else { 0o500 };
    if mode & needed != needed {
        return Err(format!("must leave its owner at least {needed:04o}"));
    }
    Ok(mode)
}

fn fault(pointer: &str, message: impl Into<String>) -> FieldError {
    FieldError { pointer: pointer.to_owned(), message: message.into() }
}
