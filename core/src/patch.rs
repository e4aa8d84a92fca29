//! The smallest JSON merge patch (RFC 7396) between two values.

use serde_json::{Map, Value};

/// The patch that turns `from` into `to`; `None` if nothing differs. Lists are replaced as a whole.
pub fn between(from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        (Value::Object(a), Value::Object(b)) => {
            let mut out = Map::new();
            for key in a.keys().filter(|k| !b.contains_key(*k)) {
                out.insert(key.clone(), Value::Null);
            }
            for (key, value) in b {
                match a.get(key) {
                    None => {
                        out.insert(key.clone(), value.clone());
                    }
                    Some(old) => {
                        if let Some(inner) = between(old, value) {
                            out.insert(key.clone(), inner);
                        }
                    }
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        _ if from == to => None,
        _ => Some(to.clone()),
    }
}

/// Applies a merge patch.
pub fn apply(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(object) = target {
        for (key, value) in patch {
            if value.is_null() {
                object.remove(key);
            } else {
                apply(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn without_nulls() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn applying_the_patch_gives_the_target(from in without_nulls(), to in without_nulls()) {
            let mut result = from.clone();
            if let Some(patch) = between(&from, &to) {
                apply(&mut result, &patch);
            }
            prop_assert_eq!(result, to);
        }
    }

    #[test]
    fn equal_values_need_no_patch() {
        assert_eq!(between(&json!({"a": [1, 2]}), &json!({"a": [1, 2]})), None);
        assert_eq!(between(&json!({"a": 1, "b": 2}), &json!({"a": 1})), Some(json!({"b": null})));
    }
}
