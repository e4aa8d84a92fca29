//! No container engine is needed to read a Dockerfile: the rules that it must keep.

use crate::{CHART, read};

/// Instruction and arguments, continuation lines joined, comments left out.
fn instructions() -> Vec<(String, String)> {
    let text = read("deploy/Dockerfile").replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &str| {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        (word.to_owned(), rest.trim().to_owned())
    };
    lines.map(split).collect()
}

fn of(word: &str) -> Vec<String> {
    instructions().into_iter().filter(|(w, _)| w == word).map(|(_, rest)| rest).collect()
}

/// What follows the last FROM: the image itself.
fn last_stage() -> Vec<(String, String)> {
    let all = instructions();
    let start = all.iter().rposition(|(word, _)| word == "FROM").unwrap();
    all[start..].to_vec()
}

#[test]
fn the_images_are_named_with_a_version() {
    let arguments = of("ARG");
    for from in of("FROM") {
        let name = from.split_whitespace().next().unwrap().trim_matches(['$', '{', '}']);
        let given = arguments.iter().find_map(|a| a.strip_prefix(&format!("{name}=")));
        let image = given.unwrap_or_else(|| panic!("FROM {from}: no ARG gives a default"));
        let tag = image.rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default();
        assert!(!tag.is_empty() && !tag.contains('/') && tag != "latest", "{image} has no version");
    }
    let toolchain = read("rust-toolchain.toml");
    let version = toolchain.lines().find_map(|l| l.strip_prefix("channel = ")).unwrap().trim_matches('"');
    assert!(arguments.iter().any(|a| a.contains(&format!("rust:{version}-"))), "not Rust {version}");
}

#[test]
fn the_compiler_stays_behind() {
    assert_eq!(of("FROM").len(), 2);
    let copies: Vec<_> = last_stage().into_iter().filter(|(word, _)| word == "COPY").collect();
    assert!(!copies.is_empty());
    for (_, what) in copies {
        assert!(what.starts_with("--from=build "), "COPY {what} brings files of the checkout");
    }
    assert!(of("ADD").is_empty(), "ADD unpacks and downloads");
}

#[test]
fn nothing_of_the_image_needs_a_shell_or_root() {
    let stage = last_stage();
    let at = |word: &str| stage.iter().filter(|(w, _)| w == word).map(|(_, rest)| rest).collect::<Vec<_>>();
    assert!(at("RUN").is_empty() && at("CMD").is_empty() && at("SHELL").is_empty());
    assert!(
        of("ARG")
            .iter()
            .any(|a| a.starts_with("BASE=") && a.contains("distroless") && a.ends_with(":nonroot"))
    );
    let [user] = at("USER")[..] else { panic!("not one USER") };
    // In numbers: runAsNonRoot can't tell for a name.
    let uid: u32 = user.split(':').next().unwrap().parse().unwrap();
    let rendered = read("deploy/kustomize/base/operator.yaml");
    assert!(uid > 0 && rendered.contains(&format!("runAsUser: {uid}\n")));
    let [entry] = at("ENTRYPOINT")[..] else { panic!("not one ENTRYPOINT") };
    let entry: Vec<String> = serde_json::from_str(entry).unwrap();
    assert_eq!(entry, ["/seinode-operator"]);
    assert!(read(&format!("{CHART}/templates/deployment.yaml")).contains("command: [/seinode-operator]"));
}

#[test]
fn the_build_step_is_the_script() {
    let runs = of("RUN");
    assert_eq!(runs, ["deploy/build /out"]);
    let copied = of("COPY").into_iter().filter(|c| c.contains("/out/seinode-operator")).count();
    assert_eq!(copied, 2, "the program under both names");
}

/// What the context must not carry into the build: it would end in the cache, or in the image.
#[test]
fn the_context_has_no_history_and_no_build() {
    let ignored = read(".dockerignore");
    for folder in [".git", "target"] {
        assert!(ignored.lines().any(|line| line == folder), "{folder}");
    }
}
