//! The canonical form of ADF documents: what JIRA adds, reorders or leaves out when it stores a document is removed. Nodes
//! that this version does not know stay as they are.

use serde_json::{Map, Value};

/// Attributes that editors generate, or that JIRA fills in from elsewhere.
const GENERATED: &[&str] = &["localId", "occurrenceKey", "accessLevel", "userType"];

/// The canonical form; a document without content is `Null`.
pub(super) fn canonical(document: &Value) -> Value {
    let Value::Object(members) = document else { return Value::Null };
    let document = node(members);
    if document.contains_key("content") { Value::Object(document) } else { Value::Null }
}

/// Characters of all texts in a document.
pub(super) fn characters(document: &Value) -> usize {
    let own = document["text"].as_str().map_or(0, |text| text.chars().count());
    let below = document["content"].as_array().into_iter().flatten();
    own + below.map(characters).sum::<usize>()
}

fn node(members: &Map<String, Value>) -> Map<String, Value> {
    let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
    let mut canonical = Map::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("version", _) if kind == "doc" => {}
            ("attrs", Value::Object(attributes)) => {
                let attributes = self::attributes(kind, attributes);
                if !attributes.is_empty() {
                    canonical.insert(name.clone(), Value::Object(attributes));
                }
            }
            ("marks", Value::Array(marks)) => {
                let marks = self::marks(marks);
                if !marks.is_empty() {
                    canonical.insert(name.clone(), Value::Array(marks));
                }
            }
            ("content", Value::Array(nodes)) => {
                let nodes = content(kind, nodes);
                if !nodes.is_empty() {
                    canonical.insert(name.clone(), Value::Array(nodes));
                }
            }
            (_, Value::Null) => {}
            _ => {
                canonical.insert(name.clone(), value.clone());
            }
        }
    }
    canonical
}

fn attributes(kind: &str, attributes: &Map<String, Value>) -> Map<String, Value> {
    let usual = |name: &str, value: &Value| match (kind, name) {
        ("orderedList", "order") | ("tableCell" | "tableHeader", "colspan" | "rowspan") => {
            *value == 1
        }
        ("codeBlock", "language") => *value == "",
        ("table", "isNumberColumnEnabled") => *value == false,
        ("table", "layout") => *value == "default",
        ("hardBreak", "text") => *value == "\n",
        // JIRA writes the name of the day.
        ("mention", "text") => true,
        _ => false,
    };
    let kept = attributes.iter().filter(|(name, value)| {
        !value.is_null() && !GENERATED.contains(&name.as_str()) && !usual(name, value)
    });
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Marks in one order, because their order has no meaning.
fn marks(marks: &[Value]) -> Vec<Value> {
    let mut marks: Vec<Value> =
        marks.iter().filter_map(Value::as_object).map(|mark| Value::Object(node(mark))).collect();
    marks.sort_by_key(Value::to_string);
    marks.dedup();
    marks
}

/// Neighbouring texts with equal marks as one; without empty texts, breaks at the end, and empty paragraphs at the end.
fn content(kind: &str, nodes: &[Value]) -> Vec<Value> {
    let mut canonical: Vec<Value> = Vec::new();
    for node in nodes.iter().filter_map(Value::as_object).map(node) {
        if node.get("type").is_some_and(|kind| kind == "text") {
            let text = node.get("text").and_then(Value::as_str).unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            if let Some(last) = canonical.last_mut()
                && last["type"] == "text"
                && last.get("marks") == node.get("marks")
            {
                let joined = format!("{}{text}", last["text"].as_str().unwrap_or_default());
                last["text"] = Value::from(joined);
                continue;
            }
        }
        canonical.push(Value::Object(node));
    }
    let ends_with = |nodes: &[Value], wanted: &str| {
        nodes.last().is_some_and(|last| {
            last["type"] == wanted && last.get("content").is_none() && last.get("attrs").is_none()
        })
    };
    while ends_with(&canonical, "hardBreak")
        || (kind == "doc" && ends_with(&canonical, "paragraph"))
    {
        canonical.pop();
    }
    canonical
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_jira_adds_makes_no_difference() {
        let doc = |content: Value| json!({"type": "doc", "version": 1, "content": content});
        let text = |text: &str| json!({"type": "text", "text": text});
        for (a, b) in [
            (
                json!([{"type": "paragraph", "content": [text("a"), text("b")]}]),
                json!([{"type": "paragraph", "attrs": {"localId": "x"}, "content": [text("ab"), text("")]},
                    {"type": "paragraph"}]),
            ),
            (
                json!([{"type": "orderedList", "attrs": {"order": 1}}]),
                json!([{"type": "orderedList"}]),
            ),
            (
                json!([{"type": "paragraph", "content": [{"type": "text", "text": "a", "marks": [
                    {"type": "strong"}, {"type": "em"}]}, {"type": "hardBreak"}]}]),
                json!([{"type": "paragraph", "content": [{"type": "text", "text": "a", "marks": [
                    {"type": "em"}, {"type": "strong"}]}]}]),
            ),
            (
                json!([{"type": "paragraph", "content": [
                    {"type": "mention", "attrs": {"id": "1", "text": "@a", "accessLevel": ""}}]}]),
                json!([{"type": "paragraph", "content": [{"type": "mention", "attrs": {"id": "1"}}]}]),
            ),
            (json!([]), json!([{"type": "paragraph", "content": []}])),
        ] {
            assert_eq!(canonical(&doc(a.clone())), canonical(&doc(b)), "{a}");
        }
        let (info, note) = (json!({"panelType": "info"}), json!({"panelType": "note"}));
        let panel = |attrs: Value| canonical(&doc(json!([{"type": "panel", "attrs": attrs}])));
        assert_ne!(panel(info), panel(note));
    }

    #[test]
    fn the_canonical_form_is_its_own() {
        let document = json!({"type": "doc", "content": [{"type": "unknown", "attrs": {"a": 1},
            "content": [{"type": "text", "text": "x", "marks": [{"type": "link",
            "attrs": {"href": "h"}}]}]}]});
        assert_eq!(canonical(&document), document);
        assert_eq!(canonical(&Value::Null), Value::Null);
        assert_eq!(characters(&document), 1);
    }
}
