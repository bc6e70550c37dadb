use proptest::prelude::*;
use serde_json::json;

use super::*;

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }))
}

fn nested_text(levels: usize) -> String {
    "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels)
}

const SMALL: Limits = Limits { depth: 3, bytes: 60, values: 8, pointers: 40 };

#[test]
fn each_limit_is_the_last_that_is_accepted() {
    for (value, excess) in [
        (nested(3), None),
        (nested(4), Some(Excess::Depth(3))),
        (json!("x".repeat(58)), None),
        (json!("x".repeat(59)), Some(Excess::Bytes(60))),
        (json!("\u{1}".repeat(10)), Some(Excess::Bytes(60))),
        (json!([0, 0, 0, 0, 0, 0, 0]), None),
        (json!([0, 0, 0, 0, 0, 0, 0, 0]), Some(Excess::Values(8))),
        (json!({ "x".repeat(20): { "y": 1, "z": 1 } }), Some(Excess::Pointers(40))),
    ] {
        assert_eq!(measure(&value, &SMALL).err(), excess, "{value}");
    }
}

#[test]
fn a_document_that_is_too_large_is_refused_without_going_through_it() {
    let values = vec![Value::Null; 1_000_000];
    let limits = Limits { values: 10, ..Limits::DOCUMENT };
    let mut extent = Extent::default();
    assert!(extent.take(&Value::from(values), 0, 0, &limits).is_err());
    assert!(extent.values <= 11, "{extent:?}");
}

#[test]
fn what_is_cut_fits_and_says_where() {
    let shallow = Limits { depth: 3, ..Limits::DOCUMENT };
    let deep = cut(json!({ "deep": nested(9), "kept": 1 }), &shallow);
    assert_eq!(deep["kept"], 1);
    assert_eq!(omitted(&deep).as_deref(), Some("/deep/a/a"));
    let limits = Limits { bytes: 200, ..Limits::DOCUMENT };
    let large = cut(json!({ "large": "x".repeat(500), "small": "y" }), &limits);
    assert_eq!(large["small"], "y");
    assert_eq!(omitted(&large).as_deref(), Some("/large"));
    let whole = cut(json!("x".repeat(500)), &limits);
    assert_eq!(omitted(&whole).as_deref(), Some(""));
    assert_eq!(omitted(&nested(60)), None);
    assert_eq!(cut(nested(60), &Limits::DOCUMENT), nested(60));
}

#[test]
fn a_text_of_any_depth_is_read_and_one_that_a_parser_takes_is_left_alone() {
    for levels in [0, 1, READ_DEPTH_MAX] {
        let text = nested_text(levels);
        assert_eq!(depth(&text), levels);
        assert!(matches!(shallow(&text), Cow::Borrowed(_)));
    }
    for levels in [READ_DEPTH_MAX + 1, 130, 1_000_000] {
        let text = nested_text(levels);
        assert_eq!(depth(&text), levels);
        let value: Value = serde_json::from_str(&shallow(&text)).expect("JSON");
        assert!(omitted(&value).is_some());
    }
    let text = format!("[{}, \"[[\\\"{{\", [2]]", nested_text(200));
    let value: Value = serde_json::from_str(&shallow(&text)).expect("JSON");
    assert_eq!((&value[1], &value[2]), (&json!("[[\"{"), &json!([2])));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 200, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn bytes_and_depth_are_those_of_the_text(value in values()) {
        let (extent, text) = (Extent::of(&value), value.to_string());
        prop_assert_eq!(extent.bytes, text.len());
        prop_assert_eq!(extent.depth, depth(&text));
        prop_assert!(weight(&value) >= extent.values);
    }

    #[test]
    fn what_is_cut_is_within_the_limits(value in values(), bytes in 200_usize..400, deep in 1_usize..6) {
        let limits = Limits { depth: deep, bytes, values: 20, pointers: 200 };
        let fits = measure(&value, &limits).is_ok();
        let cut = cut(value.clone(), &limits);
        prop_assert!(measure(&cut, &limits).is_ok(), "{}", cut);
        prop_assert_eq!(cut == value, fits);
        prop_assert_eq!(omitted(&cut).is_some(), !fits);
    }
}

#[test]
fn the_extent_of_a_text_is_known_before_it_is_parsed() {
    for (text, values) in [
        ("", 1),
        ("1", 1),
        ("[]", 1),
        ("[1,2,3]", 4),
        ("[ { }, [\n], {\"\":0} ]", 5),
        (r#"{"a":{"b":[1,"],[{"]}}"#, 5),
        (r#""\\\",[{""#, 1),
        ("[[[[[[[[", 9),
    ] {
        assert_eq!(parsed_extent(text.as_bytes()).values, values, "{text}");
    }
    let objects = format!("[{}]", vec!["{\"\":0}"; 10_000].join(","));
    assert!(parsed_extent(objects.as_bytes()).bytes > 100 * objects.len(), "objects of six bytes");
    let text = format!("\"{}\"", "[{,".repeat(100_000));
    assert!(parsed_extent(text.as_bytes()).bytes < 2 * text.len(), "a text is as large as it is");
}

proptest! {
    #[test]
    fn the_extent_of_a_text_bounds_the_number_of_its_values(value in values()) {
        let text = value.to_string();
        let extent = measure(&value, &Limits { depth: 1_000, ..Limits::DOCUMENT }).unwrap();
        let bound = parsed_extent(text.as_bytes());
        prop_assert_eq!(extent.values, bound.values);
        prop_assert!(bound.bytes <= extent.memory());
        prop_assert!(weight(&value) <= bound.bytes);
    }
}
