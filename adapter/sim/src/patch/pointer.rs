//! Writing at a JSON pointer (RFC 6901), for JSON patches.
//!
//! Answers: where a pointer leads and what changes there. Refuses to know: which patch asked.
//! Upholds: a pointer into nothing does not fit; it never makes a parent.

use serde_json::Value;

use super::Unfit;

/// Adds a value: sets a field, or inserts into a list; `-` is the end of a list.
pub(super) fn add(target: &mut Value, path: &str, value: Value) -> Result<(), Unfit> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    match parent(target, path)? {
        (Value::Object(map), last) => {
            map.insert(last, value);
            Ok(())
        }
        (Value::Array(items), last) => {
            let index = if last == "-" { Some(items.len()) } else { last.parse().ok() };
            let index = index.filter(|index| *index <= items.len()).ok_or(Unfit)?;
            items.insert(index, value);
            Ok(())
        }
        _ => Err(Unfit),
    }
}

/// Removes what the pointer leads to and answers it.
pub(super) fn remove(target: &mut Value, path: &str) -> Result<Value, Unfit> {
    match parent(target, path)? {
        (Value::Object(map), last) => map.remove(&last).ok_or(Unfit),
        (Value::Array(items), last) => {
            let index: usize = last.parse().map_err(|_| Unfit)?;
            if index < items.len() { Ok(items.remove(index)) } else { Err(Unfit) }
        }
        _ => Err(Unfit),
    }
}

fn parent<'a>(target: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), Unfit> {
    let (above, last) = path.rsplit_once('/').ok_or(Unfit)?;
    let parent = target.pointer_mut(above).ok_or(Unfit)?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}
