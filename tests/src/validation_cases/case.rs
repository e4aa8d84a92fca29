//! The validation cases as data: manifests with a verdict in their head. No client here, so that the core's
//! own tests can read them too.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// What is done with the manifests of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One manifest is created.
    Create,
    /// The second manifest replaces the first.
    Update,
    /// The manifest is created, then its `status` is written through the subresource.
    Status,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Folder and file, as in `reject/no-mode`.
    pub name: String,
    /// What is done with the manifests.
    pub kind: Kind,
    /// Whether the last step is taken.
    pub is_accepted: bool,
    /// Whether unknown fields are refused.
    pub is_strict: bool,
    /// Paths that the refusal names, every one of them.
    pub fields: Vec<String>,
    /// The manifests, in order.
    pub manifests: Vec<Value>,
    /// What is stored afterwards: `status` for a status case, `spec` for any other.
    pub stored: Option<Value>,
}

impl Case {
    /// The name of the object, the same in each manifest.
    pub fn object_name(&self) -> &str {
        self.manifests[0]["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The part of an object that [`Case::stored`] is about.
    pub fn part(&self) -> &'static str {
        match self.kind {
            Kind::Create | Kind::Update => "spec",
            Kind::Status => "status",
        }
    }
}

/// The folders, and what is done with their cases.
const FOLDERS: [(&str, Kind); 5] = [
    ("accept", Kind::Create),
    ("defaults", Kind::Create),
    ("reject", Kind::Create),
    ("status", Kind::Status),
    ("transitions", Kind::Update),
];

/// Every case, in the order of names.
///
/// # Panics
/// If the fixtures are not in the checkout, or are not what they should be.
pub fn load() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/fixtures/validation");
    FOLDERS.iter().flat_map(|(folder, kind)| folder_of(&root.join(folder), folder, *kind)).collect()
}

fn folder_of(path: &Path, folder: &str, kind: Kind) -> Vec<Case> {
    let entries = fs::read_dir(path).expect("the fixtures are in the checkout");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files.iter().map(|file| case(file, folder, kind)).collect()
}

fn case(file: &Path, folder: &str, kind: Kind) -> Case {
    let text = fs::read_to_string(file).expect("a fixture can be read");
    let stem = file.file_stem().and_then(|stem| stem.to_str()).expect("names of fixtures are plain");
    let head = |key: &str| -> Vec<String> {
        let lines = text.lines().take_while(|line| line.starts_with('#'));
        lines.filter_map(|line| line.strip_prefix("# ")?.strip_prefix(key)).map(str::to_owned).collect()
    };
    let expected = head("expect: ");
    Case {
        name: format!("{folder}/{stem}"),
        kind,
        is_accepted: expected == ["accepted"],
        is_strict: head("field-validation: ") != ["Ignore"],
        fields: head("field: "),
        manifests: serde_yaml_ng::Deserializer::from_str(&text)
            .map(|document| Value::deserialize(document).expect("a fixture is YAML"))
            .collect(),
        stored: fs::read_to_string(file.with_extension("stored.json"))
            .ok()
            .map(|stored| serde_json::from_str(&stored).expect("a fixture is JSON")),
    }
}
