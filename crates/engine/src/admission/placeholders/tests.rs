//! Which faults are reported beside a reference, and that every reference is restored.

use serde_json::json;
use stateward_domain::entity::references::references;

use super::*;

fn fault(pointer: &str) -> FieldError {
    FieldError { pointer: pointer.to_owned(), message: "is wrong".to_owned() }
}

/// `desired` after normalisation by a driver whose check is `check`.
fn check_driver(
    desired: &Value,
    check: impl FnOnce(&Value) -> Result<Value, Vec<FieldError>>,
) -> Result<Value, Vec<FieldError>> {
    Placeholders::of(desired, &references(desired).expect("well-formed")).check_driver(check)
}

fn kinds() -> (Kinds, KindName) {
    let mut spec = crate::stub_driver::kind();
    spec.schema = json!({
        "properties": {
            "count": { "type": "integer", "minimum": 1 },
            "list": { "uniqueItems": true, "maxItems": 3, "items": { "type": "integer" } },
        },
        "required": ["count"],
        "additionalProperties": false,
    });
    let name = spec.name.clone();
    (Kinds::compile([spec]).expect("valid"), name)
}

fn faults(desired: &Value, others: &[String]) -> Vec<String> {
    let (kinds, name) = kinds();
    let found = references(desired).expect("well-formed");
    match Placeholders::of(desired, &found).check_schema(&kinds, &name, others) {
        Err(AdmissionError::Invalid(faults)) => {
            faults.into_iter().map(|fault| fault.pointer).collect()
        }
        outcome => outcome.map(|()| Vec::new()).expect("a known kind"),
    }
}

#[test]
fn a_schema_says_nothing_of_a_reference_and_everything_of_what_is_beside_it() {
    let of = |name: &str| json!({ "$ref": format!("k/{name}") });
    let none: [&str; 0] = [];
    assert_eq!(faults(&json!({ "count": of("a") }), &[]), none);
    assert_eq!(faults(&json!({ "count": of("a"), "list": [of("a"), of("b"), 1] }), &[]), none);
    assert_eq!(faults(&json!({ "count": of("a"), "list": [of("a"), "x"] }), &[]), ["/list/1"]);
    assert_eq!(faults(&json!({ "list": [of("a")] }), &[]), [""], "count is missing");
    assert_eq!(faults(&json!({ "count": 1, "more": of("a") }), &[]), [""]);
    assert_eq!(faults(&json!({ "count": 1, "list": [of("a"), of("a")] }), &[]), ["/list"]);
    assert_eq!(faults(&json!({ "count": "x" }), &["/count".to_owned()]), none);
}

#[test]
fn faults_of_references_do_not_crowd_out_others() {
    let desired = json!({ "list": vec![json!({ "$ref": "k/a" }); 64], "count": "x" });
    assert!(faults(&desired, &[]).contains(&"/count".to_owned()));
    let many: Vec<_> = (0..200).map(|n| json!(n.to_string())).collect();
    let open = ["/list".to_owned()];
    assert_eq!(faults(&json!({ "list": many, "count": "x" }), &open), ["/count"]);
}

#[test]
fn references_come_back_wherever_the_driver_moved_them() {
    let desired =
        json!({ "list": ["b", { "$ref": "k/x" }, { "$ref": "k/y" }], "to": { "$ref": "k/x" } });
    let moved = check_driver(&desired, |value| {
        let mut value = value.clone();
        value["list"].as_array_mut().expect("one").reverse();
        value["default"] = json!(1);
        Ok(value)
    });
    let expected = json!({
        "list": [{ "$ref": "k/y" }, { "$ref": "k/x" }, "b"], "to": { "$ref": "k/x" }, "default": 1,
    });
    assert_eq!(moved, Ok(expected));
}

#[test]
fn a_reference_that_the_driver_loses_is_kept_as_written() {
    let desired = json!({ "a": { "$ref": "k/x" }, "b": { "$ref": "k/y" } });
    for lost in [json!({}), json!({ "a": "another spelling" })] {
        assert_eq!(check_driver(&desired, |_| Ok(lost.clone())), Ok(desired.clone()), "{lost}");
    }
}

#[test]
fn a_fault_of_a_placeholder_is_dropped_and_any_other_is_kept() {
    let desired = json!({ "a": { "$ref": "k/x" }, "ab": 1 });
    assert_eq!(
        check_driver(&desired, |_| Err(vec![fault("/a"), fault("/a/b")])),
        Ok(desired.clone())
    );
    for real in ["/ab", "", "/c"] {
        let faults = check_driver(&desired, |_| Err(vec![fault("/a"), fault(real)]));
        assert_eq!(faults, Err(vec![fault(real)]), "{real:?}");
    }
    let plain = json!({ "a": 1 });
    assert_eq!(check_driver(&plain, |_| Err(vec![fault("/a")])), Err(vec![fault("/a")]));
    assert_eq!(
        check_driver(&plain, |_| Err(Vec::new())),
        Err(Vec::new()),
        "a refusal is a refusal"
    );
}

#[test]
fn a_text_that_looks_like_a_placeholder_stays_what_it_is() {
    let desired =
        json!({ "a": placeholder(0), "b": [{ "$ref": "k/x" }], placeholder(1): placeholder(2) });
    let same = check_driver(&desired, |value| {
        assert_ne!(value["b"][0], desired["a"], "another text stands in");
        Ok(value.clone())
    });
    assert_eq!(same, Ok(desired.clone()));
}
