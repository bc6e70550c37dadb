//! Text to [`Selector`]: one pass, one token ahead.

use std::collections::BTreeSet;

use super::{BYTES_MAX, BadSelector, REQUIREMENTS_MAX, Requirement, Selector, Test, VALUES_MAX};

/// Bytes of a key, at most, as of a label's.
const KEY_BYTES_MAX: usize = 128;

pub(super) fn selector(text: &str) -> Result<Selector, BadSelector> {
    let mut parser = Parser { text, at: 0 };
    if text.len() > BYTES_MAX {
        parser.at = text.floor_char_boundary(BYTES_MAX);
        return Err(parser.bad(format!("a selector has at most {BYTES_MAX} bytes")));
    }
    let mut requirements = Vec::new();
    loop {
        if requirements.len() == REQUIREMENTS_MAX {
            return Err(parser.bad(format!("there are more than {REQUIREMENTS_MAX} requirements")));
        }
        requirements.push(parser.requirement()?);
        parser.skip_white();
        if parser.is_at_end() {
            return Ok(Selector { requirements });
        }
        parser.expect(',', "a comma or the end")?;
    }
}

struct Parser<'t> {
    text: &'t str,
    /// Bytes that were read.
    at: usize,
}

impl<'t> Parser<'t> {
    fn requirement(&mut self) -> Result<Requirement, BadSelector> {
        if self.take('!') {
            return Ok(Requirement { key: self.key()?, test: Test::Missing });
        }
        let key = self.key()?;
        let test = self.test()?;
        Ok(Requirement { key, test })
    }

    fn test(&mut self) -> Result<Test, BadSelector> {
        if self.take('!') {
            self.expect_here('=', "= behind !")?;
            return Ok(Test::NotIn([self.value()].into()));
        }
        if self.take('=') {
            self.take_here('=');
            return Ok(Test::In([self.value()].into()));
        }
        self.skip_white();
        match self.word() {
            "" if self.is_at_end() || self.text[self.at..].starts_with(',') => Ok(Test::Exists),
            "in" => Ok(Test::In(self.values()?)),
            "notin" => Ok(Test::NotIn(self.values()?)),
            word => {
                self.at -= word.len();
                let message = match self.text[self.at..].chars().next() {
                    Some('<' | '>') => "< and > are not supported: labels are texts",
                    _ => "expected =, ==, !=, in, notin, a comma or the end",
                };
                Err(self.bad(message.to_owned()))
            }
        }
    }

    /// One value, which may be empty.
    fn value(&mut self) -> String {
        self.skip_white();
        self.word().to_owned()
    }

    /// Values in parentheses.
    fn values(&mut self) -> Result<BTreeSet<String>, BadSelector> {
        self.expect('(', "( and values")?;
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value());
            if values.len() > VALUES_MAX {
                return Err(self.bad(format!("there are more than {VALUES_MAX} values")));
            }
            if self.take(')') {
                return Ok(values);
            }
            self.expect(',', "a comma or )")?;
        }
    }

    fn key(&mut self) -> Result<String, BadSelector> {
        self.skip_white();
        let word = self.word();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        let good = word.chars().take_while(|c| plain(*c)).map(char::len_utf8).sum::<usize>();
        if word.is_empty() || good < word.len() {
            self.at -= word.len() - good;
            let message = "expected a label's key: letters, digits, . _ - and /";
            return Err(self.bad(message.to_owned()));
        }
        if word.len() > KEY_BYTES_MAX {
            self.at -= word.len() - KEY_BYTES_MAX;
            return Err(self.bad(format!("a label's key has at most {KEY_BYTES_MAX} characters")));
        }
        Ok(word.to_owned())
    }

    /// The characters up to white space or a special character; may be empty.
    fn word(&mut self) -> &'t str {
        let special =
            |c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | '=' | '!' | '<' | '>');
        let rest = &self.text[self.at..];
        let word = &rest[..rest.find(special).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn skip_white(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    const fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Reads `wanted` if it comes next, white space aside.
    fn take(&mut self, wanted: char) -> bool {
        let before = self.at;
        self.skip_white();
        let there = self.take_here(wanted);
        if !there {
            self.at = before;
        }
        there
    }

    fn take_here(&mut self, wanted: char) -> bool {
        let there = self.text[self.at..].starts_with(wanted);
        self.at += if there { wanted.len_utf8() } else { 0 };
        there
    }

    fn expect(&mut self, wanted: char, what: &str) -> Result<(), BadSelector> {
        self.skip_white();
        self.expect_here(wanted, what)
    }

    fn expect_here(&mut self, wanted: char, what: &str) -> Result<(), BadSelector> {
        if self.take_here(wanted) { Ok(()) } else { Err(self.bad(format!("expected {what}"))) }
    }

    fn bad(&self, message: String) -> BadSelector {
        let mut position = self.text[..self.at].chars().count() + 1;
        let rest = &self.text[self.at..];
        let white = rest.chars().take_while(|c| c.is_whitespace()).count();
        // The error is at the next character behind white space.
        position += white;
        BadSelector { position, message }
    }
}
