//! Replays the committed corpus of the fuzz targets on the stable compiler.
#![cfg(feature = "testkit")]

use std::path::Path;

use seinode_core::testkit::fuzz;

/// A target by its name.
type Target = (&'static str, fn(&[u8]));

#[test]
#[allow(clippy::disallowed_methods, reason = "this test reads files, the core does not")]
fn every_file_of_the_corpus_keeps_the_laws() {
    let targets: [Target; 4] = [
        ("decide", fuzz::decide),
        ("stored_status", fuzz::stored_status),
        ("merge_patch", fuzz::merge_patch),
        ("spec", fuzz::spec),
    ];
    for (name, target) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let files: Vec<_> = std::fs::read_dir(folder).expect("the corpus is committed").flatten().collect();
        assert!(files.len() >= 3, "{name}");
        for file in files {
            target(&std::fs::read(file.path()).expect("a file of the corpus can be read"));
        }
    }
}
