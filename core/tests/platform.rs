//! The app-config file: how its text reads, what is checked, in which order and with which words.
#![allow(clippy::unwrap_used, reason = "a test may end early")]

use std::collections::BTreeMap;
use std::fmt::Write;

use seinode_core::platform::{
    BUILTIN, GATEWAY_VARIABLES, Platform, PlatformError, check_gateway, parse, witnesses,
};

fn checked(text: &str) -> Result<Platform, PlatformError> {
    parse(text).and_then(|file| file.check())
}

/// The built-in text with one line replaced.
fn with(line: &str, replacement: &str) -> String {
    assert!(BUILTIN.contains(line), "{line}");
    BUILTIN.replacen(line, replacement, 1)
}

fn message(text: &str) -> String {
    checked(text).unwrap_err().to_string()
}

#[test]
fn an_empty_text_is_an_empty_file() {
    for text in [
        "",
        "\n",
        "# nothing\n",
        "null",
        "~",
        "---\n",
        "{}",
        "other: [1, 2]\n",
        "scheduling:\n",
        "resources: null\n",
    ] {
        assert_eq!(parse(text), Ok(parse("").unwrap()), "{text:?}");
        assert_eq!(
            message(text),
            "scheduling.nodepoolName is required but missing or blank; set it to a text",
            "{text:?}"
        );
    }
}

#[test]
fn required_texts_are_asked_for_in_their_order() {
    let order = [
        (
            "scheduling",
            [
                "nodepoolName",
                "nodepoolArchive",
                "nodepoolValidator",
                "nodepoolSeed",
                "tolerationKey",
                "serviceAccount",
            ]
            .as_slice(),
        ),
        ("storage", ["classPerf", "classDefault", "classArchive", "sizeDefault", "sizeArchive"].as_slice()),
        ("snapshot", ["bucket", "region"].as_slice()),
        ("resultExport", ["bucket", "region", "prefix"].as_slice()),
        ("genesis", ["bucket", "region"].as_slice()),
        ("images", ["sidecar", "kubeRBACProxy", "cosmosExporter"].as_slice()),
    ];
    let mut text = String::new();
    for (section, keys) in order {
        writeln!(text, "{section}:").unwrap();
        for key in keys {
            for blank in ["", "null", "''", "'  '"] {
                let key_path = format!("{section}.{key} is required");
                assert!(message(&format!("{text}  {key}: {blank}\n")).starts_with(&key_path), "{key}");
            }
            let value = if key.starts_with("size") { "1Gi" } else { "x" };
            writeln!(text, "  {key}: {value}").unwrap();
        }
    }
    assert!(checked(&text).is_ok());
}

#[test]
fn the_built_in_values_stand_in_field_by_field() {
    let bare: String = BUILTIN.split("resources:").next().unwrap().to_owned()
        + "snapshot:"
        + BUILTIN.split("snapshot:").nth(1).unwrap();
    let bare = bare.replace("  sizeSeed: 5Gi\n", "");
    let platform = checked(&bare).unwrap();
    let shown = |p: &Platform| {
        let roles = [
            p.resources.validator,
            p.resources.node,
            p.resources.replayer,
            p.resources.archive,
            p.resources.seed,
        ];
        roles.map(|role| format!("{} {}", role.cpu_request, role.memory))
    };
    assert_eq!(shown(&platform), ["16 128Gi", "32 256Gi", "32 256Gi", "64 512Gi", "1 2Gi"]);
    assert_eq!(platform.storage.size_seed.to_string(), "20Gi");
    let some = format!(
        "{bare}resources:\n  node: {{memory: 1.5Gi, cpuRequest: '  '}}\n  seed: {{cpuRequest: 0.5}}\n"
    );
    assert_eq!(
        shown(&checked(&some).unwrap()),
        ["16 128Gi", "32 1536Mi", "32 256Gi", "64 512Gi", "500m 2Gi"]
    );
}

#[test]
fn keys_and_scalars_are_read_leniently() {
    let rows = [
        ("a number", "  nodepoolName: 12\n", "12"),
        ("an octal number", "  nodepoolName: 012\n", "10"),
        ("a float", "  nodepoolName: 0.5\n", "0.5"),
        ("an exponent", "  nodepoolName: 1e3\n", "1000"),
        ("a boolean", "  nodepoolName: on\n", "true"),
        ("quotes", "  nodepoolName: '012'\n", "012"),
        ("blanks inside quotes", "  nodepoolName: ' x '\n", " x "),
        ("another case", "  NODEPOOLNAME: x\n", "x"),
        ("twice", "  nodepoolName: a\n  nodepoolName: b\n", "b"),
        ("twice, in another case", "  NodePoolName: a\n  nodepoolName: b\n", "b"),
        ("an unknown key", "  nodepoolName: x\n  other: {a: [b]}\n", "x"),
    ];
    for (what, lines, expected) in rows {
        let platform = checked(&with("  nodepoolName: lab-rpc\n", lines)).unwrap();
        assert_eq!(platform.scheduling.nodepool_name, expected, "{what}");
    }
    let upper = with("scheduling:", "SCHEDULING:");
    assert_eq!(checked(&upper), Ok(Platform::builtin()));
    let second = format!("{BUILTIN}---\nscheduling: {{nodepoolName: other}}\n");
    assert_eq!(checked(&second), Ok(Platform::builtin()));
    let twice = format!("{BUILTIN}scheduling: {{nodepoolName: other}}\n");
    assert!(
        message(&twice).starts_with("scheduling.nodepoolArchive is required"),
        "the last section counts alone"
    );
}

#[test]
fn wrong_shapes_name_the_key_and_the_shape() {
    for (text, expected) in [
        ("[]", "the whole file must be a map, not a list; write it as a map"),
        ("text", "the whole file must be a map, not a text; write it as a map"),
        ("scheduling: []", "scheduling must be a map, not a list; write it as a map"),
        ("scheduling: ''", "scheduling must be a map, not a text; write it as a map"),
        ("Resources: {node: 3}", "resources.node must be a map, not a text; write it as a map"),
        ("images: {sidecar: {a: b}}", "images.sidecar must be a text, not a map; write it as a text"),
        ("images: {sidecar: [a]}", "images.sidecar must be a text, not a list; write it as a text"),
        ("stateSync: {syncers: [a]}", "stateSync.syncers must be a map, not a list; write it as a map"),
        (
            "stateSync: {syncers: {c: a}}",
            "stateSync.syncers.c must be a list, not a text; write it as a list",
        ),
        (
            "stateSync: {syncers: {c: [[a]]}}",
            "stateSync.syncers.c must be a text, not a list; write it as a text",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
    }
    let broken = parse("scheduling:\n  nodepoolName: [a\n").unwrap_err().to_string();
    assert!(broken.starts_with("line ") && broken.contains("is not usable YAML"), "{broken}");
}

#[test]
fn quantities_are_checked_in_their_order() {
    let resources = "resources:\n  validator: {cpuRequest: xV, memory: xv}\n  node: {cpuRequest: xN, memory: xn}\n  \
                     replayer: {cpuRequest: xR, memory: xr}\n  archive: {cpuRequest: xA, memory: xa}\n  \
                     seed: {cpuRequest: xS, memory: xs}\n";
    // A second section of the same name replaces the first.
    let mut text = format!("{BUILTIN}{resources}");
    for (key, bad, good) in [
        ("resources.validator.cpuRequest", "cpuRequest: xV", "cpuRequest: 0"),
        ("resources.validator.memory", "memory: xv", "memory: -1Gi"),
        ("resources.node.cpuRequest", "cpuRequest: xN", "cpuRequest: ''"),
        ("resources.node.memory", "memory: xn", "memory: 1e3"),
        ("resources.replayer.cpuRequest", "cpuRequest: xR", "cpuRequest: 1500m"),
        ("resources.replayer.memory", "memory: xr", "memory: 12"),
        ("resources.archive.cpuRequest", "cpuRequest: xA", "cpuRequest: 010"),
        ("resources.archive.memory", "memory: xa", "memory: 1.5Gi"),
        ("resources.seed.cpuRequest", "cpuRequest: xS", "cpuRequest: 1"),
        ("resources.seed.memory", "memory: xs", "memory: 1Gi"),
    ] {
        let value = bad.split(' ').nth(1).unwrap();
        let expected = format!("{key} is \"{value}\", which is no Kubernetes quantity");
        assert!(message(&text).starts_with(&expected), "{key}: {}", message(&text));
        text = text.replace(bad, good);
    }
    let platform = checked(&text).unwrap();
    assert_eq!(platform.resources.archive.cpu_request.to_string(), "8", "octal, as YAML 1.1 has it");
    let blank = with("memory: 8Gi", "memory: ' 8Gi'");
    assert!(message(&blank).starts_with("resources.validator.memory is \" 8Gi\""));
}

/// Deliberate difference (S32): sizes of claims are looked at when the program starts, not when a claim is
/// made.
#[test]
fn storage_sizes_are_checked_at_start() {
    for (line, bad, expected) in [
        (
            "sizeDefault: 100Gi",
            "sizeDefault: 2TB?",
            "storage.sizeDefault is \"2TB?\", which is no Kubernetes quantity",
        ),
        (
            "sizeArchive: 1Ti",
            "sizeArchive: 30 Ti",
            "storage.sizeArchive is \"30 Ti\", which is no Kubernetes quantity",
        ),
        ("sizeSeed: 5Gi", "sizeSeed: five", "storage.sizeSeed is \"five\", which is no Kubernetes quantity"),
        ("sizeSeed: 5Gi", "sizeSeed: 0", "storage.sizeSeed is \"0\", but a claim can't be that small"),
        (
            "sizeDefault: 100Gi",
            "sizeDefault: -1Gi",
            "storage.sizeDefault is \"-1Gi\", but a claim can't be that small",
        ),
    ] {
        let message = message(&with(line, bad));
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn gateway_variables_come_between_texts_and_quantities() {
    let mut variables = BTreeMap::new();
    let bad = parse(&with("memory: 8Gi", "memory: much")).unwrap();
    for name in GATEWAY_VARIABLES {
        for blank in [None, Some(""), Some("  ")] {
            if let Some(blank) = blank {
                variables.insert(name.to_owned(), blank.to_owned());
            }
            assert_eq!(check_gateway(&variables), Err(PlatformError::Variable { name }));
            assert_eq!(bad.check_start(&variables), Err(PlatformError::Variable { name }));
        }
        variables.insert(name.to_owned(), "x".to_owned());
    }
    assert_eq!(check_gateway(&variables), Ok(()));
    assert!(matches!(bad.check_start(&variables), Err(PlatformError::Quantity { .. })));
    assert_eq!(parse(BUILTIN).unwrap().check_start(&variables), Ok(Platform::builtin()));
    assert!(matches!(parse("").unwrap().check_start(&BTreeMap::new()), Err(PlatformError::Missing { .. })));
}

#[test]
fn an_error_can_name_its_file_but_a_variable_is_in_none() {
    let error = parse("").unwrap().check().unwrap_err().in_file("/etc/app/config.yaml");
    assert_eq!(
        error.clone().in_file("again").to_string(),
        "/etc/app/config.yaml: scheduling.nodepoolName is required but missing or blank; set it to a text"
    );
    let variable = PlatformError::Variable { name: "SEI_GATEWAY_NAME" };
    assert_eq!(variable.clone().in_file("x"), variable);
}

#[test]
fn witnesses_are_joined_cut_sorted_and_unique() {
    let file = parse(
        "StateSync:\n  syncers:\n    c-1:\n    - 'b:1, a:1'\n    - \"\\ta:1\\r\\nd:1,,\"\n    - null\n    - ''\n    - c:1\n    \
         lonely: [one:1]\n    nothing:\n    7: [x, 8, on]\n",
    )
    .unwrap();
    for (chain, expected) in [
        ("c-1", ["a:1", "b:1", "c:1", "d:1"].as_slice()),
        ("lonely", ["one:1"].as_slice()),
        ("nothing", [].as_slice()),
        ("C-1", [].as_slice()),
        ("7", ["8", "true", "x"].as_slice()),
    ] {
        assert_eq!(witnesses(&file, chain), expected, "{chain}");
    }
}
