//! Reference tokens of JSON pointers (RFC 6901): escaping of member names.

/// `name` as a token of a pointer.
#[must_use]
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The member name of the pointer's `token`.
#[must_use]
pub fn unescape(token: &str) -> String {
    // `~01` is `~1`, so `~0` comes last.
    token.replace("~1", "/").replace("~0", "~")
}

/// Whether one of `pointers` is `field` or a parent of it.
#[must_use]
pub fn covers(pointers: &[String], field: &str) -> bool {
    pointers.iter().any(|pointer| {
        field
            .strip_prefix(pointer.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_and_is_found_at_its_pointer() {
        for name in ["a", "", "a/b", "m~n", "~1", "~01", "/~", "~0/~1"] {
            assert_eq!(unescape(&escape(name)), name);
            let document = serde_json::json!({ name: 1 });
            assert_eq!(document.pointer(&format!("/{}", escape(name))), Some(&1.into()), "{name}");
        }
    }
}
