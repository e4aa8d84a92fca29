//! How a YAML scalar becomes text: numbers, booleans and null by the rules of YAML 1.1, so that old files
//! keep their meaning (`012` is ten, `on` is true), everything else as it stands.

use saphyr_parser::{Event, ScalarStyle, Tag};

/// The text of a scalar; `None` for null. Quoted text is taken as it stands, and so is text tagged `!!str` or
/// with a private tag.
pub(super) fn text(
    source: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
) -> Result<Option<String>, &'static str> {
    let plain = match tag {
        None => style == ScalarStyle::Plain,
        Some(tag) if !tag.is_yaml_core_schema() => false,
        Some(tag) => match tag.suffix.as_str() {
            "str" => false,
            "bool" | "float" | "int" | "null" | "timestamp" => true,
            _ => return Err("a tag that no setting has a use for"),
        },
    };
    Ok(if plain { plain_text(source) } else { Some(source.to_owned()) })
}

/// Whether a key asks to merge another map.
pub(super) fn is_merge(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

/// Whether a bare scalar stays the same text.
pub(crate) fn reads_as_itself(source: &str) -> bool {
    plain_text(source).as_deref() == Some(source)
}

fn plain_text(source: &str) -> Option<String> {
    let word = match source {
        "" | "~" | "null" | "Null" | "NULL" => return None,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => "true",
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => "false",
        ".nan" | ".NaN" | ".NAN" => "NaN",
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => "+Inf",
        "-.inf" | "-.Inf" | "-.INF" => "-Inf",
        _ => return Some(number_text(source).unwrap_or_else(|| source.to_owned())),
    };
    Some(word.to_owned())
}

/// The text of a number; `None` if the source is none.
fn number_text(source: &str) -> Option<String> {
    if !source.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return None;
    }
    let digits = source.replace('_', "");
    if let Some(integer) = integer(&digits) {
        return Some(integer.to_string());
    }
    let value: f64 = if is_decimal(&digits) { digits.parse().ok()? } else { return None };
    value.is_finite().then(|| float_text(value))
}

/// A whole number: decimal, `0x`, `0b`, `0o`, or octal by a leading zero.
fn integer(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let (radix, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    // Beyond 64 bits a number is a float.
    (value >= i128::from(i64::MIN) && value <= i128::from(u64::MAX)).then_some(value)
}

/// Digits with at most one point and one exponent.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (unsigned, "0"),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let has_number = !whole.is_empty() || !fraction.is_empty();
    has_number && all_digits(whole) && all_digits(fraction) && !exponent.is_empty() && all_digits(exponent)
}

/// The shortest text that reads back as the same float: plain for exponents from -4 to 5, else scientific
/// with a sign and two digits of exponent (`1e+06`).
fn float_text(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(-4..6) | Err(_) => format!("{value}"),
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_scalars() {
        for (source, expected) in [
            ("12", "12"),
            ("+12", "12"),
            ("-12", "-12"),
            ("012", "10"),
            ("-012", "-10"),
            ("0o17", "15"),
            ("0x1F", "31"),
            ("0b101", "5"),
            ("-0b101", "-5"),
            ("1_000", "1000"),
            ("089", "89"),
            ("0", "0"),
            ("00", "0"),
            ("0.5", "0.5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1.50", "1.5"),
            ("1e3", "1000"),
            ("1e5", "100000"),
            ("1e6", "1e+06"),
            ("1500000.5", "1.5000005e+06"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("-2.5e-7", "-2.5e-07"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e+19"),
            ("on", "true"),
            ("True", "true"),
            ("off", "false"),
            ("n", "false"),
            (".inf", "+Inf"),
            // Everything below is text and stays as it stands.
            ("1500Gi", "1500Gi"),
            ("1e3x", "1e3x"),
            ("1e999", "1e999"),
            ("0x", "0x"),
            ("0x-1", "0x-1"),
            ("1.2.3", "1.2.3"),
            ("12:30", "12:30"),
            ("2001-01-02", "2001-01-02"),
            ("10.0.0.7:26657", "10.0.0.7:26657"),
            ("tRue", "tRue"),
            ("_1", "_1"),
            ("-", "-"),
            (".", "."),
            ("e3", "e3"),
            ("nan", "nan"),
        ] {
            assert_eq!(plain_text(source).as_deref(), Some(expected), "{source}");
        }
        for source in ["", "~", "null", "NULL"] {
            assert_eq!(plain_text(source), None, "{source}");
        }
    }

    #[test]
    fn quotes_and_tags_decide() {
        let tag = |handle: &str, suffix: &str| Tag { handle: handle.to_owned(), suffix: suffix.to_owned() };
        let core = |suffix| tag("tag:yaml.org,2002:", suffix);
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(text("012", ScalarStyle::DoubleQuoted, None), some("012"));
        assert_eq!(text("", ScalarStyle::SingleQuoted, None), some(""));
        assert_eq!(text("012", ScalarStyle::Plain, Some(&core("str"))), some("012"));
        assert_eq!(text("012", ScalarStyle::DoubleQuoted, Some(&core("int"))), some("10"));
        assert_eq!(text("012", ScalarStyle::Plain, Some(&tag("!", "mine"))), some("012"));
        assert!(text("eA==", ScalarStyle::Plain, Some(&core("binary"))).is_err());
    }

    proptest! {
        #[test]
        fn a_float_keeps_its_value(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            prop_assert_eq!(float_text(value).parse::<f64>(), Ok(value));
        }

        #[test]
        fn garbage_never_panics(source in ".{0,20}") {
            let _ = plain_text(&source);
        }
    }
}
