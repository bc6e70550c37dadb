//! Markdown as an ADF document. What ADF has no place for (HTML, images, footnotes) stays as its text.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde_json::{Map, Value, json};

/// The ADF document of a Markdown text.
pub(super) fn document(markdown: &str) -> Value {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut builder = Builder::default();
    builder.open("doc", Value::Null);
    for event in Parser::new_ext(markdown, options) {
        builder.event(event);
    }
    builder.closed()
}

/// A node whose content is still being read.
struct Open {
    kind: &'static str,
    attributes: Value,
    content: Vec<Value>,
    /// Whether it is a paragraph that the builder opened, because the parent takes no text.
    implied: bool,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    marks: Vec<Value>,
    /// Depth of tags whose content is kept without them.
    ignored: usize,
    in_table_head: bool,
}

/// Nodes that take no text, but paragraphs.
const BLOCK_PARENTS: &[&str] = &["doc", "listItem", "blockquote", "tableCell", "tableHeader"];

impl Builder {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text)
            | Event::Html(text)
            | Event::InlineHtml(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text)
            | Event::FootnoteReference(text) => self.text(&text, None),
            Event::Code(text) => self.text(&text, Some(json!({"type": "code"}))),
            Event::SoftBreak => self.text(" ", None),
            Event::HardBreak => self.inline(json!({"type": "hardBreak"})),
            Event::Rule => self.block(json!({"type": "rule"})),
            Event::TaskListMarker(done) => self.text(if done { "[x] " } else { "[ ] " }, None),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.open("paragraph", Value::Null),
            Tag::Heading { level, .. } => self.open("heading", json!({"level": level as u8})),
            Tag::BlockQuote(_) => self.open_block("blockquote", Value::Null),
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) if !language.is_empty() => {
                self.open_block("codeBlock", json!({"language": &*language}));
            }
            Tag::CodeBlock(_) => self.open_block("codeBlock", Value::Null),
            Tag::List(None) => self.open_block("bulletList", Value::Null),
            Tag::List(Some(1)) => self.open_block("orderedList", Value::Null),
            Tag::List(Some(first)) => self.open_block("orderedList", json!({"order": first})),
            Tag::Item => self.open("listItem", Value::Null),
            Tag::Table(_) => self.open_block("table", Value::Null),
            Tag::TableHead => {
                self.in_table_head = true;
                self.open("tableRow", Value::Null);
            }
            Tag::TableRow => self.open("tableRow", Value::Null),
            Tag::TableCell if self.in_table_head => self.open("tableHeader", Value::Null),
            Tag::TableCell => self.open("tableCell", Value::Null),
            Tag::Emphasis => self.marks.push(json!({"type": "em"})),
            Tag::Strong => self.marks.push(json!({"type": "strong"})),
            Tag::Strikethrough => self.marks.push(json!({"type": "strike"})),
            Tag::Link { dest_url, .. } => {
                self.marks.push(json!({"type": "link", "attrs": {"href": &*dest_url}}));
            }
            _ => self.ignored += 1,
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link => {
                self.marks.pop();
            }
            TagEnd::Paragraph
            | TagEnd::Heading(_)
            | TagEnd::BlockQuote(_)
            | TagEnd::CodeBlock
            | TagEnd::List(_)
            | TagEnd::Item
            | TagEnd::Table
            | TagEnd::TableRow
            | TagEnd::TableCell => self.close(),
            TagEnd::TableHead => {
                self.in_table_head = false;
                self.close();
            }
            _ => self.ignored = self.ignored.saturating_sub(1),
        }
    }

    fn open(&mut self, kind: &'static str, attributes: Value) {
        self.open.push(Open { kind, attributes, content: Vec::new(), implied: false });
    }

    /// Opens a node that cannot be in a paragraph: one that was implied before it ends.
    fn open_block(&mut self, kind: &'static str, attributes: Value) {
        self.close_implied();
        self.open(kind, attributes);
    }

    fn close_implied(&mut self) {
        if self.open.last().is_some_and(|open| open.implied) {
            self.close_one();
        }
    }

    fn close(&mut self) {
        self.close_implied();
        let kind = self.open.last().map(|open| open.kind);
        if let (Some(last), Some("listItem" | "tableCell" | "tableHeader")) =
            (self.open.last_mut(), kind)
            && last.content.is_empty()
        {
            last.content.push(json!({"type": "paragraph", "content": []}));
        }
        self.close_one();
    }

    fn close_one(&mut self) {
        let Some(open) = self.open.pop() else { return };
        let node = node(open);
        match self.open.last_mut() {
            Some(parent) => parent.content.push(node),
            None => self.open.push(Open {
                kind: "doc",
                attributes: node,
                content: Vec::new(),
                implied: false,
            }),
        }
    }

    fn block(&mut self, node: Value) {
        self.close_implied();
        if let Some(parent) = self.open.last_mut() {
            parent.content.push(node);
        }
    }

    fn inline(&mut self, node: Value) {
        if self.open.last().is_some_and(|open| BLOCK_PARENTS.contains(&open.kind)) {
            let paragraph = Open {
                kind: "paragraph",
                attributes: Value::Null,
                content: Vec::new(),
                implied: true,
            };
            self.open.push(paragraph);
        }
        if let Some(parent) = self.open.last_mut() {
            parent.content.push(node);
        }
    }

    fn text(&mut self, text: &str, mark: Option<Value>) {
        let in_code = self.open.last().is_some_and(|open| open.kind == "codeBlock");
        let text = if in_code { text.strip_suffix('\n').unwrap_or(text) } else { text };
        if text.is_empty() {
            return;
        }
        let marks: Vec<Value> = match &mark {
            _ if in_code => Vec::new(),
            // ADF combines code with links alone.
            Some(code) => {
                let links = self.marks.iter().filter(|mark| mark["type"] == "link").cloned();
                links.chain([code.clone()]).collect()
            }
            None => self.marks.clone(),
        };
        let mut node = json!({"type": "text", "text": text});
        if !marks.is_empty() {
            node["marks"] = Value::Array(marks);
        }
        self.inline(node);
    }

    fn closed(mut self) -> Value {
        self.close_implied();
        let content = self.open.pop().map(|open| open.content).unwrap_or_default();
        json!({"type": "doc", "version": 1, "content": content})
    }
}

fn node(open: Open) -> Value {
    let mut node = Map::new();
    node.insert("type".to_owned(), Value::from(open.kind));
    if !open.attributes.is_null() {
        node.insert("attrs".to_owned(), open.attributes);
    }
    node.insert("content".to_owned(), Value::Array(open.content));
    Value::Object(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(markdown: &str) -> Value {
        super::super::adf::canonical(&document(markdown))["content"].clone()
    }

    fn text(text: &str) -> Value {
        json!({"type": "text", "text": text})
    }

    fn paragraph(inline: Value) -> Value {
        json!({"type": "paragraph", "content": inline})
    }

    #[test]
    fn markdown_becomes_the_nodes_of_its_meaning() {
        let item = |content: Value| json!({"type": "listItem", "content": content});
        for (markdown, expected) in [
            ("a\nb", json!([paragraph(json!([text("a b")]))])),
            ("a  \nb", json!([paragraph(json!([text("a"), {"type": "hardBreak"}, text("b")]))])),
            ("## a", json!([{"type": "heading", "attrs": {"level": 2}, "content": [text("a")]}])),
            (
                "**a** [`b`](https://c)",
                json!([paragraph(json!([
                    {"type": "text", "text": "a", "marks": [{"type": "strong"}]},
                    text(" "),
                    {"type": "text", "text": "b", "marks": [
                        {"type": "link", "attrs": {"href": "https://c"}}, {"type": "code"}]},
                ]))]),
            ),
            (
                "- a\n  - b",
                json!([{"type": "bulletList", "content": [item(json!([
                    paragraph(json!([text("a")])),
                    {"type": "bulletList", "content": [item(json!([paragraph(json!([text("b")]))]))]},
                ]))]}]),
            ),
            (
                "3. a",
                json!([{"type": "orderedList", "attrs": {"order": 3}, "content": [
                    item(json!([paragraph(json!([text("a")]))]))]}]),
            ),
            (
                "```sh\nls\n\nps\n```",
                json!([{"type": "codeBlock", "attrs": {"language": "sh"}, "content": [text("ls\n\nps")]}]),
            ),
            ("> a", json!([{"type": "blockquote", "content": [paragraph(json!([text("a")]))]}])),
            ("a\n\n---", json!([paragraph(json!([text("a")])), {"type": "rule"}])),
            (
                "|a|\n|-|\n|b|",
                json!([{"type": "table", "content": [
                    {"type": "tableRow", "content": [
                        {"type": "tableHeader", "content": [paragraph(json!([text("a")]))]}]},
                    {"type": "tableRow", "content": [
                        {"type": "tableCell", "content": [paragraph(json!([text("b")]))]}]},
                ]}]),
            ),
            ("<b>a</b>", json!([paragraph(json!([text("<b>a</b>")]))])),
        ] {
            assert_eq!(content(markdown), expected, "{markdown}");
        }
    }
}
