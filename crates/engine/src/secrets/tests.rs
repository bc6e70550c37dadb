//! Which secrets may be referred to from where, and that no value leaks.

use serde_json::json;

use super::*;
use crate::stub_driver::kind;

fn secrets() -> Secrets {
    let secret = |value: &str, namespaces: Option<&[&str]>| Secret {
        value: SecretString::from(value),
        namespaces: namespaces.map(|names| names.iter().map(|n| Namespace::from(*n)).collect()),
    };
    let secrets = Secrets::default();
    secrets.replace(BTreeMap::from([
        ("open".to_owned(), secret("hunter2-open", None)),
        ("physics".to_owned(), secret("hunter2-physics", Some(&["physics"]))),
        ("short".to_owned(), secret("x", None)),
    ]));
    secrets
}

fn pointers(desired: &Value, scope: &str) -> Vec<String> {
    let faults = secrets().faults(&kind(), &Namespace::from(scope), desired);
    faults.into_iter().map(|fault| fault.pointer).collect()
}

#[test]
fn a_write_only_field_takes_only_a_reference_that_its_namespace_may_use() {
    let none: [&str; 0] = [];
    assert_eq!(pointers(&json!({ "password": { "$secret": "open" } }), "a"), none);
    assert_eq!(pointers(&json!({ "password": { "$secret": "physics" } }), "physics"), none);
    for wrong in [
        json!("inline"),
        json!(null),
        json!({ "$secret": "none" }),
        json!({ "$secret": "physics" }),
        json!({ "$secret": 7 }),
        json!({ "$secret": "open", "more": 1 }),
        json!([{ "$secret": "open" }]),
    ] {
        assert_eq!(pointers(&json!({ "password": wrong }), "a"), ["/password"], "{wrong}");
    }
}

#[test]
fn a_reference_anywhere_else_is_refused() {
    let desired = json!({ "a/b": [{ "$secret": "open" }], "c": { "$secret": "open", "d": 1 } });
    assert_eq!(pointers(&desired, "a"), ["/a~1b/0", "/c"]);
}

#[test]
fn only_the_driver_gets_values() {
    let (kind, scope, secrets) = (kind(), Namespace::from("a"), secrets());
    let desired = json!({ "size": 1, "password": { "$secret": "open" } });
    let resolved = secrets.resolve(&kind, &scope, &desired).expect("known");
    assert_eq!(resolved, json!({ "size": 1, "password": "hunter2-open" }));
    assert_eq!(secrets.scrub("hunter2-open is too weak"), "[secret] is too weak");
    let answer =
        json!({ "url": "db://u:hunter2-open@h", "hunter2-physics": ["hunter2-physics", 1] });
    let scrubbed = secrets.scrubbed(answer);
    assert_eq!(scrubbed, json!({ "url": "db://u:[secret]@h", "[secret]": ["[secret]", 1] }));
    assert!(secrets.holds("job-hunter2-open") && !secrets.holds("hunter2"));
}

#[test]
fn a_secret_that_is_gone_is_named_and_a_short_one_is_not_searched_for() {
    let (kind, scope, secrets) = (kind(), Namespace::from("a"), secrets());
    let missing = secrets.resolve(&kind, &scope, &json!({ "password": { "$secret": "gone" } }));
    let failure = missing.expect_err("missing");
    assert_eq!(failure.code, "secret_missing");
    assert!(failure.message.contains("gone"), "{}", failure.message);
    assert_eq!(secrets.scrub("axe"), "axe");
}

#[test]
fn a_value_is_found_however_it_is_written_and_the_longer_one_first() {
    let secrets = Secrets::default();
    let secret = |value: &str| Secret { value: SecretString::from(value), namespaces: None };
    let quoted = "two\nlines \"quoted\"";
    secrets.replace(BTreeMap::from([
        ("a".to_owned(), secret("long-value")),
        ("b".to_owned(), secret("long-value-and-more")),
        ("c".to_owned(), secret(quoted)),
    ]));
    assert_eq!(secrets.scrub("long-value-and-more, long-value"), "[secret], [secret]");
    for text in
        [quoted.to_owned(), format!("invalid: {quoted:?}"), json!({ "x": quoted }).to_string()]
    {
        assert!(secrets.scrub(&text).contains("[secret]"), "{text}");
        assert!(!secrets.scrub(&text).contains("lines"), "{text}");
    }
}

#[test]
fn other_values_are_noticed_and_the_same_ones_are_not() {
    let secrets = Secrets::default();
    let one = |value: &str| {
        BTreeMap::from([(
            "a".to_owned(),
            Secret { value: SecretString::from(value), namespaces: None },
        )])
    };
    assert!(secrets.replace(one("first-value")));
    assert!(!secrets.replace(one("first-value")));
    assert!(secrets.replace(one("second-value")));
    assert!(secrets.replace(BTreeMap::new()));
}
