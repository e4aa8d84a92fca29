//! Values as the server reads them: which numbers are whole, which texts are times, which texts match a
//! pattern.

use k8s_openapi::jiff::civil::Date;
use regex_lite::Regex;
use serde_json::Value;

/// The whole number in a value; a zero fraction does not matter. Beyond 64 bits counts as not whole.
pub(super) fn whole(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    number.as_i64().or_else(|| number.as_f64().and_then(whole_float))
}

#[allow(clippy::cast_possible_truncation, reason = "the bounds are checked in the line before")]
fn whole_float(float: f64) -> Option<i64> {
    let is_whole = float.fract() == 0.0 && (-BEYOND..BEYOND).contains(&float);
    is_whole.then_some(float as i64)
}

/// Two to the power of 63, the first number that 64 bits with a sign do not hold.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// Writes every whole number without its fraction, as the server stores it.
pub(super) fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = whole(value) {
                *value = Value::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(fields) => fields.values_mut().for_each(make_whole),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether a number fits an integer format; 64 bits take any.
pub(super) fn fits(number: i64, format: &str) -> bool {
    match format {
        "int32" => i32::try_from(number).is_ok(),
        _ => true,
    }
}

/// Whether a text is a date-time to the server: a calendar date, `T`, time of day with seconds, any fraction
/// after any sign, any zone; what comes after a second `T` it does not look at.
pub(super) fn is_time(text: &str) -> bool {
    let mut parts = text.split(['T', 't']);
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    is_date(date) && matches(TIME_OF_DAY, time)
}

const TIME_OF_DAY: &str = "^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$";

fn is_date(text: &str) -> bool {
    let mut parts = text.split('-').map(|part| part.parse::<i16>().ok());
    let (Some(Some(year)), Some(Some(month)), Some(Some(day))) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let narrow = |part: i16| i8::try_from(part).unwrap_or_default();
    matches("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", text) && Date::new(year, narrow(month), narrow(day)).is_ok()
}

/// Whether a text matches a pattern of the schema; a pattern that does not compile matches nothing.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    // The server's `\s` lacks the vertical tab that ours has; it stands only inside brackets.
    Regex::new(&pattern.replace("\\s", "\\t\\n\\f\\r ")).is_ok_and(|regex| regex.is_match(text))
}
