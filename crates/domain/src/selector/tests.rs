use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Vec<Requirement> {
    text.parse::<Selector>().unwrap_or_else(|error| panic!("{text:?}: {error}")).requirements
}

fn one_of<const N: usize>(key: &str, values: [&str; N]) -> Requirement {
    Requirement { key: key.to_owned(), test: Test::In(values.map(str::to_owned).into()) }
}

fn none_of<const N: usize>(key: &str, values: [&str; N]) -> Requirement {
    Requirement { key: key.to_owned(), test: Test::NotIn(values.map(str::to_owned).into()) }
}

fn there(key: &str) -> Requirement {
    Requirement { key: key.to_owned(), test: Test::Exists }
}

fn missing(key: &str) -> Requirement {
    Requirement { key: key.to_owned(), test: Test::Missing }
}

#[test]
fn the_grammar_is_kubectls() {
    for (text, expected) in [
        ("x=a", vec![one_of("x", ["a"])]),
        ("x==a", vec![one_of("x", ["a"])]),
        (" x = a ", vec![one_of("x", ["a"])]),
        ("x=", vec![one_of("x", [""])]),
        ("x==", vec![one_of("x", [""])]),
        ("x=,z=", vec![one_of("x", [""]), one_of("z", [""])]),
        ("x!=a", vec![none_of("x", ["a"])]),
        ("x != a , y=b", vec![none_of("x", ["a"]), one_of("y", ["b"])]),
        ("a=b,c=d", vec![one_of("a", ["b"]), one_of("c", ["d"])]),
        ("x", vec![there("x")]),
        (" x , y ", vec![there("x"), there("y")]),
        ("!x", vec![missing("x")]),
        ("! x,y", vec![missing("x"), there("y")]),
        ("x in (a)", vec![one_of("x", ["a"])]),
        ("x in (b,a, b)", vec![one_of("x", ["a", "b"])]),
        ("x in(a)", vec![one_of("x", ["a"])]),
        ("x in ()", vec![one_of("x", [""])]),
        ("x in (a,,b)", vec![one_of("x", ["", "a", "b"])]),
        ("x notin (a, b),!y,z", vec![none_of("x", ["a", "b"]), missing("y"), there("z")]),
        ("app.kubernetes.io/name=web", vec![one_of("app.kubernetes.io/name", ["web"])]),
        ("in", vec![there("in")]),
        ("in in (in),notin=notin", vec![one_of("in", ["in"]), one_of("notin", ["notin"])]),
        ("inside,notinside=1", vec![there("inside"), one_of("notinside", ["1"])]),
        ("x=ä:7@b+c", vec![one_of("x", ["ä:7@b+c"])]),
        ("x\tin\n(a)", vec![one_of("x", ["a"])]),
    ] {
        assert_eq!(parsed(text), expected, "{text:?}");
    }
}

#[test]
fn what_is_no_selector_is_refused_with_the_place() {
    for (text, position) in [
        ("", 1),
        ("   ", 4),
        (",", 1),
        ("x,", 3),
        ("x,,y", 3),
        ("x=a,", 5),
        ("=a", 1),
        ("!", 2),
        ("!!x", 2),
        ("!x=a", 3),
        ("x!a", 3),
        ("x! =a", 4),
        ("x=a=b", 4),
        ("x===a", 4),
        ("x=a b", 5),
        ("x a", 3),
        ("x in", 5),
        ("x in a", 6),
        ("x in (a", 8),
        ("x in (a b)", 9),
        ("x in (a))", 9),
        ("x in (a),", 10),
        ("x notin", 8),
        ("x>1", 2),
        ("x < 1", 3),
        ("x(a)", 2),
        ("k:1=a", 2),
        ("ä=a", 1),
        ("x=ä=b", 4),
        ("a=b, ,c", 6),
    ] {
        let error = text.parse::<Selector>().expect_err(text);
        assert_eq!(error.position, position, "{text:?}: {error}");
        assert_eq!(error.to_string(), format!("character {position}: {}", error.message));
    }
}

#[test]
fn a_selector_is_bounded() {
    let requirements = |count| vec!["a=b"; count].join(",");
    assert_eq!(parsed(&requirements(REQUIREMENTS_MAX)).len(), REQUIREMENTS_MAX);
    assert!(requirements(REQUIREMENTS_MAX + 1).parse::<Selector>().is_err());
    let values = |count| {
        let all: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        format!("a in ({})", all.join(","))
    };
    assert_eq!(parsed(&values(VALUES_MAX)).len(), 1);
    assert!(values(VALUES_MAX + 1).parse::<Selector>().is_err());
    let long = |bytes: usize| format!("a={}", "ä".repeat((bytes - 2) / 2));
    assert_eq!(parsed(&long(BYTES_MAX)).len(), 1);
    assert!(long(BYTES_MAX + 2).parse::<Selector>().is_err());
    let key = |count| "k".repeat(count);
    assert_eq!(parsed(&key(128)).len(), 1);
    assert_eq!(key(129).parse::<Selector>().expect_err("too long").position, 129);
}

#[test]
fn the_meaning_is_kubectls() {
    let labels = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let (web, other, bare) =
        (labels(&[("app", "web"), ("tier", "1")]), labels(&[("app", "db")]), labels(&[]));
    for (text, expected) in [
        ("app=web", [true, false, false]),
        ("app==web", [true, false, false]),
        // An object without the label is not `web` either.
        ("app!=web", [false, true, true]),
        ("app in (web, db)", [true, true, false]),
        ("app notin (web)", [false, true, true]),
        ("app", [true, true, false]),
        ("!app", [false, false, true]),
        ("app=web,tier=1", [true, false, false]),
        ("app,tier!=1", [false, true, false]),
        ("app=", [false, false, false]),
    ] {
        let selector: Selector = text.parse().expect(text);
        assert_eq!(
            [&web, &other, &bare].map(|labels| selector.matches(labels)),
            expected,
            "{text}"
        );
    }
    assert!(Selector::default().matches(&bare), "nothing is required");
}

proptest! {
    /// Parsing never panics, and the reported position is within the text or right behind it.
    #[test]
    fn any_text_is_a_selector_or_has_a_place_that_is_wrong(text in "[a!=,() \tinäot<\u{0}]{0,24}") {
        if let Err(error) = text.parse::<Selector>() {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.position));
        }
    }
}
