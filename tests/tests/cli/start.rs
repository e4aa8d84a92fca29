//! What the program does before there is any node: the definition, flags, configuration.

use crate::{operator, operator_with};

#[test]
fn crd_prints_the_definition_of_the_library() {
    let ran = operator(["crd"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let printed: serde_json::Value = serde_yaml_ng::from_str(&ran.stdout).unwrap();
    let definition = seinode_core::api::crd::custom_resource_definition();
    assert_eq!(printed, serde_json::to_value(definition).unwrap());
}

#[test]
fn unknown_flags_and_commands_are_a_usage_error() {
    for words in [
        &["run", "--leader"][..],
        &["--no-such-flag"],
        &["-no-such-flag=1"],
        &["no-such-command"],
        &["simulate"],
        &["simulate", "--speed", "0", "x.yaml"],
        &["plan", "-f", "x.yaml", "--platform", "y.yaml", "--now", "noon"],
        &["render", "--node", "x.yaml"],
    ] {
        let ran = operator(words);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{words:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{words:?}: {}", ran.stderr);
    }
}

#[test]
fn run_without_a_platform_file_names_the_first_key() {
    for words in [&["run"][..], &[], &["run", "--platform", "/no/such/file.yaml"]] {
        let ran = operator(words);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{words:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("scheduling.nodepoolName is required"), "{words:?}: {}", ran.stderr);
    }
}

/// A variable that is set to nothing is as good as none.
#[test]
fn a_blank_name_of_the_platform_file_names_the_first_key_too() {
    for blank in ["", "  "] {
        let ran = operator_with(&[("SEI_CONTROLLER_CONFIG", blank)], ["run"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{blank:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("scheduling.nodepoolName is required"), "{blank:?}: {}", ran.stderr);
    }
}

#[test]
fn contradictions_about_leadership_are_refused_with_the_remedy() {
    for (words, remedy) in [
        (&["--shard=2/2"][..], "write INDEX/COUNT"),
        (&["--shard=0/2", "--leader-elect=false"], "leave out --leader-elect=false, or --shard"),
        (&["--leader-elect-lease-duration=4"], "write for example 4s"),
        (&["--leader-elect-renew-deadline=4s"], "must be less than --leader-elect-renew-deadline"),
    ] {
        let ran = operator(words);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{words:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(remedy), "{words:?}: {}", ran.stderr);
    }
}

/// The flags of the Go operator's Deployment, in the forms that Go programs take: the run gets as far as its platform
/// file.
#[test]
fn flags_in_the_style_of_go_are_read() {
    for words in [
        &["-leader-elect=false"][..],
        &["--leader-elect"],
        &["-leader-elect", "-metrics-bind-address=:8080", "-health-probe-bind-address=:8081"],
        &["run", "-metrics-bind-address", "0", "-metrics-secure=false", "-enable-http2=false"],
        &["-zap-devel=true", "-zap-encoder=console", "-zap-log-level=2", "-zap-stacktrace-level=error"],
    ] {
        let ran = operator(words);
        assert_eq!(ran.code, Some(2), "{words:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("scheduling.nodepoolName is required"), "{words:?}: {}", ran.stderr);
    }
}
