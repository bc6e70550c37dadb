use serde_json::json;

use super::*;

fn target(text: &str) -> Target {
    Target::parse(text).expect("KIND/NAME")
}

fn faults(desired: &Value) -> Vec<(String, String)> {
    let faults = references(desired).expect_err("malformed");
    faults.into_iter().map(|fault| (fault.pointer, fault.message)).collect()
}

#[test]
fn references_are_found_at_any_depth_with_their_pointers() {
    let desired = json!({
        "network": {"$ref": "fake.thing/blue"},
        "nics": [{"a/b~c": {"$ref": "fake.thing/red", "field": "observed.attributes.port.id"}}],
        "plain": {"field": "observed.attributes.x"},
    });
    let found = references(&desired).expect("well-formed");
    let expected = [
        ("/network", "fake.thing/blue", Field::ExternalId),
        (
            "/nics/0/a~1b~0c",
            "fake.thing/red",
            Field::Attribute(vec!["port".to_owned(), "id".to_owned()]),
        ),
    ];
    let expected = expected.map(|(pointer, of, field)| Reference {
        pointer: pointer.to_owned(),
        target: target(of),
        field,
    });
    assert_eq!(found, expected);
    for reference in &found {
        assert!(desired.pointer(&reference.pointer).is_some_and(is_reference));
    }
}

#[test]
fn what_is_malformed_is_named_with_its_pointer() {
    for bad in [
        json!({"$ref": "fake.thing/x", "more": 1}),
        json!({"$ref": "fake.thing"}),
        json!({"$ref": "/x"}),
        json!({"$ref": "fake.thing/"}),
        json!({"$ref": 7}),
        json!({"$ref": null}),
        json!({"$ref": {"$ref": "fake.thing/x"}}),
        json!({"$ref": "fake.thing/x", "field": 7}),
        json!({"$ref": "fake.thing/x", "field": "desired.x"}),
        json!({"$ref": "fake.thing/x", "field": "observed.attributes."}),
        json!({"$ref": "fake.thing/x", "field": "observed.attributes.a..b"}),
    ] {
        let faults = faults(&json!({"ok": {"$ref": "fake.thing/x"}, "bad": [bad.clone()]}));
        assert_eq!(faults.len(), 1, "{bad}");
        assert_eq!(faults[0].0, "/bad/0", "{bad}");
    }
}

#[test]
fn the_whole_desired_state_is_no_reference() {
    let faults = faults(&json!({"$ref": "fake.thing/x"}));
    let message = "a field may be a reference, the whole desired state may not";
    assert_eq!(faults, [(String::new(), message.to_owned())]);
}

#[test]
fn more_references_than_the_bound_are_refused() {
    let many = |count| json!(vec![json!({"$ref": "fake.thing/x"}); count]);
    assert_eq!(references(&many(REFERENCES_MAX)).expect("within").len(), REFERENCES_MAX);
    let faults = faults(&many(REFERENCES_MAX + 1));
    assert_eq!(faults, [(String::new(), "65 references, at most 64 are taken".to_owned())]);
}

#[test]
fn values_replace_references_and_nothing_else() {
    let desired = json!({"a": {"$ref": "fake.thing/x"}, "b": [{"$ref": "fake.thing/y"}], "c": 1});
    let values = [("/a", json!("id-1")), ("/c", json!(2)), ("/gone/0", json!(3))];
    let values = values.map(|(pointer, value)| (pointer.to_owned(), value)).into();
    let resolved = resolve(&desired, &values);
    assert_eq!(resolved, json!({"a": "id-1", "b": [{"$ref": "fake.thing/y"}], "c": 1}));
}

#[test]
fn a_value_that_looks_like_a_reference_is_not_resolved_again() {
    let desired = json!({"a": {"$ref": "fake.thing/x"}});
    let hostile = json!({"b": {"$ref": "fake.thing/y"}});
    let values = [("/a".to_owned(), hostile.clone()), ("/a/b".to_owned(), json!("never"))].into();
    assert_eq!(resolve(&desired, &values), json!({"a": hostile}));
}

#[test]
fn each_target_is_named_once() {
    let desired = json!([{"$ref": "k/b"}, {"$ref": "k/a"}, {"$ref": "k/b"}]);
    let found = references(&desired).expect("well-formed");
    assert_eq!(targets(&found), BTreeSet::from([target("k/a"), target("k/b")]));
}

fn cycle_in(edges: &[(&str, &str)], start: &str) -> Option<Vec<String>> {
    let dependencies_of = |of: &Target| {
        let of = of.to_string();
        edges
            .iter()
            .filter(|(dependent, _)| *dependent == of)
            .map(|(_, target)| Target::parse(target).expect("KIND/NAME"))
            .collect()
    };
    cycle(&target(start), dependencies_of)
        .map(|path| path.iter().map(ToString::to_string).collect())
}

#[test]
fn a_cycle_is_named_from_its_start_to_its_start() {
    assert_eq!(cycle_in(&[("k/a", "k/a")], "k/a").expect("itself"), ["k/a", "k/a"]);
    let edges = [("k/a", "k/x"), ("k/a", "k/b"), ("k/b", "k/y"), ("k/b", "k/c"), ("k/c", "k/a")];
    assert_eq!(cycle_in(&edges, "k/a").expect("three"), ["k/a", "k/b", "k/c", "k/a"]);
}

#[test]
fn shared_targets_and_cycles_elsewhere_are_no_cycle() {
    let diamond = [("k/a", "k/b"), ("k/a", "k/c"), ("k/b", "k/d"), ("k/c", "k/d")];
    assert_eq!(cycle_in(&diamond, "k/a"), None);
    assert_eq!(cycle_in(&[("k/a", "k/b"), ("k/b", "k/c"), ("k/c", "k/b")], "k/a"), None);
}
