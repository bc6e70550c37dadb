//! Writes YAML that every reader parses alike: a text is unquoted only where both this program's reader and YAML 1.1
//! read it as a text.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::manifests::scalar;

/// Longer keys are written with `?`: YAML limits simple keys to 1,024 characters.
const KEY_BYTES_MAX: usize = 1_000;
/// Words that YAML 1.1 reads as booleans, and texts with a special meaning.
const RESERVED: &[&str] = &["y", "n", "yes", "no", "on", "off", "<<", "=", "---", "..."];

/// A document with its line break. Long texts are blocks.
pub(crate) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => mapping(members, 0, &mut out),
        Value::Array(items) if !items.is_empty() => sequence(items, 0, &mut out),
        other => scalar_or_empty(other, 0, &mut out),
    }
    out
}

/// Writes members from the current column; further ones are indented by `indent`.
fn mapping(members: &Map<String, Value>, indent: usize, out: &mut String) {
    for (number, (key, value)) in members.iter().enumerate() {
        if number > 0 {
            pad(indent, out);
        }
        let key = line(key);
        if key.len() > KEY_BYTES_MAX {
            out.push_str("? ");
            out.push_str(&key);
            out.push('\n');
            pad(indent, out);
        } else {
            out.push_str(&key);
        }
        out.push(':');
        match value {
            Value::Object(below) if !below.is_empty() => {
                out.push('\n');
                pad(indent + 2, out);
                mapping(below, indent + 2, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                pad(indent, out);
                sequence(items, indent, out);
            }
            other => {
                out.push(' ');
                scalar_or_empty(other, indent, out);
            }
        }
    }
}

/// Items like [`mapping`].
fn sequence(items: &[Value], indent: usize, out: &mut String) {
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            pad(indent, out);
        }
        out.push_str("- ");
        match item {
            Value::Object(below) if !below.is_empty() => mapping(below, indent + 2, out),
            Value::Array(below) if !below.is_empty() => sequence(below, indent + 2, out),
            other => scalar_or_empty(other, indent, out),
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar_or_empty(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(text) if is_block(text) => return block(text, indent + 2, out),
        Value::String(text) => out.push_str(&line(text)),
        other => out.push_str(&other.to_string()),
    }
    out.push('\n');
}

/// Whether a text is unambiguous as a literal block: several lines, without leading blanks or lines of blanks alone.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && text.chars().all(|c| c == '\n' || c == '\t' || is_printable(c))
        && text
            .split('\n')
            .all(|line| line.is_empty() || !line.trim_matches([' ', '\t']).is_empty())
}

fn block(text: &str, indent: usize, out: &mut String) {
    let chomping = match text.strip_suffix('\n') {
        None => "-",
        Some(rest) if rest.ends_with('\n') => "+",
        Some(_) => "",
    };
    out.push('|');
    out.push_str(chomping);
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(indent, out);
            out.push_str(line);
        }
    }
    out.push('\n');
}

/// A text on one line.
fn line(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else if text.chars().all(is_printable) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        quoted(text)
    }
}

fn is_plain(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    scalar::plain(text) == Ok(Value::from(text))
        && !RESERVED.contains(&lower.as_str())
        && !text.starts_with(|c: char| c == ' ' || "-?:,[]{}#&*!|>'\"%@`".contains(c))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(is_printable)
}

/// Whether a character may be written unescaped, and is visible.
fn is_printable(c: char) -> bool {
    let special = matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    !c.is_control() && !special
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            // All other non-printable characters are in the basic plane.
            c => {
                // Writing to a text never fails.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_look_as_people_write_them() {
        let value = json!({
            "kind": "local.file", "labels": {}, "list": [1, [2, "x"], {"a": true, "b": null}], "mode": "0644",
            "desired": {"content": "one\n\n  two\n", "path": "etc/motd", "end": "a\nb", "gap": "a\n\n\n"},
            "odd": ["yes", "it's", "a: b", "", "x\u{85}\r", "- x", "ü 😀"],
        });
        let expected = [
            "desired:\n",
            "  content: |\n",
            "    one\n",
            "\n",
            "      two\n",
            "  end: |-\n",
            "    a\n",
            "    b\n",
            "  gap: |+\n",
            "    a\n",
            "\n",
            "\n",
            "  path: etc/motd\n",
            "kind: local.file\n",
            "labels: {}\n",
            "list:\n",
            "- 1\n",
            "- - 2\n",
            "  - x\n",
            "- a: true\n",
            "  b: null\n",
            "mode: '0644'\n",
            "odd:\n",
            "- 'yes'\n",
            "- it's\n",
            "- 'a: b'\n",
            "- ''\n",
            "- \"x\\u0085\\r\"\n",
            "- '- x'\n",
            "- ü 😀\n",
        ];
        assert_eq!(yaml(&value), expected.concat());
    }
}
