//! Paths as users write them, checked before any access to the disk.
//!
//! This is the first of two checks. The second is in [`super::root`], where the kernel refuses to leave the root; so a
//! mistake here alone does not escape it.

/// Prefix of reserved names: the marker of the root and files that are being written.
pub(super) const RESERVED: &str = ".stateward-";

const COMPONENT_BYTES_MAX: usize = 255;
const PATH_BYTES_MAX: usize = 3072;
/// Bounds the depth of `list` and the number of parents that one create makes.
pub(super) const DEPTH_MAX: usize = 64;

/// A path below the root: components joined by `/`, none of them empty, `.`, `..` or reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RelativePath(String);

impl RelativePath {
    /// Checks and normalises: `a//./b/` becomes `a/b`.
    ///
    /// # Errors
    /// A message for people that says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Err("must be relative to the backend's root".to_owned());
        }
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("is longer than {PATH_BYTES_MAX} bytes"));
        }
        let parts: Vec<&str> =
            text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.is_empty() {
            return Err("names nothing below the root".to_owned());
        }
        if parts.len() > DEPTH_MAX {
            return Err(format!("is nested deeper than {DEPTH_MAX} levels"));
        }
        for part in &parts {
            check_component(part)?;
        }
        Ok(Self(parts.join("/")))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The parent directory (`None` = the root) and the name in it.
    pub(super) fn split(&self) -> (Option<&str>, &str) {
        match self.0.rsplit_once('/') {
            Some((parent, name)) => (Some(parent), name),
            None => (None, &self.0),
        }
    }
}

fn check_component(part: &str) -> Result<(), String> {
    if part == ".." {
        return Err("must not contain `..`".to_owned());
    }
    if part.len() > COMPONENT_BYTES_MAX {
        return Err(format!("has a component longer than {COMPONENT_BYTES_MAX} bytes"));
    }
    // File names cannot contain NUL; other control characters would garble logs and terminals.
    if part.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    if part.starts_with(RESERVED) {
        return Err(format!("must not use names that begin with `{RESERVED}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_detours_are_taken_out() {
        let path = RelativePath::parse("a//./b/").expect("fine");
        assert_eq!(path.as_str(), "a/b");
        assert_eq!(path.split(), (Some("a"), "b"));
        assert_eq!(RelativePath::parse("a").expect("fine").split(), (None, "a"));
        assert!(RelativePath::parse("..a/...").is_ok());
    }

    #[test]
    fn hostile_paths_are_refused() {
        let long = "x".repeat(256);
        let deep = "x/".repeat(65);
        for bad in [
            "",
            "/",
            "/etc/passwd",
            ".",
            "./.",
            "..",
            "a/../b",
            "a/..",
            "a\0b",
            "a\nb",
            &long,
            &deep,
            ".stateward-identity",
            "a/.stateward-tmp-1",
        ] {
            assert!(RelativePath::parse(bad).is_err(), "{bad:?}");
        }
    }
}
