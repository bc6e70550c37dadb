//! JSON as strict as it has to be where a log keeps it for ever: no member twice, no bottomless nesting.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};

use crate::problem::Problem;

/// Levels of nesting at most; `serde_json` itself stops at 128, in the middle of its stack.
const DEPTH_MAX: usize = 64;

/// JSON bytes as a `T`: what is no JSON is malformed, what has another shape is unprocessable.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut reader).and_then(|value| {
        reader.end()?;
        Ok(value)
    });
    typed(value.map_err(|error| Problem::malformed("bad-json", error.to_string()))?)
}

/// A value as a `T`: what has another shape is unprocessable.
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
        let deep = "[".repeat(65) + &"]".repeat(65);
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
            &deep,
        ] {
            assert!(parse::<Value>(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse::<Value>(b"\"\xff\"").is_err(), "no UTF-8");
    }
}
