//! What users may call things: short, printable, and the same in URLs, files and shells.

use std::collections::BTreeMap;

use stateward_domain::entity::state::SettingsPatch;
use stateward_domain::ports::driver::FieldError;

use crate::requests::Declaration;

/// Characters of a name; what a DNS name or a file name may have.
const NAME_CHARS_MAX: usize = 253;
const LABELS_MAX: usize = 64;
const LABEL_KEY_CHARS_MAX: usize = 128;
const LABEL_VALUE_CHARS_MAX: usize = 256;
const IGNORED_FIELDS_MAX: usize = 64;
const POINTER_CHARS_MAX: usize = 512;
const EXTERNAL_ID_CHARS_MAX: usize = 1_024;
/// Labels that only the control plane sets.
const RESERVED: &str = "stateward.";

/// Whether `text` may be a name: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.len() <= NAME_CHARS_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
}

/// What is wrong with the names of a declaration.
pub(crate) fn faults(declaration: &Declaration) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if !is_name(declaration.name.as_str()) {
        faults.push(fault("/name", "is no name: letters, digits, . _ - and at most 253"));
    }
    if let Some(id) = &declaration.external_id
        && !is_external_id(id.as_str())
    {
        faults.push(fault("/external_id", "is empty, too long, or has control characters"));
    }
    let settings = &declaration.settings;
    faults.extend(label_faults(&settings.labels));
    faults.extend(ignored_faults(&settings.ignore_fields));
    faults
}

/// What is wrong with the names in a change.
pub(crate) fn patch_faults(patch: &SettingsPatch) -> Vec<FieldError> {
    let mut faults = patch.labels.as_ref().map(label_faults).unwrap_or_default();
    faults.extend(patch.ignore_fields.as_deref().map(ignored_faults).unwrap_or_default());
    faults
}

/// Whether `text` may be a backend's name of an object.
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
        let pointer = format!("/labels/{}", key.replace('~', "~0").replace('/', "~1"));
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

fn ignored_faults(pointers: &[String]) -> Vec<FieldError> {
    if pointers.len() > IGNORED_FIELDS_MAX {
        return vec![fault("/ignore_fields", "has more than 64 pointers")];
    }
    let wrong = |pointer: &str| {
        !pointer.starts_with('/')
            || pointer.len() > POINTER_CHARS_MAX
            || pointer.chars().any(char::is_control)
    };
    let numbered = pointers.iter().enumerate().filter(|(_, pointer)| wrong(pointer));
    numbered
        .map(|(number, _)| fault(&format!("/ignore_fields/{number}"), "is no JSON pointer"))
        .collect()
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
}
