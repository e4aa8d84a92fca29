//! The kinds that sequences are about, and what may stand in their objects.
//!
//! Answers: the least valid object of a kind, the fields that steps change, and which fields are compared. Refuses to
//! know: any order of steps. Upholds: what is compared is what steps write; everything else of a built-in kind is a
//! default of the real server, which the pretend one does not model.

use seinode_sim::store::Kind;
use serde_json::{Value, json};

/// One kind.
pub(super) struct Sample {
    pub(super) kind: &'static str,
    /// How often it is drawn, compared with the others.
    pub(super) weight: u32,
    /// The least that makes a valid object, metadata apart.
    pub(super) base: Value,
    /// What a creation may bring along besides, and what nobody may change later.
    pub(super) at_first: Vec<(&'static str, Vec<Value>)>,
    /// Dotted paths and the values that may stand there; null takes the field away.
    pub(super) edits: Vec<(&'static str, Vec<Value>)>,
    /// The same for the status endpoint; nothing if it is left alone.
    pub(super) status: Vec<(&'static str, Vec<Value>)>,
    /// The fields that are compared besides metadata, `*` for any key or item; nothing stands for everything.
    pub(super) compared: &'static [&'static str],
    /// Whether a replacement by a body written from scratch is valid.
    pub(super) is_replaceable: bool,
}

impl Sample {
    /// The resource behind the kind.
    pub(super) fn resource(&self) -> Result<Kind, String> {
        resource(self.kind)
    }
}

/// The resource of a kind that the pretend cluster has.
pub(super) fn resource(kind: &str) -> Result<Kind, String> {
    Kind::all()
        .find(|known| known.name() == kind)
        .ok_or_else(|| format!("the pretend cluster has no kind {kind:?}; spell it as manifests do"))
}

/// The sample of a kind.
pub(super) fn of(kind: &str) -> Option<Sample> {
    all().into_iter().find(|sample| sample.kind == kind)
}

/// Every sample.
pub(super) fn all() -> Vec<Sample> {
    vec![sei_node(), config_map(), stateful_set(), service(), claim(), job(), pod(), lease()]
}

fn condition(kind: &str, status: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": "Because", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z",
    })
}

fn sei_node() -> Sample {
    Sample {
        kind: "SeiNode",
        weight: 36,
        base: json!({ "spec": { "chainId": "atlantic-2", "image": "seid:1", "fullNode": {} } }),
        at_first: Vec::new(),
        edits: vec![
            ("spec.image", vec![json!("seid:1"), json!("seid:2"), json!("seid:3")]),
            ("spec.paused", vec![json!(true), json!(false), Value::Null]),
            ("spec.externalAddress", vec![json!("a:1"), json!("b:1"), Value::Null]),
            ("spec.overrides.one", vec![json!("1"), json!("2"), Value::Null]),
            ("spec.overrides.two", vec![json!("1"), json!("2"), Value::Null]),
            ("spec.overrides", vec![json!({}), Value::Null]),
            ("spec.podLabels.p", vec![json!("1"), json!("2"), Value::Null]),
            (
                "spec.peers",
                vec![
                    json!([]),
                    json!([{ "static": { "addresses": ["x@a:1"] } }]),
                    json!([{ "static": { "addresses": ["x@a:1", "y@b:1"] } }, { "label": { "selector": { "a": "b" } } }]),
                    Value::Null,
                ],
            ),
            ("status.currentImage", vec![json!("ignored here")]),
        ],
        status: vec![
            ("status.phase", vec![json!("Pending"), json!("Running"), json!("Failed"), Value::Null]),
            ("status.currentImage", vec![json!("seid:1"), json!("seid:2"), Value::Null]),
            (
                "status.resolvedPeers",
                vec![json!(["x@a:1"]), json!(["x@a:1", "y@b:1"]), json!([]), Value::Null],
            ),
            (
                "status.conditions",
                vec![
                    json!([condition("Ready", "True")]),
                    json!([condition("Ready", "False")]),
                    json!([condition("Ready", "True"), condition("Paused", "False")]),
                    json!([condition("Paused", "True")]),
                    json!([]),
                ],
            ),
            ("spec.image", vec![json!("ignored-here:1")]),
        ],
        compared: &[],
        is_replaceable: true,
    }
}

fn config_map() -> Sample {
    let value = || vec![json!("1"), json!("2"), json!("3"), Value::Null];
    Sample {
        kind: "ConfigMap",
        weight: 16,
        base: json!({}),
        at_first: Vec::new(),
        edits: vec![("data.x", value()), ("data.y", value()), ("data", vec![json!({}), Value::Null])],
        status: Vec::new(),
        compared: &["data"],
        is_replaceable: true,
    }
}

fn containers(image: &str) -> Value {
    json!([{ "name": "main", "image": image }])
}

fn stateful_set() -> Sample {
    let with_env = json!([{ "name": "main", "image": "i:1", "env": [{ "name": "E", "value": "1" }] }]);
    let other_env = json!([{ "name": "main", "image": "i:1", "env": [{ "name": "E", "value": "2" }, { "name": "F", "value": "1" }] }]);
    let two = json!([{ "name": "main", "image": "i:1" }, { "name": "side", "image": "i:1" }]);
    Sample {
        kind: "StatefulSet",
        weight: 12,
        base: json!({ "spec": {
            "serviceName": "s",
            "selector": { "matchLabels": { "app": "x" } },
            "template": { "metadata": { "labels": { "app": "x" } }, "spec": { "containers": containers("i:1") } },
        } }),
        at_first: Vec::new(),
        edits: vec![
            ("spec.replicas", vec![json!(0), json!(1), json!(2), Value::Null]),
            ("spec.minReadySeconds", vec![json!(5), json!(10), Value::Null]),
            ("spec.template.metadata.annotations.t", vec![json!("1"), json!("2"), Value::Null]),
            (
                "spec.template.spec.containers",
                vec![containers("i:1"), containers("i:2"), with_env, other_env, two],
            ),
            ("spec.template.spec.nodeSelector.zone", vec![json!("a"), json!("b"), Value::Null]),
        ],
        status: vec![
            ("status.replicas", vec![json!(0), json!(1)]),
            ("status.currentRevision", vec![json!("r1"), json!("r2"), Value::Null]),
            ("status.updateRevision", vec![json!("r1"), json!("r2"), Value::Null]),
        ],
        compared: &[
            "spec.replicas",
            "spec.minReadySeconds",
            "spec.selector",
            "spec.template.metadata",
            "spec.template.spec.nodeSelector",
            "spec.template.spec.containers.*.name",
            "spec.template.spec.containers.*.image",
            "spec.template.spec.containers.*.env",
            "status.replicas",
            "status.currentRevision",
            "status.updateRevision",
        ],
        is_replaceable: true,
    }
}

fn service() -> Sample {
    let port = |number: u16| json!({ "name": format!("p{number}"), "port": number });
    Sample {
        kind: "Service",
        weight: 6,
        base: json!({ "spec": { "clusterIP": "None", "ports": [port(80)], "selector": { "a": "1" } } }),
        at_first: Vec::new(),
        edits: vec![
            ("spec.ports", vec![json!([port(80)]), json!([port(81)]), json!([port(80), port(81)])]),
            ("spec.selector", vec![json!({ "a": "1" }), json!({ "a": "2", "b": "1" })]),
            ("spec.publishNotReadyAddresses", vec![json!(true), Value::Null]),
        ],
        status: Vec::new(),
        compared: &[
            "spec.clusterIP",
            "spec.ports.*.name",
            "spec.ports.*.port",
            "spec.selector",
            "spec.publishNotReadyAddresses",
        ],
        is_replaceable: true,
    }
}

fn claim() -> Sample {
    Sample {
        kind: "PersistentVolumeClaim",
        weight: 8,
        base: json!({ "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } },
            "storageClassName": "fast",
            "volumeMode": "Filesystem",
        } }),
        at_first: Vec::new(),
        edits: Vec::new(),
        status: vec![
            ("status.phase", vec![json!("Pending"), json!("Bound"), json!("Lost")]),
            ("status.accessModes", vec![json!(["ReadWriteOnce"]), Value::Null]),
        ],
        compared: &["spec", "status.phase", "status.accessModes"],
        is_replaceable: true,
    }
}

fn job() -> Sample {
    Sample {
        kind: "Job",
        weight: 6,
        base: json!({ "spec": {
            "suspend": true,
            "template": { "spec": { "restartPolicy": "Never", "containers": containers("i:1") } },
        } }),
        at_first: Vec::new(),
        edits: vec![
            ("spec.suspend", vec![json!(true), json!(false)]),
            ("spec.activeDeadlineSeconds", vec![json!(5), json!(10), Value::Null]),
        ],
        status: Vec::new(),
        compared: &[
            "spec.suspend",
            "spec.activeDeadlineSeconds",
            "spec.selector",
            "spec.template.metadata",
            "spec.template.spec.restartPolicy",
            "spec.template.spec.containers.*.name",
            "spec.template.spec.containers.*.image",
        ],
        is_replaceable: false,
    }
}

fn pod() -> Sample {
    Sample {
        kind: "Pod",
        weight: 10,
        base: json!({ "spec": {
            "automountServiceAccountToken": false,
            "serviceAccountName": "default",
            "containers": containers("i:1"),
        } }),
        at_first: vec![
            ("spec.nodeName", vec![json!("n")]),
            ("spec.terminationGracePeriodSeconds", vec![json!(5)]),
        ],
        edits: vec![("spec.containers", vec![containers("i:1"), containers("i:2")])],
        status: vec![
            ("status.phase", vec![json!("Pending"), json!("Running"), json!("Succeeded"), json!("Failed")]),
            ("status.reason", vec![json!("One"), json!("Two"), Value::Null]),
            ("status.message", vec![json!("one"), json!("two"), Value::Null]),
            (
                "status.conditions",
                vec![
                    json!([{ "type": "Ready", "status": "True" }]),
                    json!([{ "type": "Ready", "status": "False" }]),
                    json!([{ "type": "Ready", "status": "True" }, { "type": "PodScheduled", "status": "True" }]),
                ],
            ),
        ],
        compared: &[
            "spec.automountServiceAccountToken",
            "spec.nodeName",
            "spec.containers.*.name",
            "spec.containers.*.image",
            "status.phase",
            "status.message",
            "status.reason",
        ],
        is_replaceable: false,
    }
}

fn lease() -> Sample {
    Sample {
        kind: "Lease",
        weight: 6,
        base: json!({ "spec": {} }),
        at_first: Vec::new(),
        edits: vec![
            ("spec.holderIdentity", vec![json!("one"), json!("two"), Value::Null]),
            ("spec.leaseDurationSeconds", vec![json!(15), json!(30), Value::Null]),
            ("spec.leaseTransitions", vec![json!(1), json!(2), Value::Null]),
            (
                "spec.renewTime",
                vec![json!("2026-01-02T03:04:05.000006Z"), json!("2026-01-02T03:04:06.000006Z")],
            ),
        ],
        status: Vec::new(),
        compared: &[],
        is_replaceable: true,
    }
}
