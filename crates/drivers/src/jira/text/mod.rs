//! Texts of issues and comments: users write Markdown, plain text or the site's own format; JIRA stores ADF documents
//! (v3) or wiki text (v2). Two texts are compared by one canonical form, so a round trip is never drift.

mod adf;
mod markdown;
mod wiki;

use serde_json::{Map, Value, json};

use super::site::Deployment;

/// Characters of a text at most.
const CHARS_MAX: usize = 32_767;

/// The text as JIRA stores it; `Null` stays.
pub(super) fn stored(deployment: Deployment, text: &Value) -> Value {
    match (deployment, text) {
        (_, Value::Null) => Value::Null,
        (Deployment::DataCenter, Value::Object(members)) if members.contains_key("wiki") => {
            members["wiki"].clone()
        }
        (Deployment::DataCenter, text) => Value::from(wiki::rendered(&document(text))),
        (Deployment::Cloud, text) => document(text),
    }
}

/// The canonical form of a text that JIRA stores; an empty one is `Null`.
pub(super) fn canonical(stored: &Value) -> Value {
    match stored {
        Value::String(wiki) => {
            let wiki = wiki::canonical(wiki);
            if wiki.is_empty() { Value::Null } else { Value::from(wiki) }
        }
        document => adf::canonical(document),
    }
}

/// Whether an observed text is as desired.
pub(super) fn is_same(deployment: Deployment, observed: &Value, desired: &Value) -> bool {
    canonical(observed) == canonical(&stored(deployment, desired))
}

/// Why a desired text cannot be stored; `None` = it can.
pub(super) fn fault(deployment: Deployment, text: &Value) -> Option<String> {
    if text.get("$ref").is_some() {
        // A reference is a text once it has a value.
        return None;
    }
    if let Value::Object(members) = text {
        let wiki = members.contains_key("wiki");
        if wiki && deployment == Deployment::Cloud {
            return Some(
                "wiki text is for Data Center: write Markdown, or an ADF document".to_owned(),
            );
        }
        if !wiki && !members.contains_key("text") && members.get("type") != Some(&json!("doc")) {
            return Some(
                "must be Markdown, {\"text\": …}, {\"wiki\": …} or an ADF document".to_owned(),
            );
        }
    }
    let length = match stored(deployment, text) {
        Value::String(wiki) => wiki.chars().count(),
        document => adf::characters(&document),
    };
    (length > CHARS_MAX).then(|| format!("has {length} characters; JIRA takes {CHARS_MAX}"))
}

/// The ADF document of a desired text.
fn document(text: &Value) -> Value {
    match text {
        Value::String(markdown) => markdown::document(markdown),
        Value::Object(members) => match members.get("text").and_then(Value::as_str) {
            Some(plain) => plain_document(plain),
            None => with_version(members),
        },
        other => other.clone(),
    }
}

fn with_version(document: &Map<String, Value>) -> Value {
    let mut document = document.clone();
    document.entry("version").or_insert_with(|| json!(1));
    document.entry("content").or_insert_with(|| json!([]));
    Value::Object(document)
}

/// A paragraph for each block of lines, with a break at the end of each line.
fn plain_document(text: &str) -> Value {
    let text = text.replace("\r\n", "\n");
    let blocks = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    let paragraph = |block: &str| {
        let mut content = Vec::new();
        for line in block.lines() {
            if !content.is_empty() {
                content.push(json!({"type": "hardBreak"}));
            }
            if !line.is_empty() {
                content.push(json!({"type": "text", "text": line}));
            }
        }
        json!({"type": "paragraph", "content": content})
    };
    json!({"type": "doc", "version": 1, "content": blocks.map(paragraph).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_stored_is_as_desired() {
        let adf = json!({"type": "doc", "version": 1, "content": [
            {"type": "panel", "attrs": {"panelType": "info"}, "content": [
                {"type": "paragraph", "content": [
                    {"type": "mention", "attrs": {"id": "5b1", "text": "@Mia"}},
                    {"type": "text", "text": " please", "marks": [{"type": "strong"}]},
                ]},
            ]},
            {"type": "table", "content": [{"type": "tableRow", "content": [
                {"type": "tableHeader", "content": [{"type": "paragraph", "content": [
                    {"type": "text", "text": "a|b"}]}]},
            ]}]},
            {"type": "newerThanThisVersion", "attrs": {"x": [1, 2]}},
        ]});
        let texts = [
            json!(
                "# Title\n\nOne *two* **three** `four` [five](https://a.example/b)\n\n- a\n  - b\n- c\n\n1. x\n2. y\n\n```rust\nfn f() {}\n```\n\n> quoted\n\n---\n"
            ),
            json!({"text": "line 1\nline 2\n\n* no list"}),
            adf,
            json!(""),
            Value::Null,
        ];
        for deployment in [Deployment::Cloud, Deployment::DataCenter] {
            for text in &texts {
                let stored = stored(deployment, text);
                assert!(is_same(deployment, &stored, text), "{deployment:?} {text}");
                assert_eq!(fault(deployment, text), None, "{text}");
                let other = json!("another text");
                assert!(!is_same(deployment, &stored, &other), "{deployment:?} {text}");
            }
        }
    }

    #[test]
    fn an_observed_text_can_be_declared() {
        let wiki = json!({"wiki": "h1. Title\n\n* a"});
        assert!(is_same(Deployment::DataCenter, &json!("h1. Title\r\n\r\n* a  \n"), &wiki));
        let document = stored(Deployment::Cloud, &json!("# Title"));
        assert!(is_same(Deployment::Cloud, &document, &document));
        assert!(is_same(Deployment::Cloud, &Value::Null, &json!("  ")), "no text is an empty text");
    }

    #[test]
    fn texts_that_cannot_be_stored_are_refused() {
        for (deployment, text) in [
            (Deployment::Cloud, json!("x".repeat(CHARS_MAX + 1))),
            (Deployment::Cloud, json!({"wiki": "h1. a"})),
            (Deployment::Cloud, json!({"type": "paragraph"})),
            (Deployment::DataCenter, json!({"wiki": "x".repeat(CHARS_MAX + 1)})),
        ] {
            assert!(fault(deployment, &text).is_some(), "{deployment:?}");
        }
        assert_eq!(fault(Deployment::Cloud, &json!("x".repeat(CHARS_MAX))), None);
        assert_eq!(fault(Deployment::Cloud, &json!({"$ref": "jira.issue/a"})), None);
    }
}
