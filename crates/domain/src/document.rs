//! Limits of JSON documents that enter the log, and how documents beyond them are read.
//!
//! Invariant: every JSON parser can read an admitted event; `serde_json` accepts 128 levels. So the limit of depth
//! leaves room for the event, the row and the list item around a document.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde_json::Value;

use crate::json_pointer;

/// Prefix of the text that replaces an omitted part of a document. Rejected in documents of callers.
pub const OMITTED: &str = "$stateward.omitted";
/// Levels of nesting of a stored text that is parsed unchanged; a deeper text is first made [`shallow`].
const READ_DEPTH_MAX: usize = 100;
/// Bytes of an event's payload, at most: room for a drift with both values and all attributes. A line of an export
/// may have 64 MiB.
pub const EVENT_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Levels of nesting of an event's payload, at most.
pub const EVENT_DEPTH_MAX: usize = 96;
/// Memory of a value besides its text.
const VALUE_BYTES: usize = 64;
/// Memory of an object's first node in `serde_json`'s map: a B-tree leaf of eleven names and values.
const NODE_BYTES: usize = 640;
/// Memory of a member or item: its share of a half full node, or its place in a list that grew, and its name.
const ENTRY_BYTES: usize = 160;

/// Limits of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels of nested objects and lists, the outermost included.
    pub depth: usize,
    /// Bytes of its JSON text.
    pub bytes: usize,
    /// Number of values: members, items, and the document itself.
    pub values: usize,
    /// Bytes of the JSON pointers to all values: a field-by-field difference has to name them.
    pub pointers: usize,
}

impl Limits {
    /// Limits of a desired state, and of the attributes of an object: the same, because the two are compared. The
    /// bytes are 1 MiB of text (the longest that a kind's schema accepts) with each character escaped, and room for
    /// the rest.
    pub const DOCUMENT: Self =
        Self { depth: 64, bytes: 8 * 1024 * 1024, values: 100_000, pointers: 4 * 1024 * 1024 };
    /// Limits of an action's input. An entity holds up to [`MAX_OPEN`](crate::entity::Entity::MAX_OPEN) of them.
    pub const INPUT: Self = Self { bytes: 256 * 1024, ..Self::DOCUMENT };
    /// Limits of a driver's handle for pending work.
    pub const HANDLE: Self = Self { bytes: 64 * 1024, ..Self::DOCUMENT };
}

/// Size of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the members of Limits")]
pub struct Extent {
    pub depth: usize,
    pub bytes: usize,
    pub values: usize,
    pub pointers: usize,
}

/// The limit that a document exceeds.
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
    /// The extent of `value`, without limits. Recursive: for values that a parser or [`measure`] accepted.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let limits = Limits {
            depth: usize::MAX,
            bytes: usize::MAX,
            values: usize::MAX,
            pointers: usize::MAX,
        };
        let mut extent = Self::default();
        // Cannot fail: there are no limits.
        let _ = extent.take(value, 0, 0, &limits);
        extent
    }

    /// Upper bound of the memory of such a document, in bytes: each value may be an object.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.bytes + self.values * (ENTRY_BYTES + NODE_BYTES)
    }

    /// Compares with `limits`.
    ///
    /// # Errors
    /// The first exceeded one of depth, bytes, values, pointers.
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

    /// Adds `value`, at `depth`, with a pointer of `pointer` bytes. Recursion ends at the limit of depth.
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
                // Cannot fail.
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

/// Bytes of `text` as a JSON string.
fn quoted(text: &str) -> usize {
    let more = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..32 => 5,
        _ => 0,
    };
    2 + text.len() + text.bytes().map(more).sum::<usize>()
}

/// The extent of `value`. Stops at the first exceeded limit, so that it costs no more than for an acceptable
/// document.
///
/// # Errors
/// The limit that is exceeded.
pub fn measure(value: &Value, limits: &Limits) -> Result<Extent, Excess> {
    let mut extent = Extent::default();
    extent.take(value, 0, 0, limits)?;
    Ok(extent)
}

/// Approximate memory of `value`, in bytes. Does not scan texts.
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

/// JSON pointer to the first omitted part of `value`; `None` when it is whole.
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

/// Reduces `value` to `limits`: omits what is nested too deep, then the largest members until the rest fits. A text
/// that begins with [`OMITTED`] replaces each omitted part, with the reason.
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

/// Omits objects and lists deeper than `left` levels.
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
    scan(text.as_bytes(), |_, byte| {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    });
    deepest
}

/// The stored JSON `text` with omitted parts where it is nested too deep for a parser ([`OMITTED`]). Not recursive,
/// and a function of the text alone.
#[must_use]
pub fn shallow(text: &str) -> Cow<'_, str> {
    let (mut kept, mut copied, mut depth) = (String::new(), 0, 0_usize);
    scan(text.as_bytes(), |at, byte| match byte {
        b'{' | b'[' => {
            depth += 1;
            if depth == READ_DEPTH_MAX + 1 {
                kept.push_str(&text[copied..at]);
                // Cannot fail.
                let _ = write!(kept, "\"{OMITTED}: nested too deep\"");
            }
        }
        b'}' | b']' => {
            if depth == READ_DEPTH_MAX + 1 {
                copied = at + 1;
            }
            depth = depth.saturating_sub(1);
        }
        _ => {}
    });
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(&text[copied..]);
    Cow::Owned(kept)
}

/// Upper bounds of what a JSON text becomes once it is parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParsedExtent {
    /// Values: members, items, and the document itself.
    pub values: usize,
    /// Memory in bytes.
    pub bytes: usize,
}

/// What the JSON `text` becomes once it is parsed, without parsing it: a parser allocates hundreds of bytes for an object
/// that takes six in a text, so a bound on the text alone bounds no memory. The number of values of valid JSON is
/// exact. Not recursive; any text has an answer.
#[must_use]
pub fn parsed_extent(text: &[u8]) -> ParsedExtent {
    let (mut objects, mut values) = (0_usize, 1_usize);
    // An empty object or list has no members to allocate.
    let has_members = |at: usize| {
        let next = text[at + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
        !matches!(next, Some(b'}' | b']'))
    };
    scan(text, |at, byte| match byte {
        b'{' if has_members(at) => (objects, values) = (objects + 1, values + 1),
        b'[' if has_members(at) => values += 1,
        b',' => values += 1,
        _ => {}
    });
    let bytes = text.len() + objects * NODE_BYTES + values * ENTRY_BYTES;
    ParsedExtent { values, bytes }
}

/// Calls `structural` with offset and byte of each bracket and comma outside of strings.
fn scan(text: &[u8], mut structural: impl FnMut(usize, u8)) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().copied().enumerate() {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'{' | b'[' | b'}' | b']' | b',') => structural(at, byte),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
