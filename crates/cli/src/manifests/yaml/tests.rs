use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn one(text: &str) -> Result<Value, Fault> {
    let mut documents = documents(text)?;
    assert_eq!(documents.len(), 1, "{text}");
    Ok(documents.remove(0).1)
}

#[test]
fn documents_are_read_as_yaml_1_2_has_them() {
    let cases = [
        ("a: yes\nb: no\nc: on\nd: y\n", json!({"a": "yes", "b": "no", "c": "on", "d": "y"})),
        (
            "a: true\nb: False\nc: ~\nd:\ne: null\n",
            json!({"a": true, "b": false, "c": null, "d": null, "e": null}),
        ),
        (
            "a: 0o17\nb: 0x1F\nc: -7\nd: +7\ne: 1_000\nf: 12:30:45\n",
            json!({"a": 15, "b": 31, "c": -7, "d": 7, "e": "1_000", "f": "12:30:45"}),
        ),
        (
            "a: 1.5\nb: .5\nc: 1e3\nd: 2026-11-30\ne: v1.0\n",
            json!({"a": 1.5, "b": 0.5, "c": 1000.0, "d": "2026-11-30", "e": "v1.0"}),
        ),
        (
            "a: '0644'\nb: \"yes\"\nc: !!str 0644\nd: !!int 7\n",
            json!({"a": "0644", "b": "yes", "c": "0644", "d": 7}),
        ),
        ("a: \"x\u{85}y\u{2028}z\"\n", json!({"a": "x\u{85}y\u{2028}z"})),
        ("a: \"\\ud83d\\ude00\"\n", json!({"a": "\u{1f600}"})),
        (
            "a: |\n  one\n    two\n\nb: >-\n  fold\n  ed\n",
            json!({"a": "one\n  two\n", "b": "fold ed"}),
        ),
        ("{a: {b: [1, {c: d}]}}", json!({"a": {"b": [1, {"c": "d"}]}})),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
    ];
    for (text, expected) in cases {
        assert_eq!(one(text), Ok(expected), "{text}");
    }
}

#[test]
fn anchors_and_merge_keys_are_expanded() {
    let text = "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\n\
        one: {<<: *base, b: 9}\ntwo: {<<: [*more, *base]}\nthree: {\"<<\": 7}\nfour: *base\n";
    let read = one(text).expect("read");
    assert_eq!(read["one"], json!({"a": 1, "b": 9}));
    assert_eq!(read["two"], json!({"a": 1, "b": 3, "c": 4}));
    assert_eq!(read["three"], json!({"<<": 7}));
    assert_eq!(read["four"], json!({"a": 1, "b": 2}));
}

#[test]
fn what_would_change_the_meaning_is_an_error_with_its_place() {
    let cases = [
        ("a: 1\nb: 2\na: 3\n", (3, 1), "\"a\" is there twice, first at 1:1"),
        ("x: &x {a: 1}\ny: {<<: *x, <<: *x}\n", (2, 13), "there twice"),
        ("x: {<<: 7}\n", (1, 9), "<< takes a mapping"),
        ("a: .inf\n", (1, 4), "no finite number"),
        ("a: -.INF\n", (1, 4), "no finite number"),
        ("a: [1, .NaN]\n", (1, 8), "no finite number"),
        ("a: NaN\n", (1, 4), "no finite number"),
        ("a: 1e400\n", (1, 4), "no finite number"),
        ("a: 18446744073709551616\n", (1, 4), "beyond 64 bits"),
        ("a: -9223372036854775809\n", (1, 4), "beyond 64 bits"),
        ("a: 0x10000000000000000\n", (1, 4), "beyond 64 bits"),
        ("a: 0644\n", (1, 4), "leading zero"),
        ("a: 007.5\n", (1, 4), "leading zero"),
        ("1: a\n", (1, 1), "quote it"),
        ("true: a\n", (1, 1), "quote it"),
        ("~: a\n", (1, 1), "quote it"),
        ("? [a, b]\n: c\n", (1, 3), "no text"),
        ("a: !secret b\n", (1, 12), "!secret means nothing"),
        ("a: !!binary aGk=\n", (1, 13), "!!binary means nothing"),
        ("a: !!set {}\n", (1, 10), "!!set means nothing"),
        ("a: !!int x\n", (1, 10), "is no !!int"),
        ("a:\n\tb: 1\n", (2, 2), "tab"),
        ("a: &a [*a]\n", (1, 8), "what it is in"),
        ("a: *b\n", (1, 4), "unknown anchor"),
        ("a: \"\\ud83d\"\n", (1, 4), "surrogate"),
        ("a: \u{1}\n", (1, 4), "unexpected character"),
        ("%YAML 1.1\n---\na: yes\n", (2, 1), "only YAML 1.2"),
        ("a: [1\nb: 2\n", (2, 2), ""),
    ];
    for (text, place, part) in cases {
        let fault = documents(text).expect_err(text);
        assert!(fault.message.contains(part), "{text}: {fault:?}");
        assert_eq!((fault.line, fault.column), place, "{text}: {fault:?}");
    }
}

#[test]
fn a_text_cannot_take_all_memory_or_the_stack() {
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..30 {
        let below = format!("*a{}", level - 1);
        writeln!(laughs, "a{level}: &a{level} [{}]", [below.as_str(); 9].join(", ")).unwrap();
    }
    assert!(documents(&laughs).expect_err("refused").message.contains("expand to more"));
    for deep in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
        assert!(documents(&deep).is_err());
    }
    let mut stairs = "a0: &a0 []\n".to_owned();
    for level in 1..100 {
        writeln!(stairs, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert!(documents(&stairs).expect_err("refused").message.contains("nested deeper"));
}

#[test]
fn a_text_may_have_several_documents() {
    let read = documents("\u{feff}a: 1\n---\n---\n# nothing\n---\nb: 2\n...\n").expect("read");
    assert_eq!(
        read,
        [(1, json!({"a": 1})), (2, Value::Null), (3, Value::Null), (6, json!({"b": 2}))]
    );
    assert_eq!(documents("").expect("read"), []);
    assert_eq!(documents("# only a comment\n").expect("read"), []);
}

fn values() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("yes".to_owned()),
        Just("0644".to_owned()),
        Just("NaN".to_owned()),
        Just(".inf".to_owned()),
        Just("null".to_owned()),
        Just("<<".to_owned()),
        Just("1e5".to_owned()),
        Just("0x1f".to_owned()),
        Just("0o17".to_owned()),
        Just("a: b\n\t# c\r\n".to_owned()),
        Just("\u{feff}x\u{85}\u{2028} ".to_owned()),
        Just("- x".to_owned()),
        Just("  lead\ntrail  \n\n".to_owned()),
        Just("\n".to_owned()),
        Just("-Infinity".to_owned()),
        Just("=".to_owned()),
        "\\PC*",
        ".*",
        "[ \t\r\n\u{1}a#:-]*",
        "[-+.0-9eExo_]{1,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(word.clone(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_shown_is_read_back_as_it_was(value in values()) {
        let text = crate::presentation::output::yaml(&value);
        let read = documents(&text);
        prop_assert_eq!(read.as_ref().map(|all| all.iter().map(|(_, value)| value).collect::<Vec<_>>()), Ok(vec![&value]), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-a:&*<!%{}\\[\\],\"'|>#?\n\t \u{85}0.]{0,60}") {
        let _ = documents(&text);
    }
}
