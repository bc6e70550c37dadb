//! Strict JSON, because the log keeps it for ever: no duplicate members, no numbers that would be rounded, bounded
//! nesting. Request bodies and the manifests of the command line are read by the same rules.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};
use stateward_domain::document::Limits;

use crate::problem::Problem;

/// Maximum levels of nesting: those of a desired state, and the document around it.
pub const DEPTH_MAX: usize = Limits::DOCUMENT.depth + 1;

/// Parses JSON as a `T`: invalid JSON is malformed, another structure is unprocessable.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let value = value(bytes).map_err(|error| Problem::malformed("bad-json", error.to_string()));
    typed(value?)
}

/// The single value in `bytes`.
///
/// # Errors
/// Invalid JSON, and JSON that readers interpret differently: a duplicate member, an integer beyond 64 bits (`i64` and
/// `u64`), a number beyond `f64`, a lone surrogate, more than [`DEPTH_MAX`] levels. With line and column, both from 1.
pub fn value(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut reader)?;
    reader.end()?;
    match integer_beyond_64_bits(bytes) {
        None => Ok(value),
        Some(offset) => {
            let (line, column) = place(&bytes[..offset]);
            // `serde_json` parses the line and column in such a message.
            let message = format!("an integer beyond 64 bits at line {line} column {column}");
            Err(serde_json::Error::custom(message))
        }
    }
}

/// One of several values in a text, separated by white space or not at all.
#[derive(Debug)]
pub struct Document<'a> {
    text: &'a str,
    /// Line of its beginning, from 1.
    pub line: usize,
    /// Column of its beginning, from 1.
    pub column: usize,
}

/// Splits a text into JSON values; read each with [`Document::value`].
///
/// # Errors
/// Invalid JSON syntax, with line and column.
pub fn documents(text: &str) -> Result<Vec<Document<'_>>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let (mut documents, mut end) = (Vec::new(), 0);
    while let Some(raw) = reader.next().transpose()? {
        let between = text[end..].len() - text[end..].trim_start().len();
        let (line, column) = place(&text.as_bytes()[..end + between]);
        documents.push(Document { text: raw.get(), line, column });
        end = reader.byte_offset();
    }
    Ok(documents)
}

impl Document<'_> {
    /// The value, by the rules of [`value`].
    ///
    /// # Errors
    /// Line and column in the whole text, from 1, and the message.
    pub fn value(&self) -> Result<Value, (usize, usize, String)> {
        value(self.text.as_bytes()).map_err(|error| {
            let column = if error.line() <= 1 { self.column - 1 } else { 0 };
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            (self.line + error.line().saturating_sub(1), column + error.column(), message)
        })
    }
}

/// Line and column, both from 1, of the character after `before`.
fn place(before: &[u8]) -> (usize, usize) {
    let line = before.split(|&byte| byte == b'\n').count();
    let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count();
    (line, column + 1)
}

/// Offset of the first integer in valid JSON that fits neither `i64` nor `u64`: `serde_json` would silently round it to
/// an `f64`.
fn integer_beyond_64_bits(json: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => at = end_of_text(json, at + 1),
            b'-' | b'0'..=b'9' => {
                let rest = &json[at..];
                let part =
                    |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = rest.iter().take_while(part).count();
                let number = str::from_utf8(&rest[..length]).unwrap_or_default();
                let integer = !number.contains(['.', 'e', 'E']);
                if integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return Some(at);
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    None
}

/// Offset after the closing quotation mark of the text that begins at `at`.
fn end_of_text(json: &[u8], mut at: usize) -> usize {
    loop {
        match json.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') | None => return at + 1,
            Some(_) => at += 1,
        }
    }
}

/// Converts a value to a `T`: another structure is unprocessable.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_json::from_value(value).map_err(|error| match error.classify() {
        Category::Data => Problem::unprocessable("bad-document", error.to_string()),
        Category::Io | Category::Syntax | Category::Eof => {
            Problem::malformed("bad-json", error.to_string())
        }
    })
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("is no number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format!("member {name:?} is there twice")));
            }
            object.insert(name, members.next_value_seed(below)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_valid_is_as_serde_json_has_it() {
        for text in [
            "null",
            "7",
            "-1",
            "1.5",
            "\"a\"",
            "[1,[2]]",
            "{\"a\":{\"b\":[]}}",
            "18446744073709551615",
        ] {
            let plain: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(parse::<Value>(text.as_bytes()).expect("JSON"), plain, "{text}");
        }
    }

    #[test]
    fn what_is_doubtful_is_refused() {
        let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
        for text in [
            "",
            "{",
            "nul",
            "NaN",
            "1e400",
            "[1,]",
            "{} {}",
            "{\"a\":1,\"a\":2}",
            "{\"x\":{\"a\":1,\"\\u0061\":2}}",
            "\"\u{1}\"",
            "18446744073709551616",
            "[-9223372036854775809]",
            "{\"a\":100000000000000000000}",
            "\"\\ud83d\"",
            "\"\\ud83d\\u0041\"",
            "\"\\ude00\"",
            "Infinity",
            &deep,
        ] {
            assert!(parse::<Value>(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse::<Value>(b"\"\xff\"").is_err(), "no UTF-8");
    }

    #[test]
    fn numbers_within_64_bits_and_texts_that_look_like_larger_ones_are_kept() {
        let text = r#"{"max":18446744073709551615,"min":-9223372036854775808,"float":1e20,"100000000000000000000":"\"100000000000000000000"}"#;
        let read = value(text.as_bytes()).expect("JSON");
        assert_eq!(read["max"], u64::MAX);
        assert_eq!(read["min"], i64::MIN);
        assert_eq!(read["float"], 1e20);
        assert_eq!(read["100000000000000000000"], "\"100000000000000000000");
    }

    #[test]
    fn several_documents_are_split_and_faults_are_located_in_the_whole_text() {
        let text =
            "{\"a\":1}{\"b\":2}\n\n  {\"c\":\n [3,\n 18446744073709551616]} {\"d\":1,\"d\":2}";
        let documents = documents(text).expect("JSON by its syntax");
        let places: Vec<_> = documents.iter().map(|one| (one.line, one.column)).collect();
        assert_eq!(places, [(1, 1), (1, 8), (3, 3), (5, 25)]);
        assert_eq!(documents[1].value().expect("valid")["b"], 2);
        let (line, column, message) = documents[2].value().expect_err("refused");
        assert_eq!((line, column, message.as_str()), (5, 2, "an integer beyond 64 bits"));
        let (line, column, message) = documents[3].value().expect_err("refused");
        assert_eq!((line, message.as_str()), (5, "member \"d\" is there twice"));
        assert!((30..40).contains(&column), "{column}");
        assert!(super::documents("{} nonsense").is_err());
    }
}
