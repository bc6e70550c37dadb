//! Bounds on JSON documents that enter the log, and how a document beyond them is read back.
//!
//! Invariant: what is admitted to an event can be read by every JSON parser, `serde_json` with its 128 levels among them.
//! So the bound on depth leaves room for the event, the row and the list item that a document is nested in.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde_json::Value;

use crate::json_pointer;

/// Begins the text that stands where a part of a document was left out. Not accepted in a document that a caller sends.
pub const OMITTED: &str = "$stateward.omitted";
/// Levels of nesting of a stored text that is read as it stands. A deeper text is read [`shallow`].
const READ_DEPTH_MAX: usize = 100;
/// Bytes of an event's payload at most: a drift with both its values and all attributes, and an export's line has 64 MiB.
pub const EVENT_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Levels of nesting of an event's payload at most.
pub const EVENT_DEPTH_MAX: usize = 96;
/// Memory that a value takes besides its text.
const VALUE_BYTES: usize = 64;

/// How large a document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects and lists that are nested in each other, the outermost counted.
    pub depth: usize,
    /// Bytes of its JSON text.
    pub bytes: usize,
    /// Values: members, items, and the document itself.
    pub values: usize,
    /// Bytes of the JSON pointers to all its values: what a difference, field by field, has to name.
    pub pointers: usize,
}

impl Limits {
    /// Of a desired state, and of what a backend reports of an object: the same, because the two are compared. The bytes
    /// are 1 MiB of text (the longest that a kind's schema accepts) with each character escaped, and room for the rest.
    pub const DOCUMENT: Self =
        Self { depth: 64, bytes: 8 * 1024 * 1024, values: 100_000, pointers: 4 * 1024 * 1024 };
    /// Of an action's input. An entity holds up to [`MAX_OPEN`](crate::entity::Entity::MAX_OPEN) of them.
    pub const INPUT: Self = Self { bytes: 256 * 1024, ..Self::DOCUMENT };
    /// Of what a driver needs to ask for pending work.
    pub const HANDLE: Self = Self { bytes: 64 * 1024, ..Self::DOCUMENT };
}

/// How large a document is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the members of Limits")]
pub struct Extent {
    pub depth: usize,
    pub bytes: usize,
    pub values: usize,
    pub pointers: usize,
}

/// In what a document is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// See [`Limits::depth`].
    #[error("is nested deeper than {0} levels")]
    Depth(usize),
    /// See [`Limits::bytes`].
    #[error("has more than {0} bytes as JSON")]
    Bytes(usize),
    /// See [`Limits::values`].
    #[error("has more than {0} values")]
    Values(usize),
    /// See [`Limits::pointers`].
    #[error("has names so long that the pointers to its values have more than {0} bytes")]
    Pointers(usize),
}

impl Extent {
    /// The extent of `value`, without limits. Recursive: for values that a parser or [`measure`] let through.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let limits = Limits {
            depth: usize::MAX,
            bytes: usize::MAX,
            values: usize::MAX,
            pointers: usize::MAX,
        };
        let mut extent = Self::default();
        // Nothing is beyond these limits.
        let _ = extent.take(value, 0, 0, &limits);
        extent
    }

    /// In what this is beyond `limits`.
    ///
    /// # Errors
    /// The first of depth, bytes, values, pointers.
    pub const fn within(&self, limits: &Limits) -> Result<(), Excess> {
        if self.depth > limits.depth {
            return Err(Excess::Depth(limits.depth));
        }
        if self.bytes > limits.bytes {
            return Err(Excess::Bytes(limits.bytes));
        }
        if self.values > limits.values {
            return Err(Excess::Values(limits.values));
        }
        if self.pointers > limits.pointers {
            return Err(Excess::Pointers(limits.pointers));
        }
        Ok(())
    }

    /// Adds `value`, which stands at `depth` behind a pointer of `pointer` bytes. Goes no deeper than the limit.
    fn take(
        &mut self,
        value: &Value,
        depth: usize,
        pointer: usize,
        limits: &Limits,
    ) -> Result<(), Excess> {
        self.values += 1;
        self.pointers += pointer;
        match value {
            Value::Null => self.bytes += 4,
            Value::Bool(value) => self.bytes += if *value { 4 } else { 5 },
            Value::Number(number) => {
                let mut count = Count(0);
                // Counting never fails.
                let _ = write!(count, "{number}");
                self.bytes += count.0;
            }
            Value::String(text) => self.bytes += quoted(text),
            Value::Array(items) => {
                self.bytes += 2 + items.len().saturating_sub(1);
                self.depth = self.depth.max(depth + 1);
                self.within(limits)?;
                for item in items {
                    self.take(item, depth + 1, pointer + 2, limits)?;
                }
            }
            Value::Object(members) => {
                self.bytes += 2 + members.len().saturating_sub(1);
                self.depth = self.depth.max(depth + 1);
                self.within(limits)?;
                for (name, member) in members {
                    self.bytes += quoted(name) + 1;
                    self.take(member, depth + 1, pointer + 1 + name.len(), limits)?;
                }
            }
        }
        self.within(limits)
    }
}

struct Count(usize);

impl fmt::Write for Count {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Bytes of `text` as JSON.
fn quoted(text: &str) -> usize {
    let more = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..32 => 5,
        _ => 0,
    };
    2 + text.len() + text.bytes().map(more).sum::<usize>()
}

/// The extent of `value`; stops at the first limit that it exceeds, so that it costs no more than an acceptable document.
///
/// # Errors
/// In what it is too large.
pub fn measure(value: &Value, limits: &Limits) -> Result<Extent, Excess> {
    let mut extent = Extent::default();
    extent.take(value, 0, 0, limits)?;
    Ok(extent)
}

/// About how much memory `value` takes, in bytes. Does not read texts.
#[must_use]
pub fn weight(value: &Value) -> usize {
    VALUE_BYTES
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight).sum(),
            Value::Object(members) => {
                members.iter().map(|(name, member)| name.len() + weight(member)).sum()
            }
        }
}

/// The JSON pointer to the first part of `value` that was left out; `None` when it is whole.
#[must_use]
pub fn omitted(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.starts_with(OMITTED).then(String::new),
        Value::Array(items) => {
            let mut found = items.iter().enumerate();
            found.find_map(|(number, item)| omitted(item).map(|rest| format!("/{number}{rest}")))
        }
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            let rest = omitted(member)?;
            Some(format!("/{}{rest}", json_pointer::escape(name)))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// `value` within `limits`: what is nested too deep is left out, then the largest members until the rest fits. A text
/// that begins with [`OMITTED`] says where something was left out, and why.
#[must_use]
pub fn cut(mut value: Value, limits: &Limits) -> Value {
    if measure(&value, limits).is_ok() {
        return value;
    }
    flatten(&mut value, limits.depth);
    let Some(members) = value.as_object_mut() else {
        return match measure(&value, limits) {
            Ok(_) => value,
            Err(excess) => mark(excess),
        };
    };
    let mut sizes: Vec<_> =
        members.iter().map(|(name, member)| (name.clone(), Extent::of(member))).collect();
    let share = |extent: &Extent| {
        let shares = [
            extent.bytes * 1_000 / limits.bytes,
            extent.values * 1_000 / limits.values,
            extent.pointers * 1_000 / limits.pointers,
        ];
        shares.into_iter().sum::<usize>()
    };
    sizes.sort_by_key(|(_, extent)| share(extent));
    while let Err(excess) = Extent::of(&value).within(limits) {
        let Some((name, _)) = sizes.pop() else { return mark(excess) };
        value[&name] = mark(excess);
    }
    value
}

fn mark(excess: Excess) -> Value {
    Value::String(format!("{OMITTED}: the document {excess}"))
}

/// Leaves out objects and lists that stand deeper than `left` levels.
fn flatten(value: &mut Value, left: usize) {
    let below: &mut dyn Iterator<Item = &mut Value> = match value {
        Value::Array(items) if left > 0 => &mut items.iter_mut(),
        Value::Object(members) if left > 0 => &mut members.values_mut(),
        Value::Array(_) | Value::Object(_) => {
            *value = Value::String(format!("{OMITTED}: nested too deep"));
            return;
        }
        _ => return,
    };
    below.for_each(|value| flatten(value, left - 1));
}

/// Levels of nesting of a JSON text. Not recursive.
#[must_use]
pub fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    scan(text, |_, byte| {
        match byte {
            b'{' | b'[' => depth += 1,
            _ => depth = depth.saturating_sub(1),
        }
        deepest = deepest.max(depth);
    });
    deepest
}

/// The stored JSON `text` as a parser takes it: what is nested too deep is left out, with a text that begins with
/// [`OMITTED`] in its place. Not recursive, and a function of the text alone.
#[must_use]
pub fn shallow(text: &str) -> Cow<'_, str> {
    let (mut kept, mut copied, mut depth) = (String::new(), 0, 0_usize);
    scan(text, |at, byte| match byte {
        b'{' | b'[' => {
            depth += 1;
            if depth == READ_DEPTH_MAX + 1 {
                kept.push_str(&text[copied..at]);
                // Writing to a text never fails.
                let _ = write!(kept, "\"{OMITTED}: nested too deep\"");
            }
        }
        _ => {
            if depth == READ_DEPTH_MAX + 1 {
                copied = at + 1;
            }
            depth = depth.saturating_sub(1);
        }
    });
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(&text[copied..]);
    Cow::Owned(kept)
}

/// Calls `bracket` with place and byte of each bracket of a JSON text that stands in no string.
fn scan(text: &str, mut bracket: impl FnMut(usize, u8)) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'{' | b'[' | b'}' | b']') => bracket(at, byte),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
