//! Kubernetes quantities, exactly: no floats, the canonical text of the API server, comparison by value.
//!
//! Answers: what amount a text is, how the API server would write it, which of two amounts is larger.
//! Refuses to know: what is measured. Laws: reading what was written gives the same amount and the same text.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

/// An amount in whole billionths, and the family of suffixes it was written with.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nano: i128,
    family: Family,
}

/// Suffixes come in three families; the canonical text stays in the family of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// `Ki` to `Ei`.
    Binary,
    /// `n` to `E`, and none.
    Decimal,
    /// `e3`.
    Exponent,
}

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// It does not start with a number.
    #[error("it does not start with a number")]
    Number,
    /// What follows the number is no suffix (a blank is none either).
    #[error("what follows the number is no suffix such as m, k, M, G, Ki, Mi, Gi or e3")]
    Suffix,
    /// An amount or a precision beyond what is kept here.
    #[error("it has more digits than any amount of use")]
    Digits,
}

impl Quantity {
    /// Reads a text as the API server does: no blanks, amounts below one billionth are rounded away from
    /// zero, binary amounts end at the largest 64-bit number.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            None => return Err(QuantityError::Empty),
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
        };
        let (whole, rest) = split_digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Number);
        }
        let (family, scale) = scale_of(suffix)?;
        let nano = billionths(whole, fraction.trim_end_matches('0'), family, scale)?;
        Ok(Self { nano: if negative { -nano } else { nano }, family })
    }

    /// Reads the wire type.
    pub fn from_api(quantity: &ApiQuantity) -> Result<Self, QuantityError> {
        Self::parse(&quantity.0)
    }

    /// The wire type, in canonical form.
    pub fn to_api(self) -> ApiQuantity {
        ApiQuantity(self.to_string())
    }

    /// Whether it is above zero.
    pub fn is_positive(self) -> bool {
        self.nano > 0
    }

    /// The amount in whole units, rounded up.
    pub fn whole_units(self) -> i128 {
        let down = self.nano.div_euclid(UNIT);
        if self.nano.rem_euclid(UNIT) == 0 { down } else { down + 1 }
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Family of a suffix, and its power of ten (decimal) or two (binary).
fn scale_of(suffix: &str) -> Result<(Family, i32), QuantityError> {
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok((Family::Binary, *power));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((Family::Decimal, *power));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(QuantityError::Suffix);
    }
    let power = exponent.parse().map_err(|_| QuantityError::Digits)?;
    Ok((Family::Exponent, power))
}

/// The amount without its sign.
fn billionths(whole: &str, fraction: &str, family: Family, scale: i32) -> Result<i128, QuantityError> {
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let number: i128 = digits.parse().map_err(|_| QuantityError::Digits)?;
    let places = i32::try_from(fraction.len()).map_err(|_| QuantityError::Digits)?;
    if family != Family::Binary {
        let tens = i64::from(scale) - i64::from(places) + i64::from(NANO_PLACES);
        return shift(number, tens).ok_or(QuantityError::Digits);
    }
    let amount = number
        .checked_mul(1 << scale)
        .and_then(|n| shift(n, i64::from(NANO_PLACES) - i64::from(places)))
        .or_else(|| fraction.is_empty().then_some(BINARY_CAP))
        .ok_or(QuantityError::Digits)?;
    Ok(amount.min(BINARY_CAP))
}

/// `number` times ten to the power `tens`, rounded up; `None` if it does not fit.
fn shift(number: i128, tens: i64) -> Option<i128> {
    let power = u32::try_from(tens.unsigned_abs()).ok().and_then(|places| 10_i128.checked_pow(places));
    if tens >= 0 {
        return number.checked_mul(power?);
    }
    // A divisor too large for the type is larger than any number, so the quotient rounds up to one.
    Some(power.map_or(1, |divisor| (number - 1) / divisor + 1))
}

impl fmt::Display for Quantity {
    /// The canonical text: no fraction, the largest suffix that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let whole = self.nano / UNIT;
        if self.family == Family::Binary && self.nano % UNIT == 0 && whole.abs() >= 1024 {
            let (mut amount, mut steps) = (whole, 0);
            while steps < BINARY.len() && amount % 1024 == 0 {
                amount /= 1024;
                steps += 1;
            }
            let suffix = if steps == 0 { "" } else { BINARY[steps - 1].0 };
            return write!(f, "{amount}{suffix}");
        }
        let (mut amount, mut power) = (self.nano, -NANO_PLACES);
        while amount % 1000 == 0 {
            amount /= 1000;
            power += 3;
        }
        match DECIMAL.iter().find(|(_, p)| *p == power) {
            Some((suffix, _)) if self.family != Family::Exponent || power == 0 => {
                write!(f, "{amount}{suffix}")
            }
            _ => write!(f, "{amount}e{power}"),
        }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

/// Decimal places kept: the API server keeps no more.
const NANO_PLACES: i32 = 9;
const UNIT: i128 = 1_000_000_000;
/// Where the API server caps binary amounts.
const BINARY_CAP: i128 = (i64::MAX as i128) * UNIT;
/// Binary suffixes with their power of two, ascending.
const BINARY: [(&str, i32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
/// Decimal suffixes with their power of ten, ascending.
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_text() {
        for (text, canonical) in [
            ("0", "0"),
            ("-0", "0"),
            ("0Gi", "0"),
            ("1", "1"),
            ("+1", "1"),
            ("007", "7"),
            ("5.", "5"),
            (".5", "500m"),
            ("0.5", "500m"),
            ("1500m", "1500m"),
            ("4000m", "4"),
            ("0.25", "250m"),
            ("1.5Gi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("1024Mi", "1Gi"),
            ("512000Mi", "500Gi"),
            ("16000M", "16G"),
            ("3500M", "3500M"),
            ("1000Ki", "1000Ki"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("0.1Ki", "102400m"),
            ("1025.3Ki", "1049907200m"),
            ("-1.5Gi", "-1536Mi"),
            ("-20", "-20"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1e+3", "1e3"),
            ("12e-1", "1200e-3"),
            ("5e0", "5"),
            ("100E", "100E"),
            ("1E", "1E"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1e-400", "1e-9"),
            ("-0.1n", "-1n"),
            ("8Ei", "9223372036854775807"),
            ("99999999999999999999999999999999Ei", "9223372036854775807"),
            ("7Ei", "7Ei"),
            ("1.50000000000000000000000000000000000000000", "1500m"),
        ] {
            assert_eq!(Quantity::parse(text).map(|q| q.to_string()).as_deref(), Ok(canonical), "{text}");
        }
    }

    #[test]
    fn refused_text() {
        for (text, error) in [
            ("", QuantityError::Empty),
            ("-", QuantityError::Number),
            (".", QuantityError::Number),
            ("Gi", QuantityError::Number),
            (" 1", QuantityError::Number),
            ("--1", QuantityError::Number),
            ("ä", QuantityError::Number),
            ("1 ", QuantityError::Suffix),
            ("1 Gi", QuantityError::Suffix),
            ("2TB?", QuantityError::Suffix),
            ("1K", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
            ("1e1.5", QuantityError::Suffix),
            ("1e+", QuantityError::Suffix),
            ("1.2.3", QuantityError::Suffix),
            ("1gi", QuantityError::Suffix),
            ("1e99", QuantityError::Digits),
            ("1e99999999999", QuantityError::Digits),
            ("0.1234567890123456789012345678901234567890123", QuantityError::Digits),
        ] {
            assert_eq!(Quantity::parse(text).map(|q| q.to_string()), Err(error), "{text}");
        }
    }

    #[test]
    fn order_is_by_value() {
        let of = |text| Quantity::parse(text).expect("a quantity");
        assert_eq!(of("1Gi"), of("1024Mi"));
        assert_eq!(of("1.5"), of("1500m"));
        assert!(of("1G") < of("1Gi"));
        assert!(of("-1") < of("0") && of("0") < of("1n"));
        assert!(!of("0").is_positive() && of("1n").is_positive());
        assert_eq!(
            (of("1.2").whole_units(), of("-1.2").whole_units(), of("2Gi").whole_units()),
            (2, -1, 1 << 31)
        );
    }

    proptest! {
        #[test]
        fn writing_and_reading_keeps_value_and_text(
            sign in prop::sample::select(vec!["", "-", "+"]),
            whole in 0_u64..1_000_000_000,
            fraction in prop::option::of("[0-9]{1,6}"),
            suffix in prop::sample::select(vec![
                "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "e3", "E-2", "e+7",
            ]),
        ) {
            let fraction = fraction.map(|digits| format!(".{digits}")).unwrap_or_default();
            let read = Quantity::parse(&format!("{sign}{whole}{fraction}{suffix}")).expect("a quantity");
            let text = read.to_string();
            let again = Quantity::parse(&text).expect("canonical text reads");
            prop_assert_eq!(read, again);
            prop_assert_eq!(text, again.to_string());
            prop_assert!(!read.to_string().contains(['.', '+']));
        }

        #[test]
        fn garbage_never_panics(text in ".{0,40}") {
            let _ = Quantity::parse(&text);
        }
    }
}
