//! The core is a function: none of the crates that bring clocks, chance, networks or threads is among what it is built
//! from, at any depth.

#[test]
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this test asks cargo, the core asks nobody"
)]
fn no_runtime_network_or_chance_at_any_depth() {
    const BANNED: [&str; 10] = [
        "tokio",
        "hyper",
        "hyper-util",
        "rustls",
        "rand",
        "getrandom",
        "kube",
        "kube-client",
        "reqwest",
        "async-std",
    ];
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args(["tree", "--offline", "-e", "normal", "-p", env!("CARGO_PKG_NAME"), "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started by the test that cargo started");
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"serde_json"), "the tree was not read: {tree}");
    let found: Vec<_> = BANNED.iter().filter(|name| names.contains(name)).collect();
    assert!(found.is_empty(), "{found:?}");
}
