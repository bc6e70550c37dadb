//! Names that users choose: short, printable, and the same in URLs, files and shells.

use std::collections::{BTreeMap, BTreeSet};

use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::state::{Settings, SettingsPatch};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{EntityName, ExternalId};
use stateward_domain::json_pointer;
use stateward_domain::kind::KindSpec;

use crate::admission::schema_fields;

/// Maximum characters of a name: those of a DNS name, which also fit into a file name.
const NAME_CHARS_MAX: usize = 253;
const LABELS_MAX: usize = 64;
const LABEL_KEY_CHARS_MAX: usize = 128;
const LABEL_VALUE_CHARS_MAX: usize = 256;
const IGNORED_FIELDS_MAX: usize = 64;
const DEPENDENCIES_MAX: usize = 64;
const POINTER_CHARS_MAX: usize = 512;
const EXTERNAL_ID_CHARS_MAX: usize = 1_024;
/// Prefix of labels that only the control plane sets.
const RESERVED: &str = "stateward.";

/// Whether `text` is a valid name: letters, digits, `.`, `_` and `-`, starting with a letter or a digit.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.len() <= NAME_CHARS_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
}

/// Faults in the names of a declaration; `kind` `None` = the kind is unknown.
pub(crate) fn declaration_faults(
    name: &EntityName,
    external_id: Option<&ExternalId>,
    settings: &Settings,
    kind: Option<&KindSpec>,
) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if !is_name(name.as_str()) {
        faults.push(fault("/name", "is no name: letters, digits, . _ - and at most 253"));
    }
    if let Some(id) = external_id
        && !is_external_id(id.as_str())
    {
        faults.push(fault("/external_id", "is empty, too long, or has control characters"));
    }
    faults.extend(label_faults(&settings.labels));
    faults.extend(ignored_faults(&settings.ignore_fields, &[], kind));
    faults.extend(dependency_faults(&settings.depends_on));
    faults
}

/// Faults in the names of a change of an entity of `kind` with the settings `before`. Ignored fields that are in
/// `before` are not checked: another change must not fail for what was accepted earlier.
pub(crate) fn patch_faults(
    patch: &SettingsPatch,
    before: &Settings,
    kind: &KindSpec,
) -> Vec<FieldError> {
    let mut faults = patch.labels.as_ref().map(label_faults).unwrap_or_default();
    if let Some(pointers) = &patch.ignore_fields {
        faults.extend(ignored_faults(pointers, &before.ignore_fields, Some(kind)));
    }
    faults.extend(patch.depends_on.as_ref().map(dependency_faults).unwrap_or_default());
    faults
}

/// Whether `text` can be a backend's id of an object.
pub(crate) fn is_external_id(text: &str) -> bool {
    (1..=EXTERNAL_ID_CHARS_MAX).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
}

fn label_faults(labels: &BTreeMap<String, String>) -> Vec<FieldError> {
    if labels.len() > LABELS_MAX {
        return vec![fault("/labels", "has more than 64 labels")];
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let mut faults = Vec::new();
    for (key, value) in labels {
        let pointer = format!("/labels/{}", json_pointer::escape(key));
        if key.is_empty() || key.len() > LABEL_KEY_CHARS_MAX || !key.chars().all(plain) {
            faults.push(fault("/labels", "has a key that is no name"));
        } else if key.starts_with(RESERVED) {
            faults.push(fault(&pointer, "is reserved: stateward.*"));
        }
        if value.chars().count() > LABEL_VALUE_CHARS_MAX || value.chars().any(char::is_control) {
            faults.push(fault(&pointer, "is too long, or has control characters"));
        }
    }
    faults
}

fn ignored_faults(
    pointers: &[String],
    before: &[String],
    kind: Option<&KindSpec>,
) -> Vec<FieldError> {
    if pointers.len() > IGNORED_FIELDS_MAX {
        return vec![fault("/ignore_fields", "has more than 64 pointers")];
    }
    let wrong = |pointer: &String| {
        let plain = pointer.len() <= POINTER_CHARS_MAX && !pointer.chars().any(char::is_control);
        if !plain || !schema_fields::is_pointer(pointer) {
            return Some("is no JSON pointer");
        }
        kind.filter(|kind| !schema_fields::allows(&kind.schema, pointer))?;
        Some(if pointer.split('/').any(|token| token == "*") {
            "names no field, and there are no wildcards: a field covers all that is below it"
        } else {
            "is no field of this kind"
        })
    };
    let numbered = pointers.iter().enumerate().filter(|(_, pointer)| !before.contains(pointer));
    numbered
        .filter_map(|(number, pointer)| {
            Some(fault(&format!("/ignore_fields/{number}"), wrong(pointer)?))
        })
        .collect()
}

fn dependency_faults(targets: &BTreeSet<Target>) -> Vec<FieldError> {
    if targets.len() > DEPENDENCIES_MAX {
        return vec![fault("/depends_on", "has more than 64 entities")];
    }
    let wrong = targets.iter().filter(|target| !is_name(target.name.as_str()));
    let wrong = wrong.map(|target| format!("{target} names no entity"));
    wrong.map(|message| fault("/depends_on", &message)).collect()
}

fn fault(pointer: &str, message: &str) -> FieldError {
    FieldError { pointer: pointer.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_shell_and_a_url_leave_alone() {
        for name in ["a", "web-1", "A.b_c", "7"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", ".a", "a b", "a/b", "a\0", "ä", "a\n", "\u{202e}a", &"a".repeat(254)]
        {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn labels_of_the_control_plane_are_reserved() {
        let labels = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        assert!(label_faults(&labels("team/a", "physics")).is_empty());
        assert_eq!(
            label_faults(&labels("stateward.owner", "x"))[0].pointer,
            "/labels/stateward.owner"
        );
        assert_eq!(label_faults(&labels("a", "b\nc")).len(), 1);
        assert_eq!(label_faults(&labels("", "b")).len(), 1);
    }

    #[test]
    fn a_field_that_is_ignored_is_one_that_there_can_be() {
        let mut kind = crate::stub_driver::kind();
        let text = serde_json::json!({ "type": "string" });
        kind.schema = serde_json::json!({
            "properties": { "mode": text, "content": text },
            "additionalProperties": false,
        });
        let faults = |pointers: &[&str], before: &[&str]| {
            let [pointers, before] = [pointers, before]
                .map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
            let faults = ignored_faults(&pointers, &before, Some(&kind));
            faults.into_iter().map(|fault| fault.pointer).collect::<Vec<_>>()
        };
        assert!(faults(&["/mode", "/content"], &[]).is_empty());
        let wrong = ["/mode", "/~2", "/modes", "/mode/*", "mode"];
        let numbers = [1, 2, 3, 4].map(|number| format!("/ignore_fields/{number}"));
        assert_eq!(faults(&wrong, &[]), numbers);
        assert_eq!(faults(&wrong, &["/~2", "/modes", "/mode/*"]), numbers[3..], "what was there");
    }
}
