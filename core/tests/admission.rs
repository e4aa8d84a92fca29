//! The pure admission says what the server says.

#[path = "../../tests/src/validation_cases/case.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "shared with the replay against a server, which uses more of it"
)]
mod case;

use case::{Case, Kind};
use seinode_core::api::admission::{FieldError, check, check_status, check_update, prune};
use seinode_core::api::crd::custom_resource_definition;
use serde_json::{Value, json};

fn last_step(case: &Case) -> Result<Value, Vec<FieldError>> {
    let first = if case.is_strict { case.manifests[0].clone() } else { prune(&case.manifests[0]) };
    match case.kind {
        Kind::Create => check(&first),
        Kind::Update => check_update(&check(&first).expect("the first step is taken"), &case.manifests[1]),
        Kind::Status => check_status(&check(&first).expect("the first step is taken"), &first),
    }
}

#[test]
fn every_case_gets_the_verdict_of_the_server() {
    let cases = case::load();
    assert_eq!(cases.len(), 67);
    for case in cases {
        match last_step(&case) {
            Ok(object) => {
                assert!(case.is_accepted, "{} was taken", case.name);
                if let Some(stored) = &case.stored {
                    assert_eq!(&object[case.part()], stored, "{}", case.name);
                }
            }
            Err(errors) => {
                assert!(!case.is_accepted, "{} was refused: {errors:?}", case.name);
                let mut named: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
                let mut expected: Vec<_> = case.fields.iter().map(String::as_str).collect();
                named.sort_unstable();
                named.dedup();
                expected.sort_unstable();
                assert_eq!(named, expected, "{}: {errors:?}", case.name);
            }
        }
    }
}

fn node(spec: &Value) -> Value {
    let mut fields = json!({"chainId": "arctic-1", "image": "seid:v6"});
    for (key, value) in spec.as_object().expect("a spec is an object") {
        fields[key] = value.clone();
    }
    json!({"apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "metadata": {"name": "a"}, "spec": fields})
}

fn refusals(outcome: Result<Value, Vec<FieldError>>) -> Vec<String> {
    outcome.err().unwrap_or_default().iter().map(FieldError::to_string).collect()
}

#[test]
fn refusals_name_field_and_remedy() {
    assert_eq!(
        refusals(check(&node(&json!({"image": "", "chainId": "A", "fullNode": {}, "paused": "no"})))),
        [
            "spec.chainId: must match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$; use lower-case letters and digits, \
             with \
             dashes only inside",
            "spec.image: must not be empty; set the image of the node software",
            "spec.paused: must be true or false, not text; write true or false without quotes",
        ]
    );
    assert_eq!(
        refusals(check(&node(&json!({"fullNode": {"snapshots": {}}})))),
        ["spec.fullNode.snapshots: is not a field of this object; remove it, or use one of snapshot, \
             snapshotGeneration"]
    );
    assert_eq!(
        refusals(check(&node(&json!({})))),
        ["spec: spec must set precisely one mode; keep one of fullNode, archive, replayer, validator, \
             seed and \
             omit the rest"]
    );
}

#[test]
fn rules_are_asked_unless_the_shape_is_wrong() {
    let paths = |object: &Value| -> Vec<String> {
        check(object).expect_err("something is wrong").into_iter().map(|error| error.path).collect()
    };
    assert_eq!(paths(&node(&json!({"chainId": "UPPER"}))), ["spec.chainId", "spec"]);
    assert_eq!(paths(&node(&json!({"chainId": 5}))), ["spec.chainId"]);
}

#[test]
fn long_names_are_refused_for_new_nodes_only() {
    let mut long = node(&json!({"fullNode": {}}));
    long["metadata"]["name"] = json!("n".repeat(53));
    let refused = check(&long).expect_err("53 characters are too many");
    assert_eq!(refused.iter().map(|error| error.path.as_str()).collect::<Vec<_>>(), ["metadata"]);
    let mut paused = long.clone();
    paused["spec"]["paused"] = json!(true);
    assert_eq!(check_update(&long, &paused), Ok(paused));
    long["metadata"]["name"] = json!("n".repeat(52));
    assert!(check(&long).is_ok());
}

#[test]
fn numbers_are_read_as_the_server_reads_them() {
    let height = |height: Value| node(&json!({"fullNode": {"snapshot": {"s3": {"targetHeight": height}}}}));
    assert_eq!(check(&height(json!(1500.0))), Ok(height(json!(1500))));
    assert!(check(&height(json!(i64::MAX))).is_ok());
    for wrong in [json!(1500.5), json!(1e19), json!(u64::MAX), json!("5"), json!(-1)] {
        assert_eq!(refusals(check(&height(wrong.clone()))).len(), 1, "{wrong}");
    }
    assert_eq!(refusals(check(&height(Value::Null))).len(), 1, "a null is dropped, and then it is missing");
}

#[test]
fn times_are_read_as_the_server_reads_them() {
    let node = check(&node(&json!({"fullNode": {}}))).expect("a plain node");
    let at = |time: &str| {
        let mut next = node.clone();
        next["status"] = json!({"phaseTransitionTime": time});
        check_status(&node, &next).is_ok()
    };
    for time in
        ["2026-01-02T03:04:05Z", "2026-01-02t03:04:05.123456789012+14:59", "2024-02-29T23:59:59-00:00"]
    {
        assert!(at(time), "{time}");
    }
    // Oddities of the server, kept so that a pretend server stores what a real one does.
    assert!(at("2026-01-02T03:04:05,5Z") && at("2026-01-02T03:04:05ZT"));
    for garbage in
        ["", "2026-01-02", "2026-01-02 03:04:05Z", "2026-01-02T03:04Z", "2026-01-02T03:04:05", "now"]
    {
        assert!(!at(garbage), "{garbage}");
    }
    for impossible in
        ["2026-02-29T03:04:05Z", "2026-01-02T24:00:00Z", "2026-13-01T00:00:00Z", "+026-01-02T03:04:05Z"]
    {
        assert!(!at(impossible), "{impossible}");
    }
}

#[test]
fn what_was_wrong_before_does_not_block_an_update() {
    let mut old = node(&json!({"fullNode": {"snapshot": {}}, "externalAddress": "a"}));
    old["spec"]["chainId"] = json!("UPPER");
    let mut new = old.clone();
    new["spec"]["externalAddress"] = json!("b");
    assert_eq!(check_update(&old, &new), Ok(new.clone()));
    new["spec"]["fullNode"]["snapshot"]["trustPeriod"] = json!("1h");
    assert_eq!(refusals(check_update(&old, &new)).len(), 1);
}

#[test]
fn garbage_has_an_answer() {
    for garbage in [
        json!(null),
        json!([]),
        json!(5),
        json!("x"),
        json!({}),
        json!({"spec": []}),
        node(&json!({}))["spec"].clone(),
    ] {
        assert!(check(&garbage).is_err(), "{garbage}");
        let _pruned = prune(&garbage);
    }
}

/// Every rule of the definition has a twin: breaking each one alone is refused here too.
#[test]
fn each_rule_has_a_twin_that_refuses() {
    let secret = |name: &str| json!({"secret": {"secretName": name}});
    let ring = |data: &str, passphrase: &str| {
        let reference = json!({"secretName": passphrase, "key": "k"});
        json!({"secret": {"secretName": data, "passphraseSecretRef": reference}})
    };
    let keys = |ring: Value| {
        let (signing_key, node_key) = (secret("s"), secret("n"));
        json!({"validator": {"signingKey": signing_key, "nodeKey": node_key, "operatorKeyring": ring}})
    };
    let on_create = [
        json!({}),
        json!({"replayer": {"snapshot": {"s3": {"targetHeight": 1}}}}),
        json!({"fullNode": {}, "peers": [{}]}),
        json!({"fullNode": {"snapshot": {}}}),
        json!({"seed": {"nodeKey": {}}}),
        json!({"validator": {"signingKey": secret("s")}}),
        json!({"validator": {"signingKey": secret("s"), "nodeKey": secret("s")}}),
        keys(ring("s", "p")),
        keys(ring("n", "p")),
        keys(ring("d", "d")),
        keys(ring("d", "s")),
        keys(ring("d", "n")),
    ];
    let mut broken: Vec<_> = on_create.iter().flat_map(|spec| refusals(check(&node(spec)))).collect();
    let claim = |name: &str| node(&json!({"fullNode": {}, "dataVolume": {"import": {"pvcName": name}}}));
    let no_import = node(&json!({"fullNode": {}, "dataVolume": {}}));
    broken.extend(refusals(check_update(&claim("a"), &claim("b"))));
    broken.extend(refusals(check_update(&claim("a"), &no_import)));
    let mut long = node(&json!({"fullNode": {}}));
    long["metadata"]["name"] = json!("n".repeat(53));
    broken.extend(refusals(check(&long)));
    assert_eq!(broken.len(), 15, "{broken:#?}");

    let mut rules = Vec::new();
    texts_of_rules(&custom_resource_definition(), &mut rules);
    rules.sort();
    rules.dedup();
    assert_eq!(rules.len(), 15, "a new rule needs a twin and a line above");
}

fn texts_of_rules(value: &Value, rules: &mut Vec<String>) {
    rules.extend(value.get("rule").and_then(Value::as_str).map(str::to_owned));
    match value {
        Value::Object(fields) => fields.values().for_each(|field| texts_of_rules(field, rules)),
        Value::Array(items) => items.iter().for_each(|item| texts_of_rules(item, rules)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
