//! The target argument of verbs: `KIND`, `KIND/NAME` or an id.

/// What an argument names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// All of a kind.
    Kind(String),
    /// One by its name.
    Name(String, String),
    /// One by its id.
    Id(String),
}

impl Target {
    pub(crate) fn of(text: &str) -> Self {
        match text.split_once('/') {
            Some((kind, name)) => Self::Name(kind.to_owned(), name.to_owned()),
            None if is_id(text) => Self::Id(text.to_owned()),
            None => Self::Kind(text.to_owned()),
        }
    }
}

/// Whether it looks like a UUID.
pub(crate) fn is_id(text: &str) -> bool {
    let hexadecimal = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths: Vec<_> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.split('-').all(hexadecimal)
}

/// The kind that `short` abbreviates: itself, or the only one that ends in `.short`.
///
/// # Errors
/// A message that says what to name instead.
pub(crate) fn kind<'a>(short: &'a str, known: &'a [String]) -> Result<&'a str, String> {
    if let Some(kind) = known.iter().find(|kind| *kind == short) {
        return Ok(kind);
    }
    let ends = |kind: &&String| kind.rsplit('.').next() == Some(short);
    let fitting: Vec<_> = known.iter().filter(ends).collect();
    match fitting.as_slice() {
        [kind] => Ok(kind.as_str()),
        [] => Err(format!(
            "there is no kind {short}: `stateward explain` lists them, and one entity is KIND/NAME"
        )),
        several => {
            let names: Vec<_> = several.iter().map(|kind| kind.as_str()).collect();
            Err(format!("{short} may be {}: name one", names.join(" or ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_names_and_ids_are_distinguished() {
        assert_eq!(Target::of("local.file"), Target::Kind("local.file".to_owned()));
        assert_eq!(Target::of("file/a/b"), Target::Name("file".to_owned(), "a/b".to_owned()));
        let id = "0199c7f1-0000-7000-8000-00000000abcd";
        assert_eq!(Target::of(id), Target::Id(id.to_owned()));
        assert_eq!(Target::of("0199c7f1"), Target::Kind("0199c7f1".to_owned()));
    }

    #[test]
    fn kinds_may_be_shortened_when_only_one_fits() {
        let known = ["local.file", "s3.file", "fake.thing"].map(str::to_owned);
        assert_eq!(kind("thing", &known), Ok("fake.thing"));
        assert_eq!(kind("s3.file", &known), Ok("s3.file"));
        assert!(kind("file", &known).expect_err("ambiguous").contains("local.file or s3.file"));
        assert!(kind("tape", &known).expect_err("unknown").contains("no kind tape"));
    }
}
