//! YAML 1.2 as JSON values: composes the parser's events into documents.
//!
//! **Invariant:** what two YAML readers interpret differently is an error with its place, never a silent choice. A
//! manifest is stored as JSON for ever, so what JSON cannot represent (non-finite numbers, integers beyond 64 bits, keys
//! that are no strings, tags) is an error too.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::scalar;

/// Levels of nesting at most: those of a request body.
const DEPTH_MAX: usize = stateward_api::json::DEPTH_MAX;
/// Bytes at most that all aliases of a document expand to. An alias of three bytes may expand to a document of aliases
/// ("billion laughs"), so the size of the text is no bound.
const EXPANDED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes counted for a value besides its texts.
const VALUE_BYTES: usize = 32;
/// The merge key: the members of its value are merged into the mapping (<https://yaml.org/type/merge.html>).
const MERGE: &str = "<<";
/// Prefix of YAML's own tags.
const CORE_TAGS: &str = "tag:yaml.org,2002:";

/// A parse error with its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    pub(super) message: String,
}

/// All documents of a text, each with its first line. An empty document is `Null`.
///
/// # Errors
/// The first place that is no YAML 1.2 or is ambiguous.
pub(super) fn documents(text: &str) -> Result<Vec<(usize, Value)>, Fault> {
    let mut composer =
        Composer { events: Parser::new_from_str(text), anchors: HashMap::new(), expanded: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, span) = composer.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(_, version) => {
                if let Some(version) = version.filter(|v| (v.major, v.minor) != (1, 2)) {
                    let (major, minor) = (version.major, version.minor);
                    return Err(fault(
                        &span,
                        format!("YAML {major}.{minor}: only YAML 1.2 is read"),
                    ));
                }
                composer.anchors.clear();
                composer.expanded = 0;
                let (event, span) = composer.next()?;
                let line = span.start.line();
                documents.push((line, composer.node(event, &span, 0)?.value));
            }
            _ => {}
        }
    }
}

fn fault(span: &Span, message: impl Into<String>) -> Fault {
    Fault { line: span.start.line(), column: span.start.col() + 1, message: message.into() }
}

/// A value with its size, for aliases of it.
#[derive(Clone)]
struct Node {
    value: Value,
    /// Levels below it.
    height: usize,
    bytes: usize,
}

impl Node {
    fn leaf(value: Value) -> Self {
        let text = value.as_str().map_or(0, str::len);
        Self { value, height: 0, bytes: VALUE_BYTES + text }
    }
}

/// The state of an anchor.
enum Anchor {
    /// Its node has not ended.
    Open,
    Complete(Node),
}

struct Composer<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchor>,
    /// Bytes that aliases of this document have expanded to.
    expanded: usize,
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let (at, message) = (error.marker(), error.info());
                Err(Fault { line: at.line(), column: at.col() + 1, message })
            }
            None => Err(Fault { line: 1, column: 1, message: "ends too early".to_owned() }),
        }
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return Err(fault(span, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        match event {
            Event::Alias(anchor) => self.alias(anchor, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                let node = Node::leaf(value.map_err(|message| fault(span, message))?);
                self.remember(anchor, &node);
                Ok(node)
            }
            Event::SequenceStart(_, anchor, tag) => {
                only_core(tag.as_deref(), "seq").map_err(|message| fault(span, message))?;
                self.open(anchor);
                let node = self.sequence(depth)?;
                self.remember(anchor, &node);
                Ok(node)
            }
            Event::MappingStart(_, anchor, tag) => {
                only_core(tag.as_deref(), "map").map_err(|message| fault(span, message))?;
                self.open(anchor);
                let node = self.mapping(depth)?;
                self.remember(anchor, &node);
                Ok(node)
            }
            other => Err(fault(span, format!("unexpected {other:?}"))),
        }
    }

    /// Marks the anchor (0 = there is none) as begun.
    fn open(&mut self, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor::Open);
        }
    }

    fn remember(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor::Complete(node.clone()));
        }
    }

    fn alias(&mut self, anchor: usize, span: &Span, depth: usize) -> Result<Node, Fault> {
        let node = match self.anchors.get(&anchor) {
            Some(Anchor::Complete(node)) => node,
            Some(Anchor::Open) => return Err(fault(span, "an alias of what it is in")),
            None => return Err(fault(span, "an alias of nothing")),
        };
        self.expanded = self.expanded.saturating_add(node.bytes);
        if self.expanded > EXPANDED_BYTES_MAX {
            let message =
                format!("the aliases of a document expand to more than {EXPANDED_BYTES_MAX} bytes");
            return Err(fault(span, message));
        }
        if depth + node.height > DEPTH_MAX {
            return Err(fault(span, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(node.clone())
    }

    fn sequence(&mut self, depth: usize) -> Result<Node, Fault> {
        let (mut items, mut height, mut bytes) = (Vec::new(), 0, VALUE_BYTES);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node { value: Value::Array(items), height: height + 1, bytes });
            }
            let node = self.node(event, &span, depth + 1)?;
            height = height.max(node.height);
            bytes += node.bytes;
            items.push(node.value);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Node, Fault> {
        let (mut members, mut merged) = (Map::new(), None);
        let mut places: HashMap<String, (usize, usize)> = HashMap::new();
        let (mut height, mut bytes) = (0, VALUE_BYTES);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let is_merge_key =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == MERGE);
            let key = self.key(event, &span, depth)?;
            if let Some((line, column)) = places.get(&key) {
                let message = format!("member {key:?} is there twice, first at {line}:{column}");
                return Err(fault(&span, message));
            }
            places.insert(key.clone(), (span.start.line(), span.start.col() + 1));
            let (event, value_span) = self.next()?;
            let node = self.node(event, &value_span, depth + 1)?;
            height = height.max(node.height);
            bytes += node.bytes + key.len();
            if is_merge_key {
                merged = Some(sources(node.value).ok_or_else(|| {
                    fault(&value_span, "<< takes a mapping, or a list of mappings; quote it if a member is called so")
                })?);
            } else {
                members.insert(key, node.value);
            }
        }
        // Own members take precedence over merged ones, and an earlier source over a later one.
        for (key, value) in merged.into_iter().flatten().flatten() {
            members.entry(key).or_insert(value);
        }
        Ok(Node { value: Value::Object(members), height: height + 1, bytes })
    }

    fn key(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<String, Fault> {
        match self.node(event, span, depth + 1)?.value {
            Value::String(key) => Ok(key),
            Value::Array(_) | Value::Object(_) => Err(fault(span, "a key that is no text")),
            other => Err(fault(span, format!("the key {other} is no text: quote it"))),
        }
    }
}

/// The mappings that `<<` merges; `None` = the value is neither a mapping nor a list of mappings.
fn sources(value: Value) -> Option<Vec<Map<String, Value>>> {
    let object = |value| match value {
        Value::Object(members) => Some(members),
        _ => None,
    };
    match value {
        Value::Array(items) => items.into_iter().map(object).collect(),
        other => object(other).map(|members| vec![members]),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let core = |tag: &Tag| tag.handle() == CORE_TAGS;
    match tag {
        None if style == ScalarStyle::Plain => scalar::plain(text),
        None => Ok(Value::from(text)),
        Some(tag) if core(tag) && tag.suffix() == "str" => Ok(Value::from(text)),
        Some(tag) if core(tag) && ["int", "float", "bool", "null"].contains(&tag.suffix()) => {
            let value = scalar::plain(text)?;
            let fits = match tag.suffix() {
                "int" => value.is_i64() || value.is_u64(),
                "float" => value.is_number(),
                "bool" => value.is_boolean(),
                _ => value.is_null(),
            };
            if fits { Ok(value) } else { Err(format!("{text:?} is no !!{}", tag.suffix())) }
        }
        Some(tag) => Err(unknown(tag)),
    }
}

fn only_core(tag: Option<&Tag>, suffix: &str) -> Result<(), String> {
    match tag {
        Some(tag) if tag.handle() != CORE_TAGS || tag.suffix() != suffix => Err(unknown(tag)),
        _ => Ok(()),
    }
}

fn unknown(tag: &Tag) -> String {
    let handle = if tag.handle() == CORE_TAGS { "!!" } else { tag.handle() };
    format!("the tag {handle}{} means nothing here", tag.suffix())
}

#[cfg(test)]
mod tests;
