//! Stored params: keys are read in any letter case, because the Go operator stores some of them capitalised.

use serde_json::Value;

/// The value of a key: the exact spelling wins, then any letter case; null reads as absent.
pub(crate) fn field<'a>(params: &'a Value, key: &str) -> Option<&'a Value> {
    let object = params.as_object()?;
    object
        .get(key)
        .or_else(|| object.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v))
        .filter(|v| !v.is_null())
}

/// A text; absent reads as empty, another type is an error that names the key.
pub(crate) fn text(params: &Value, key: &str) -> Result<String, String> {
    match field(params, key) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("params.{key} is not a text")),
    }
}

/// An integer; absent reads as 0.
pub(crate) fn integer(params: &Value, key: &str) -> Result<i64, String> {
    match field(params, key) {
        None => Ok(0),
        Some(value) => value.as_i64().ok_or_else(|| format!("params.{key} is not an integer")),
    }
}

/// A boolean; absent reads as false.
pub(crate) fn boolean(params: &Value, key: &str) -> Result<bool, String> {
    match field(params, key) {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| format!("params.{key} is not a boolean")),
    }
}

/// A text that must be there.
pub(crate) fn required(params: &Value, key: &str) -> Result<String, String> {
    let text = text(params, key)?;
    if text.is_empty() { Err(format!("params.{key} is empty")) } else { Ok(text) }
}
