//! What may be referred to, by whom, and that no value comes out again.

use serde_json::json;

use super::*;

fn kind() -> KindSpec {
    let kinds = stateward_drivers::kinds();
    kinds.into_iter().find(|kind| kind.name.as_str() == "fake.thing").expect("there")
}

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
fn the_driver_gets_values_and_nobody_else_does() {
    let (kind, scope) = (kind(), Namespace::from("a"));
    let desired = json!({ "size": 1, "password": { "$secret": "open" } });
    let resolved = secrets().resolve(&kind, &scope, &desired).expect("known");
    assert_eq!(resolved.spec, json!({ "size": 1, "password": "hunter2-open" }));
    let failure = Failure::harmless(ErrorClass::Invalid, "x", "hunter2-open is too weak");
    assert_eq!(resolved.scrub(failure).message, "[secret] is too weak");
    assert!(resolved.leaks_into(&json!({ "a": ["hunter2-open"] })));
    assert!(!resolved.leaks_into(&json!({ "a": "hunter2" })));
}

#[test]
fn a_secret_that_is_gone_is_named_and_a_short_one_scrubs_nothing() {
    let (kind, scope) = (kind(), Namespace::from("a"));
    let missing = secrets().resolve(&kind, &scope, &json!({ "password": { "$secret": "gone" } }));
    let failure = missing.err().expect("missing");
    assert_eq!(failure.code, "secret_missing");
    assert!(failure.message.contains("gone"), "{}", failure.message);
    let short = secrets().resolve(&kind, &scope, &json!({ "password": { "$secret": "short" } }));
    let failure = Failure::harmless(ErrorClass::Invalid, "x", "axe");
    assert_eq!(short.expect("known").scrub(failure).message, "axe");
}
