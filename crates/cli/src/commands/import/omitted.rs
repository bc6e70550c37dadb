//! What an import omits, and why: printed to standard error, and kept as comments in the file.

/// An object or field that is not in the manifests, with the reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Omitted {
    what: String,
    why: String,
}

impl Omitted {
    pub(super) fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }

    /// One line.
    pub(super) fn line(&self) -> String {
        format!("{}: {}", printable(&self.what), printable(&self.why))
    }
}

/// The comments at the head of a file of manifests; empty when nothing was omitted.
pub(super) fn comments(omitted: &[Omitted]) -> String {
    if omitted.is_empty() {
        return String::new();
    }
    let lines: String = omitted.iter().map(|one| format!("#   {}\n", one.line())).collect();
    format!("# Left out by `stateward import`:\n{lines}")
}

/// A text in one line, control characters escaped. Names come from the backend: after a line break in one, the rest
/// would be read as a manifest.
fn printable(text: &str) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    text.chars()
        .flat_map(|c| {
            let (escaped, plain) =
                if is_break(c) { (Some(c.escape_default()), None) } else { (None, Some(c)) };
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_comment() {
        let hostile = "x\nkind: local.file\r\u{85}\u{2028}---";
        let text = comments(&[Omitted::new(hostile, "no"), Omitted::new("ä/b", "why: \u{1b}[31m")]);
        assert_eq!(
            text,
            "# Left out by `stateward import`:\n#   x\\nkind: local.file\\r\\u{85}\\u{2028}---: no\n#   ä/b: why: \\u{1b}[31m\n"
        );
        assert_eq!(comments(&[]), "");
    }
}
