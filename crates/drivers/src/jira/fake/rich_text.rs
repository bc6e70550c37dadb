//! Documents: ADF in v3 and wiki text in v2. What was written in one form is read in the other without its formatting.
//!
//! Like JIRA, the fake does not store a document as it was sent: neighbouring texts are merged and defaults are added.

use serde_json::{Map, Value, json};

use super::world::uuid_text;

/// Most characters of a text.
const CHARACTERS_MAX: usize = 32_767;

const NODES: &[&str] = &[
    "doc",
    "paragraph",
    "heading",
    "text",
    "hardBreak",
    "bulletList",
    "orderedList",
    "listItem",
    "codeBlock",
    "blockquote",
    "panel",
    "rule",
    "table",
    "tableRow",
    "tableHeader",
    "tableCell",
    "mention",
    "emoji",
    "inlineCard",
    "blockCard",
    "date",
    "status",
    "mediaSingle",
    "mediaGroup",
    "media",
    "expand",
    "nestedExpand",
    "taskList",
    "taskItem",
    "decisionList",
    "decisionItem",
    "layoutSection",
    "layoutColumn",
];

const MARKS: &[&str] = &[
    "strong",
    "em",
    "code",
    "strike",
    "underline",
    "link",
    "subsup",
    "textColor",
    "border",
    "backgroundColor",
];

/// The stored form of a document that a request of this version of the interface holds.
///
/// # Errors
/// The message of the refusal.
pub(crate) fn stored(value: &Value, api: u8) -> Result<Value, String> {
    let (stored, length) = match (value, api) {
        (Value::Null, _) => return Ok(Value::Null),
        (Value::Object(_), 3) => {
            if value["type"] != "doc" || value["version"] != 1 || !is_valid(value) {
                return Err("INVALID_INPUT".to_owned());
            }
            (normalized(value), plain(value).chars().count())
        }
        (Value::String(text), 2) if text.is_empty() => return Ok(Value::Null),
        (Value::String(text), 2) => (value.clone(), text.chars().count()),
        (_, 2) => return Err("Operation value must be a string".to_owned()),
        _ => {
            let text =
                "Operation value must be an Atlassian Document (see the Atlassian Document Format)";
            return Err(text.to_owned());
        }
    };
    if length > CHARACTERS_MAX {
        let text =
            "The entered text is too long. It exceeds the allowed limit of 32,767 characters.";
        return Err(text.to_owned());
    }
    Ok(stored)
}

/// A stored document as this version of the interface shows it.
pub(crate) fn shown(stored: &Value, api: u8) -> Value {
    match (stored, api) {
        (Value::Object(_), 2) => json!(plain(stored)),
        (Value::String(text), 3) => {
            let paragraphs = text.split('\n').map(|line| line.trim_end_matches('\r'));
            let content: Vec<_> = paragraphs.map(paragraph).collect();
            json!({"type": "doc", "version": 1, "content": content})
        }
        _ => stored.clone(),
    }
}

fn paragraph(line: &str) -> Value {
    if line.is_empty() {
        return json!({"type": "paragraph", "content": []});
    }
    json!({"type": "paragraph", "content": [{"type": "text", "text": line}]})
}

fn children(node: &Value) -> &[Value] {
    node["content"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn is_valid(node: &Value) -> bool {
    let kind = node["type"].as_str().unwrap_or_default();
    let marks = node["marks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let marks_are_valid =
        marks.iter().all(|mark| mark["type"].as_str().is_some_and(|kind| MARKS.contains(&kind)));
    let has_text = kind != "text" || node["text"].as_str().is_some_and(|text| !text.is_empty());
    let has_content = kind != "doc" || node["content"].is_array();
    NODES.contains(&kind)
        && marks_are_valid
        && has_text
        && has_content
        && children(node).iter().all(is_valid)
}

/// The text of a document: blocks on lines of their own.
pub(crate) fn plain(node: &Value) -> String {
    let inner = || children(node).iter().map(plain);
    match node["type"].as_str().unwrap_or_default() {
        "text" => node["text"].as_str().unwrap_or_default().to_owned(),
        "hardBreak" => "\n".to_owned(),
        "mention" => format!("[~accountid:{}]", node["attrs"]["id"].as_str().unwrap_or_default()),
        "paragraph" | "heading" | "codeBlock" => inner().collect(),
        _ => inner().collect::<Vec<_>>().join("\n"),
    }
}

fn normalized(node: &Value) -> Value {
    let Some(object) = node.as_object() else { return node.clone() };
    let mut object = object.clone();
    if let Some(Value::Array(content)) = object.get("content") {
        let mut merged: Vec<Value> = Vec::new();
        for child in content {
            let child = normalized(child);
            match merged.last_mut() {
                Some(last) if are_one_text(last, &child) => {
                    let text = |node: &Value| node["text"].as_str().unwrap_or_default().to_owned();
                    last["text"] = json!(text(last) + &text(&child));
                }
                _ => merged.push(child),
            }
        }
        object.insert("content".to_owned(), json!(merged));
    }
    let defaults = match object["type"].as_str().unwrap_or_default() {
        "table" => json!({
            "isNumberColumnEnabled": false, "layout": "default", "localId": uuid_text(rand::random()),
        }),
        "orderedList" => json!({"order": 1}),
        "mention" => json!({"accessLevel": "", "localId": uuid_text(rand::random())}),
        "paragraph" | "heading" => json!({"localId": uuid_text(rand::random())}),
        _ => Value::Null,
    };
    if let Value::Object(defaults) = defaults {
        let attributes = object.entry("attrs").or_insert_with(|| json!(Map::new()));
        for (name, value) in defaults {
            if attributes[&name].is_null() {
                attributes[&name] = value;
            }
        }
    }
    Value::Object(object)
}

fn are_one_text(one: &Value, other: &Value) -> bool {
    one["type"] == "text" && other["type"] == "text" && one["marks"] == other["marks"]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(content: Value) -> Value {
        json!({"type": "doc", "version": 1, "content": content})
    }

    #[test]
    fn documents_of_the_wrong_form_are_refused() {
        assert!(stored(&json!("text"), 3).is_err());
        assert!(stored(&doc(json!([])), 2).is_err());
        assert!(stored(&json!({"type": "doc", "content": []}), 3).is_err());
        assert!(stored(&doc(json!([{"type": "blink"}])), 3).is_err());
        let empty = doc(json!([{"type": "paragraph", "content": [{"type": "text", "text": ""}]}]));
        assert!(stored(&empty, 3).is_err());
        assert!(stored(&json!("x".repeat(32_767)), 2).is_ok());
        assert!(stored(&json!("x".repeat(32_768)), 2).is_err());
    }

    #[test]
    fn a_document_is_not_stored_as_it_was_sent() {
        let texts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        let kept = stored(&doc(json!([{"type": "paragraph", "content": texts}])), 3).unwrap();
        assert_eq!(kept["content"][0]["content"], json!([{"type": "text", "text": "ab"}]));
        assert!(kept["content"][0]["attrs"]["localId"].is_string());
        assert_eq!(shown(&kept, 2), json!("ab"));
    }

    #[test]
    fn wiki_text_is_read_as_paragraphs() {
        let kept = stored(&json!("a\nb"), 2).unwrap();
        assert_eq!(shown(&kept, 2), json!("a\nb"));
        assert_eq!(shown(&kept, 3), doc(json!([paragraph("a"), paragraph("b")])));
    }
}
