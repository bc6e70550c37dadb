//! ADF documents as wiki text, which Data Center stores.

use std::fmt::Write as _;

use serde_json::Value;

/// The wiki text of a document.
pub(super) fn rendered(document: &Value) -> String {
    canonical(&blocks(document, ""))
}

/// Wiki text with one kind of line ends, without blanks at their ends, with at most one empty line in a row.
pub(super) fn canonical(wiki: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in wiki.lines().map(str::trim_end) {
        if !(line.is_empty() && lines.last().is_none_or(|last| last.is_empty())) {
            lines.push(line);
        }
    }
    while lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    lines.join("\n")
}

/// The blocks of a node; `bullets` are those of the lists around it.
fn blocks(node: &Value, bullets: &str) -> String {
    let mut text = String::new();
    for block in node["content"].as_array().into_iter().flatten() {
        let kind = block["type"].as_str().unwrap_or_default();
        let rendered = match kind {
            "paragraph" => inline(block),
            "heading" => format!("h{}. {}", block["attrs"]["level"], inline(block)),
            "rule" => "----".to_owned(),
            "codeBlock" => {
                let language = block["attrs"]["language"].as_str();
                let language = language.map(|name| format!(":{name}")).unwrap_or_default();
                format!("{{code{language}}}\n{}\n{{code}}", plain(block))
            }
            "blockquote" => format!("{{quote}}\n{}\n{{quote}}", blocks(block, "").trim_end()),
            "panel" => {
                let name = match block["attrs"]["panelType"].as_str() {
                    Some(name @ ("info" | "note" | "warning")) => name,
                    Some("success") => "tip",
                    _ => "panel",
                };
                format!("{{{name}}}\n{}\n{{{name}}}", blocks(block, "").trim_end())
            }
            "bulletList" => items(block, &format!("{bullets}*")),
            "orderedList" => items(block, &format!("{bullets}#")),
            "table" => table(block),
            // A node of a newer version: its text survives.
            _ => blocks(block, bullets) + &inline(block),
        };
        let gap = if bullets.is_empty() { "\n\n" } else { "\n" };
        text.push_str(rendered.trim_end());
        text.push_str(gap);
    }
    text
}

fn items(list: &Value, bullets: &str) -> String {
    let mut text = String::new();
    for item in list["content"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "{bullets} {}", blocks(item, bullets).trim_end());
    }
    text
}

fn table(table: &Value) -> String {
    let mut text = String::new();
    for row in table["content"].as_array().into_iter().flatten() {
        let mut end = "|";
        for cell in row["content"].as_array().into_iter().flatten() {
            end = if cell["type"] == "tableHeader" { "||" } else { "|" };
            let content = blocks(cell, "").trim_end().replace("\n\n", "\n");
            let content = if content.is_empty() { " ".to_owned() } else { content };
            let _ = write!(text, "{end}{content}");
        }
        let _ = writeln!(text, "{end}");
    }
    text
}

fn inline(block: &Value) -> String {
    let mut text = String::new();
    for node in block["content"].as_array().into_iter().flatten() {
        let attribute = |name: &str| node["attrs"][name].as_str().unwrap_or_default().to_owned();
        match node["type"].as_str().unwrap_or_default() {
            "text" => text.push_str(&marked(node)),
            "hardBreak" => text.push('\n'),
            "mention" => {
                let _ = write!(text, "[~{}]", attribute("id"));
            }
            "emoji" => text.push_str(&attribute("shortName")),
            "inlineCard" => {
                let _ = write!(text, "[{}]", attribute("url"));
            }
            "status" | "date" => text.push_str(&escaped(&attribute("text"))),
            _ => {}
        }
    }
    text
}

fn marked(node: &Value) -> String {
    let raw = node["text"].as_str().unwrap_or_default();
    let marks: Vec<_> = node["marks"].as_array().into_iter().flatten().collect();
    let has = |name: &str| marks.iter().any(|mark| mark["type"] == name);
    let mut text = escaped(raw);
    if has("code") {
        text = format!("{{{{{text}}}}}");
    }
    for (name, sign) in [("strong", '*'), ("em", '_'), ("strike", '-'), ("underline", '+')] {
        if has(name) {
            text = format!("{sign}{text}{sign}");
        }
    }
    let link = marks.iter().find(|mark| mark["type"] == "link");
    match link.and_then(|link| link["attrs"]["href"].as_str()) {
        Some(href) => format!("[{text}|{href}]"),
        None => text,
    }
}

fn plain(block: &Value) -> String {
    let nodes = block["content"].as_array().into_iter().flatten();
    nodes.filter_map(|node| node["text"].as_str()).collect()
}

/// Text whose characters have no meaning in wiki text.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if matches!(character, '\\' | '{' | '}' | '[' | ']' | '*' | '_' | '|' | '!') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::markdown::document;
    use super::*;

    #[test]
    fn markdown_is_rendered_as_wiki_text() {
        for (markdown, wiki) in [
            ("# a\n\nb **c** *d* `e`", "h1. a\n\nb *c* _d_ {{e}}"),
            ("- a\n  1. b\n- c", "* a\n*# b\n* c"),
            ("[a](https://b) ~~c~~", "[a|https://b] -c-"),
            ("```sh\nls *\n```", "{code:sh}\nls *\n{code}"),
            ("> a", "{quote}\na\n{quote}"),
            ("|a|b|\n|-|-|\n|c|d|", "||a||b||\n|c|d|"),
            ("a \\* {b}", "a \\* \\{b\\}"),
        ] {
            assert_eq!(rendered(&document(markdown)), wiki, "{markdown}");
        }
    }

    #[test]
    fn blanks_and_line_ends_have_no_meaning() {
        assert_eq!(canonical("\r\na  \r\n\r\n\r\n\r\nb\r\n"), "a\n\nb");
        assert_eq!(canonical(" \n"), "");
    }
}
