//! Patches that are worded against the object itself.
//!
//! Answers: what an object looks like after a merge patch (RFC 7396) or a JSON patch (RFC 6902). Refuses to
//! know: what the object is. Upholds: a patch that does not fit is refused and changes nothing.

mod pointer;

use serde_json::{Map, Value};

use crate::error::StoreError;

/// A patch, by its content type.
#[derive(Debug, Clone)]
pub(crate) enum Patch {
    Json(Vec<Value>),
    Merge(Value),
}

/// The object after the patch.
pub(crate) fn patched(object: &Value, patch: &Patch) -> Result<Value, StoreError> {
    let mut object = object.clone();
    match patch {
        Patch::Merge(patch) => merge(&mut object, patch),
        Patch::Json(operations) => {
            for operation in operations {
                run(&mut object, operation).map_err(|Unfit| StoreError::unfit_patch())?;
            }
        }
    }
    Ok(object)
}

/// Merges a patch into a value: maps are merged, null removes, everything else replaces.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else {
        return;
    };
    for (field, change) in changes {
        if change.is_null() {
            map.remove(field);
        } else {
            merge(map.entry(field.clone()).or_insert(Value::Null), change);
        }
    }
}

/// An operation that does not fit the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unfit;

/// Runs one operation of a JSON patch.
fn run(object: &mut Value, operation: &Value) -> Result<(), Unfit> {
    let text = |field: &str| operation[field].as_str().unwrap_or_default();
    let value = || operation["value"].clone();
    let path = text("path");
    match text("op") {
        "add" => pointer::add(object, path, value()),
        "remove" => pointer::remove(object, path).map(|_| ()),
        "replace" => {
            let place = object.pointer_mut(path).ok_or(Unfit)?;
            *place = value();
            Ok(())
        }
        "move" => {
            let moved = pointer::remove(object, text("from"))?;
            pointer::add(object, path, moved)
        }
        "copy" => {
            let copied = object.pointer(text("from")).ok_or(Unfit)?.clone();
            pointer::add(object, path, copied)
        }
        "test" => {
            let is_equal = object.pointer(path).unwrap_or(&Value::Null) == &operation["value"];
            if is_equal { Ok(()) } else { Err(Unfit) }
        }
        _ => Err(Unfit),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end early")]
mod tests {
    use super::*;
    use serde_json::json;

    /// The examples in appendix A of RFC 7396.
    #[test]
    fn merge_follows_the_examples_of_its_standard() {
        for (target, patch, expected) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let mut result = target.clone();
            merge(&mut result, &patch);
            assert_eq!(result, expected, "{target} with {patch}");
        }
    }

    #[test]
    fn json_patch_adds_tests_and_removes() {
        let object = json!({"metadata": {"finalizers": ["a", "b"]}});
        let patch = Patch::Json(vec![
            json!({"op": "test", "path": "/metadata/finalizers/0", "value": "a"}),
            json!({"op": "remove", "path": "/metadata/finalizers/0"}),
            json!({"op": "add", "path": "/metadata/finalizers/-", "value": "c"}),
            json!({"op": "add", "path": "/metadata/labels", "value": {"x~y/z": "1"}}),
            json!({"op": "replace", "path": "/metadata/labels/x~0y~1z", "value": "2"}),
        ]);
        let expected = json!({"metadata": {"finalizers": ["b", "c"], "labels": {"x~y/z": "2"}}});
        assert_eq!(patched(&object, &patch).unwrap(), expected);
    }

    #[test]
    fn a_failed_test_refuses_the_whole_json_patch() {
        let patch = Patch::Json(vec![json!({"op": "test", "path": "/a", "value": 2})]);
        assert_eq!(patched(&json!({"a": 1}), &patch).unwrap_err().code, 422);
    }
}
