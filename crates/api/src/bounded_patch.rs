//! JSON Patch (RFC 6902) with a bounded result: without bounds, a few bytes of `copy` could request any amount of
//! memory, depth and time.
//!
//! Each step is measured before it is applied, so that nothing is cloned that would be refused.

use std::slice;

use json_patch::PatchOperation;
use json_patch::jsonptr::Pointer;
use serde_json::Value;
use stateward_domain::document::{Excess, Extent, Limits};

use crate::problem::Problem;

/// Maximum steps of a patch.
const STEPS_MAX: usize = 1_000;
/// Bytes that all steps together may copy, replace, remove or move aside.
const WORK_MAX: usize = 256 * 1024 * 1024;
/// Cost of moving one item of a list aside.
const ITEM_BYTES: usize = 32;
/// Additional levels and bytes of the patched document, which contains the desired state.
const LEVELS_AROUND: usize = 1;
const BYTES_AROUND: usize = 256 * 1024;

/// Applies `patch`. Calls `charge` with bytes of memory before the document grows; the document itself is the caller's
/// to charge.
///
/// # Errors
/// The first step that fails or would make the document too large; the document must then be discarded.
pub(crate) fn apply(
    document: &mut Value,
    patch: &json_patch::Patch,
    mut charge: impl FnMut(usize) -> Result<(), Problem>,
) -> Result<(), Problem> {
    if patch.0.len() > STEPS_MAX {
        let detail = format!("a patch has {STEPS_MAX} steps at most");
        return Err(Problem::unprocessable("patch-failed", detail));
    }
    let mut extent = Extent::of(document);
    let (mut charged, mut work) = (extent.memory(), 0_usize);
    for (number, step) in patch.0.iter().enumerate() {
        let failed = |why: String| {
            Problem::unprocessable("patch-failed", format!("step {number}: {why}"))
                .at(format!("/{number}"), why)
        };
        let effect = SizeChange::of(document, step);
        work = work.saturating_add(effect.work);
        if work > WORK_MAX {
            return Err(failed(format!("the patch moves more than {WORK_MAX} bytes")));
        }
        extent = effect.after(&extent).map_err(|excess| failed(format!("the result {excess}")))?;
        if extent.memory() > charged {
            charge(extent.memory() - charged)?;
            charged = extent.memory();
        }
        json_patch::patch(document, slice::from_ref(step))
            .map_err(|error| failed(error.kind.to_string()))?;
    }
    Ok(())
}

/// The effect of a step on the size of a document.
#[derive(Default)]
struct SizeChange {
    added: Extent,
    removed: Extent,
    work: usize,
}

impl SizeChange {
    fn of(document: &Value, step: &PatchOperation) -> Self {
        let at = |pointer: &Pointer| document.pointer(pointer.as_str());
        match step {
            PatchOperation::Add(add) => {
                Self::put(document, &add.path, Extent::of(&add.value), false)
            }
            PatchOperation::Replace(replace) => {
                Self::put(document, &replace.path, Extent::of(&replace.value), true)
            }
            PatchOperation::Copy(copy) => {
                let copied = at(&copy.from).map(Extent::of).unwrap_or_default();
                Self::put(document, &copy.path, copied, false)
            }
            PatchOperation::Move(moved) => {
                let source = at(&moved.from).map(Extent::of).unwrap_or_default();
                let taken = Self::taken(document, &moved.from, source);
                let put = Self::put(document, &moved.path, source, false);
                Self {
                    added: put.added,
                    removed: sum(taken.removed, put.removed),
                    work: taken.work + put.work,
                }
            }
            PatchOperation::Remove(remove) => {
                let removed = at(&remove.path).map(Extent::of).unwrap_or_default();
                Self::taken(document, &remove.path, removed)
            }
            PatchOperation::Test(_) => Self::default(),
        }
    }

    /// Puts `value` at `path`. It replaces the value there, unless that is an item of a list, which moves aside.
    fn put(document: &Value, path: &Pointer, value: Extent, replaces: bool) -> Self {
        let aside = if replaces { 0 } else { items_moved_by(document, path) };
        let goes = if aside > 0 { None } else { document.pointer(path.as_str()) };
        let removed = goes.map(|gone| named(Extent::of(gone), path)).unwrap_or_default();
        let added = named(value, path);
        Self { added, removed, work: added.bytes + removed.bytes + aside * ITEM_BYTES }
    }

    fn taken(document: &Value, path: &Pointer, value: Extent) -> Self {
        let aside = items_moved_by(document, path);
        let removed = named(value, path);
        Self { added: Extent::default(), removed, work: removed.bytes + aside * ITEM_BYTES }
    }

    /// The document's extent after the step.
    ///
    /// # Errors
    /// If it exceeds the limits and is larger than before.
    fn after(&self, before: &Extent) -> Result<Extent, Excess> {
        let limits = Limits::DOCUMENT;
        let bytes = (before.bytes + self.added.bytes).saturating_sub(self.removed.bytes);
        let values = (before.values + self.added.values).saturating_sub(self.removed.values);
        let depth_max = limits.depth + LEVELS_AROUND;
        if self.added.depth > depth_max {
            return Err(Excess::Depth(depth_max));
        }
        if bytes > (limits.bytes + BYTES_AROUND).max(before.bytes) {
            return Err(Excess::Bytes(limits.bytes));
        }
        if values > limits.values.max(before.values) {
            return Err(Excess::Values(limits.values));
        }
        Ok(Extent { bytes, values, ..*before })
    }
}

/// `value` at `path`: including its name and depth there.
fn named(value: Extent, path: &Pointer) -> Extent {
    let name = path.last().map_or(0, |token| token.encoded().len());
    Extent { depth: value.depth + path.count(), bytes: value.bytes + name + 4, ..value }
}

/// Items of the list that `path` points into; 0 if it points into no list.
fn items_moved_by(document: &Value, path: &Pointer) -> usize {
    let list = path.parent().and_then(|parent| document.pointer(parent.as_str()));
    list.and_then(Value::as_array).map_or(0, Vec::len)
}

fn sum(one: Extent, other: Extent) -> Extent {
    Extent {
        depth: one.depth.max(other.depth),
        bytes: one.bytes + other.bytes,
        values: one.values + other.values,
        pointers: one.pointers + other.pointers,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(mut document: Value, patch: Value) -> Result<Value, Problem> {
        let patch: json_patch::Patch = serde_json::from_value(patch).expect("a patch");
        apply(&mut document, &patch, |_| Ok(())).map(|()| document)
    }

    fn copies(from: &str, path: &str, times: usize) -> Value {
        let step = json!({ "op": "copy", "from": from, "path": path });
        Value::from(vec![step; times])
    }

    #[test]
    fn what_a_patch_of_a_few_bytes_asks_for_is_refused_before_it_is_made() {
        let thing = json!({ "desired": { "size": 1 } });
        let doubled: Vec<_> = (0..27)
            .map(|number| {
                let path = format!("/desired/{number}");
                json!({ "op": "copy", "from": "/desired", "path": path })
            })
            .collect();
        let text = json!({ "desired": { "a": "x".repeat(1024 * 1024) } });
        let appended = json!({ "desired": { "a": vec![0; 90_000], "b": [] } });
        for (document, patch, why) in [
            (thing.clone(), copies("/desired", "/desired/a", 126), "deeper"),
            (thing.clone(), copies("/desired", "/desired/a", 15_000), "1000 steps"),
            (thing.clone(), copies("/desired", "/desired/a", 2_500), "1000 steps"),
            (thing, Value::from(doubled), "values"),
            (text.clone(), copies("/desired/a", "/desired/b", 200), "moves more"),
            (appended.clone(), copies("/desired/a", "/desired/b/-", 2), "values"),
            (appended, copies("/desired/a/0", "/desired/a/0", 900), "moves more"),
        ] {
            let problem = patched(document, patch).expect_err(why).to_string();
            assert!(problem.contains(why), "{why}: {problem}");
        }
        let flat: Vec<_> = (0..9)
            .map(|number| {
                let path = format!("/desired/{number}");
                json!({ "op": "copy", "from": "/desired/a", "path": path })
            })
            .collect();
        let problem = patched(text, Value::from(flat)).expect_err("too large").to_string();
        assert!(problem.contains("bytes as JSON"), "{problem}");
    }

    #[test]
    fn the_size_is_kept_as_the_document_has_it() {
        let mut document = json!({ "a": { "b": [1, 2, 3], "c": "x" }, "d": null });
        let steps = json!([
            { "op": "add", "path": "/a/b/1", "value": { "y": [true] } },
            { "op": "replace", "path": "/a/c", "value": "longer" },
            { "op": "copy", "from": "/a/b", "path": "/a/e" },
            { "op": "move", "from": "/a/e", "path": "/d" },
            { "op": "remove", "path": "/a/b/0" },
            { "op": "add", "path": "/a/b/-", "value": 7 },
            { "op": "test", "path": "/a/b/2", "value": 3 },
        ]);
        let patch: json_patch::Patch = serde_json::from_value(steps).expect("a patch");
        let mut extent = Extent::of(&document);
        for step in &patch.0 {
            extent = SizeChange::of(&document, step).after(&extent).expect("small");
            json_patch::patch(&mut document, slice::from_ref(step)).expect("it fits");
            let exact = Extent::of(&document);
            assert_eq!(extent.values, exact.values, "{step:?}");
            assert!(extent.bytes.abs_diff(exact.bytes) <= 8 * patch.0.len(), "{step:?}");
        }
    }

    #[test]
    fn a_document_that_is_too_large_already_can_be_made_smaller() {
        let deep = (0..100).fold(json!(1), |inner, _| json!({ "a": inner }));
        let document = json!({ "desired": deep });
        let smaller = json!([{ "op": "replace", "path": "/desired", "value": { "size": 1 } }]);
        assert_eq!(patched(document.clone(), smaller).expect("done")["desired"]["size"], 1);
        let labels = json!([{ "op": "add", "path": "/labels", "value": { "a": "b" } }]);
        assert_eq!(patched(document, labels).expect("done")["labels"]["a"], "b");
    }
}
