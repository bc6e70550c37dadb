//! Plain YAML scalars: the core schema of YAML 1.2, without what YAML 1.1, YAML 1.2 and JSON read differently.

use serde_json::{Number, Value};

/// Non-finite numbers without a sign: YAML's words, and those that JSON encoders of other languages write. None of them
/// is read as a text.
const NON_FINITE: &[&str] = &[".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN", "NaN", "Infinity"];

/// The value of a plain scalar.
///
/// # Errors
/// A non-finite number, an integer beyond 64 bits, or a number with a leading zero, which is octal in YAML 1.1 and
/// decimal in YAML 1.2.
pub(crate) fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if is_non_finite(text) {
        return Err(format!("{text} is no finite number: quote it if it is a text"));
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix).filter(|digits| all_digits(digits, radix)) {
            return u64::from_str_radix(digits, radix).map(Value::from).map_err(|_| beyond(text));
        }
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let integer = all_digits(digits, 10);
    if !integer && !is_float(digits) {
        return Ok(Value::from(text));
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit() {
        return Err(format!(
            "{text} has a leading zero, which YAML 1.1 takes as octal and YAML 1.2 as decimal: write \"{text}\" for a text, \
             0o17 for an octal number"
        ));
    }
    if integer {
        let signed = text.parse::<i64>().map(Value::from);
        return signed.or_else(|_| text.parse::<u64>().map(Value::from)).map_err(|_| beyond(text));
    }
    let number = text.parse().ok().and_then(Number::from_f64).map(Value::Number);
    number.ok_or_else(|| format!("{text} is no finite number: it is beyond 64 bits"))
}

/// Whether a word means infinity or NaN.
pub(crate) fn is_non_finite(word: &str) -> bool {
    NON_FINITE.contains(&word.strip_prefix(['-', '+']).unwrap_or(word))
}

fn beyond(text: &str) -> String {
    format!("{text} is an integer beyond 64 bits: quote it if it is a text")
}

fn all_digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|digit| digit.is_digit(radix))
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?` of the core schema, without the sign.
fn is_float(text: &str) -> bool {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (text, None),
    };
    let exponent_fits = exponent
        .is_none_or(|digits| all_digits(digits.strip_prefix(['-', '+']).unwrap_or(digits), 10));
    let number_fits = match number.split_once('.') {
        None => all_digits(number, 10),
        Some(("", fraction)) => all_digits(fraction, 10),
        Some((whole, fraction)) => {
            all_digits(whole, 10) && (fraction.is_empty() || all_digits(fraction, 10))
        }
    };
    exponent_fits && number_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_only_look_like_numbers_are_texts() {
        for text in [
            "1.2.3",
            "1_000",
            "0b101",
            "0X1F",
            "0O17",
            "+0x1f",
            "-0o7",
            "12:30:45",
            "1e",
            "e5",
            ".",
            "-",
            "+",
            "--1",
            ".e5",
            "0x",
            "inf",
            "nan",
            "Inf",
            "infinity",
            "2026-11-30",
            "1-2",
            "0.1.0",
        ] {
            assert_eq!(plain(text), Ok(Value::from(text)), "{text}");
        }
    }

    #[test]
    fn zeros_are_numbers_unless_they_lead() {
        for (text, expected) in
            [("0", 0.0), ("-0", 0.0), ("0.5", 0.5), ("0e0", 0.0), ("0.", 0.0), ("10", 10.0)]
        {
            assert_eq!(plain(text).unwrap().as_f64(), Some(expected), "{text}");
        }
        for text in ["00", "-01", "+0644", "01e2", "08"] {
            assert!(plain(text).unwrap_err().contains("leading zero"), "{text}");
        }
    }
}
