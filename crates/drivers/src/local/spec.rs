//! The desired state of both kinds: validation and normalisation.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;

use super::accounts::Account;
use super::kinds::Kind;
use super::paths::RelativePath;

/// Observed content has to fit into an event.
pub(super) const CONTENT_BYTES_MAX: usize = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    path: String,
    content: Option<String>,
    owner: Option<String>,
    group: Option<String>,
    mode: Option<String>,
}

/// A desired state that passed [`check`].
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) path: RelativePath,
    /// Empty for directories.
    pub(super) content: String,
    /// Owner; `None` = not managed.
    pub(super) owner: Option<Account>,
    /// Group; `None` = not managed.
    pub(super) group: Option<Account>,
    /// Permission, set-user-ID, set-group-ID and sticky bits; `None` = not managed.
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
    for (name, account) in [("owner", &parsed.owner), ("group", &parsed.group)] {
        if let Some(account) = account {
            normal.insert(name.to_owned(), json!(account.text()));
        }
    }
    if let Some(mode) = parsed.mode {
        normal.insert("mode".to_owned(), json!(mode_text(mode)));
    }
    Ok(Value::Object(normal))
}

/// Parses the desired state of a call. The engine passes only checked ones, but a call does not rely on that.
pub(super) fn checked(kind: Kind, spec: &Value) -> Result<Spec, Failure> {
    parse(kind, spec).map_err(|errors| {
        let faults: Vec<_> =
            errors.iter().map(|error| format!("{} {}", error.pointer, error.message)).collect();
        Failure::harmless(ErrorClass::Invalid, "invalid_desired_state", faults.join("; "))
    })
}

/// Mode bits in the spelling of the attribute `mode`.
pub(super) fn mode_text(mode: u32) -> String {
    format!("{:04o}", mode & 0o7777)
}

fn parse(kind: Kind, spec: &Value) -> Result<Spec, Vec<FieldError>> {
    let raw: Raw =
        Raw::deserialize(spec).map_err(|error| vec![field_error("", error.to_string())])?;
    let mut errors = Vec::new();
    let path = RelativePath::parse(&raw.path)
        .map_err(|message| errors.push(field_error("/path", message)));
    match (kind, &raw.content) {
        (Kind::File, None) => errors.push(field_error("/content", "is missing")),
        (Kind::File, Some(content)) if content.len() > CONTENT_BYTES_MAX => {
            errors
                .push(field_error("/content", format!("is longer than {CONTENT_BYTES_MAX} bytes")));
        }
        (Kind::Directory, Some(_)) => {
            errors.push(field_error("/content", "a directory has no content"));
        }
        _ => {}
    }
    let mut account = |text: Option<String>, pointer| {
        let account = text.map(|text| Account::parse(&text)).transpose();
        account.unwrap_or_else(|message| {
            errors.push(field_error(pointer, message));
            None
        })
    };
    let (owner, group) = (account(raw.owner, "/owner"), account(raw.group, "/group"));
    let mode = raw.mode.map(|text| parse_mode(&text)).transpose();
    let mode = mode.map_err(|message| errors.push(field_error("/mode", message)));
    match (path, mode) {
        (Ok(path), Ok(mode)) if errors.is_empty() => {
            Ok(Spec { path, content: raw.content.unwrap_or_default(), owner, group, mode })
        }
        _ => Err(errors),
    }
}

/// Accepts every mode that can be observed; whether this process may set it is checked when it does.
fn parse_mode(text: &str) -> Result<u32, String> {
    let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    if !octal || !(3..=4).contains(&text.len()) {
        return Err("must be three or four octal digits such as \"0644\"".to_owned());
    }
    u32::from_str_radix(text, 8).map_err(|error| error.to_string())
}

fn field_error(pointer: &str, message: impl Into<String>) -> FieldError {
    FieldError { pointer: pointer.to_owned(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_that_can_be_seen_can_be_declared() {
        for mode in 0..=0o7777_u32 {
            let text = mode_text(mode);
            for kind in [Kind::File, Kind::Directory] {
                let mut spec = json!({"path": "a", "mode": text});
                if kind == Kind::File {
                    spec["content"] = json!("x");
                }
                assert_eq!(check(kind, &spec), Ok(spec.clone()), "{text}");
            }
        }
        let normal = check(Kind::Directory, &json!({"path": "a", "mode": "755"}));
        assert_eq!(normal, Ok(json!({"path": "a", "mode": "0755"})));
        for bad in ["", "75", "00755", "0888", "rwx", "-755", "07777"] {
            let errors = check(Kind::Directory, &json!({"path": "a", "mode": bad})).unwrap_err();
            assert_eq!(errors[0].pointer, "/mode", "{bad}");
        }
    }

    #[test]
    fn owner_and_group_are_optional_and_have_one_spelling() {
        let plain = json!({"path": "a", "content": "x"});
        assert_eq!(check(Kind::File, &plain), Ok(plain.clone()), "what was valid stays as it is");
        let spec = json!({"path": "a", "owner": "0042", "group": "staff"});
        let normal = json!({"path": "a", "owner": "42", "group": "staff"});
        assert_eq!(check(Kind::Directory, &spec), Ok(normal));
        let bad = json!({"path": "a", "owner": "a:b", "group": "4294967295"});
        let errors = check(Kind::Directory, &bad).unwrap_err();
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/owner", "/group"]);
    }
}
