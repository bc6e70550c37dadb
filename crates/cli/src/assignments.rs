//! `FIELD=VALUE` on a command line.

use serde_json::{Map, Value};

use crate::exit::Stop;

/// A document of assignments: `a.b=1` and `/a/b=1` name a member of a member. A value is read as JSON where it is
/// some, else as a text.
///
/// # Errors
/// A usage error: no `=`, no name, or two that contradict each other.
pub(crate) fn document(assignments: &[String]) -> anyhow::Result<Value> {
    let mut document = Map::new();
    for assignment in assignments {
        let (field, value) = assignment
            .split_once('=')
            .ok_or_else(|| Stop::usage(format!("{assignment}: it takes FIELD=VALUE")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        let names = names(field);
        if names.iter().any(String::is_empty) {
            return Err(Stop::usage(format!("{assignment}: {field:?} names no field")));
        }
        put(&mut document, &names, value)
            .ok_or_else(|| Stop::usage(format!("{assignment}: {field} is given twice")))?;
    }
    Ok(Value::Object(document))
}

fn names(field: &str) -> Vec<String> {
    match field.strip_prefix('/') {
        Some(pointer) => {
            pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect()
        }
        None => field.split('.').map(str::to_owned).collect(),
    }
}

/// `None` when something else is there already.
fn put(members: &mut Map<String, Value>, names: &[String], value: Value) -> Option<()> {
    let (name, below) = names.split_first()?;
    if below.is_empty() {
        return members.insert(name.clone(), value).is_none().then_some(());
    }
    let next = members.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
    put(next.as_object_mut()?, below, value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(assignments: &[&str]) -> anyhow::Result<Value> {
        document(&assignments.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn values_are_json_where_they_are_some() {
        let cases = [
            (
                &["size=20", "name=db-1", "tags=[\"a\"]"][..],
                json!({"size": 20, "name": "db-1", "tags": ["a"]}),
            ),
            (
                &["quotas.volume.volumes=3", "quotas.volume.gigabytes=9"],
                json!({"quotas": {"volume": {"volumes": 3, "gigabytes": 9}}}),
            ),
            (
                &["/metadata/a.b~1c=x=y", "gone=null", "text=\"7\""],
                json!({"metadata": {"a.b/c": "x=y"}, "gone": null, "text": "7"}),
            ),
            (&[], json!({})),
        ];
        for (assignments, expected) in cases {
            assert_eq!(of(assignments).expect("well-formed"), expected);
        }
    }

    #[test]
    fn what_says_nothing_or_two_things_is_refused() {
        for assignments in
            [&["size"][..], &["=1"], &["a..b=1"], &["/=1"], &["a=1", "a=2"], &["a=1", "a.b=2"]]
        {
            assert!(of(assignments).is_err(), "{assignments:?}");
        }
    }
}
