//! What `plan` and `render` are given: a node as the API server stores it, the platform's settings, live objects.
//!
//! Answers: is the input readable, and what does it say. A node that only the planner refuses is readable: what the
//! operator would say about it is for the pass to tell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use seinode_core::api::mode;
use seinode_core::api::{self, SeiNode, admission};
use seinode_core::platform::{self, Platform, PlatformError, PlatformFile};
use serde_json::{Map, Value, json};

use crate::manifest::{self, ManifestError};

/// Field that every id of a plan, and every owner reference, is made from.
pub const UID: &str = "metadata.uid";
/// Field that every id of a plan is made from.
pub const VERSION: &str = "metadata.resourceVersion";

/// Uid of a node whose manifest names none.
const NO_UID: &str = "00000000-0000-0000-0000-000000000000";
/// Version of a node whose manifest names none.
const NO_VERSION: &str = "0";

/// An input that can't be used; the text names file, field and remedy.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A manifest that can't be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The platform file could not be read.
    #[error("{}: can't be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A node to look at, complete with what every stored node has.
#[derive(Clone, Debug)]
pub struct GivenNode {
    /// The node.
    pub node: SeiNode,
    /// What the manifest lacks of the fields that ids are derived from; zeros stand in for it.
    pub zeroed: Vec<&'static str>,
}

/// Reads the one SeiNode of a file, status included.
pub fn node(path: &Path) -> Result<GivenNode, InputError> {
    let documents = manifest::documents(path)?;
    let [document] = documents.as_slice() else {
        let text = format!("the file holds {} objects; put one SeiNode into it", documents.len());
        return Err(refused(path, text));
    };
    let mut document = document.clone();
    let status = match &mut document {
        Value::Object(fields) => {
            if let Some(Value::Object(meta)) = fields.get_mut("metadata") {
                meta.entry("namespace").or_insert(json!("default"));
            }
            fields.remove("status")
        }
        _ => None,
    };
    let mut whole = admitted(&document).map_err(|text| refused(path, text))?;
    if let (Value::Object(fields), Some(status)) = (&mut whole, status) {
        fields.insert("status".to_owned(), status);
    }
    let node: SeiNode =
        serde_json::from_value(whole).map_err(|error| refused(path, format!("metadata: {error}")))?;
    if let Some(text) = &node.unreadable {
        return Err(refused(path, format!("{text}; correct the field")));
    }
    Ok(completed(node))
}

/// The object with its defaults, unless no API server would ever have stored it. What the planner refuses too is left
/// to the planner, and what is stored already is judged like an update that changes nothing.
fn admitted(document: &Value) -> Result<Value, String> {
    let is_stored = document.pointer("/metadata/resourceVersion").is_some_and(|v| !v.is_null());
    let judged =
        if is_stored { admission::check_update(document, document) } else { admission::check(document) };
    judged.or_else(|errors| {
        let node =
            serde_json::from_value::<SeiNode>(document.clone()).ok().filter(|n| n.unreadable.is_none());
        let is_ours = document.get("kind") == Some(&json!(api::KIND))
            && node.as_ref().is_some_and(|n| !n.name().is_empty());
        match node.map(|n| mode::validate(&n.spec)) {
            Some(Err(error)) if is_ours && error.mode.is_some() => Ok(document.clone()),
            _ => Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    })
}

/// Fills in what an API server gives every object, and the finalizer that is there before anything else happens.
fn completed(mut node: SeiNode) -> GivenNode {
    let mut zeroed = Vec::new();
    if node.uid().is_empty() {
        node.metadata.uid = Some(NO_UID.to_owned());
        zeroed.push(UID);
    }
    if node.resource_version().is_empty() {
        node.metadata.resource_version = Some(NO_VERSION.to_owned());
        zeroed.push(VERSION);
    }
    // A new object has generation 1.
    node.metadata.generation.get_or_insert(1);
    if !node.has_finalizer() && !node.is_deleting() {
        node.metadata.finalizers.get_or_insert_default().push(api::FINALIZER.to_owned());
    }
    GivenNode { node, zeroed }
}

/// The platform's settings as read: usable, or refused by what the operator would say at its start.
#[derive(Debug)]
pub struct GivenPlatform {
    /// The checked settings.
    pub settings: Result<Platform, PlatformError>,
    /// The witness registry.
    pub file: PlatformFile,
}

/// Reads a platform file; a folder stands for the `platform.yaml` in it. The gateway variables serve no purpose here,
/// so none are asked for.
pub fn platform(path: &Path) -> Result<GivenPlatform, InputError> {
    let path = if path.is_dir() { path.join("platform.yaml") } else { path.to_owned() };
    let text = std::fs::read_to_string(&path)
        .map_err(|source| InputError::Unreadable { path: path.clone(), source })?;
    let named = path.display().to_string();
    Ok(match platform::parse(&text) {
        Ok(file) => GivenPlatform { settings: file.check().map_err(|error| error.in_file(&named)), file },
        Err(error) => GivenPlatform { settings: Err(error.in_file(&named)), file: PlatformFile::default() },
    })
}

/// Live objects by kind. A kind that was brought at all is known as a whole: what is not among its objects is absent.
#[derive(Clone, Debug, Default)]
pub struct Brought {
    kinds: BTreeMap<String, Vec<Value>>,
}

impl Brought {
    /// Reads files of objects and lists of objects, as `kubectl get -o yaml` prints them. The second part tells which
    /// kinds were left out because no decision looks at them.
    pub fn read(paths: &[PathBuf]) -> Result<(Self, Vec<String>), InputError> {
        let (mut brought, mut notes) = (Self::default(), Vec::new());
        for path in paths {
            for document in manifest::documents(path)? {
                brought.take(path, document, "", &mut notes)?;
            }
        }
        Ok((brought, notes))
    }

    fn take(
        &mut self,
        path: &Path,
        mut object: Value,
        implied: &str,
        notes: &mut Vec<String>,
    ) -> Result<(), InputError> {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or(implied).to_owned();
        if let Some(of) = kind.strip_suffix("List") {
            let items = object.get_mut("items").map(Value::take);
            if KINDS.contains(&of) {
                self.kinds.entry(of.to_owned()).or_default();
            }
            for item in items.as_ref().and_then(Value::as_array).into_iter().flatten() {
                self.take(path, item.clone(), of, notes)?;
            }
            return Ok(());
        }
        if kind.is_empty() {
            return Err(refused(path, "kind: is missing; bring manifests of live objects".to_owned()));
        }
        if !KINDS.contains(&kind.as_str()) {
            notes.push(format!("{}: kind {kind} is not looked at", path.display()));
            return Ok(());
        }
        let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return Err(refused(path, format!("metadata: is missing on a {kind}; give it a metadata.name")));
        };
        identify(meta);
        self.kinds.entry(kind).or_default().push(object);
        Ok(())
    }

    /// The objects of a kind in a namespace (of all of them if empty), or `None` if the kind was not brought.
    pub(super) fn of(&self, kind: &str, namespace: &str) -> Option<Vec<&Value>> {
        let objects = self.kinds.get(kind)?;
        let is_here = |o: &&Value| {
            namespace.is_empty()
                || o.pointer("/metadata/namespace").and_then(Value::as_str) == Some(namespace)
        };
        Some(objects.iter().filter(is_here).collect())
    }
}

/// Kinds that a decision looks at.
const KINDS: [&str; 9] = [
    "ConfigMap",
    "Job",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    api::KIND,
    "Secret",
    "Service",
    "StatefulSet",
];

/// What every live object has.
fn identify(meta: &mut Map<String, Value>) {
    meta.entry("namespace").or_insert(json!("default"));
    meta.entry("uid").or_insert(json!(NO_UID));
    meta.entry("resourceVersion").or_insert(json!(NO_VERSION));
}

pub(super) fn refused(path: &Path, text: String) -> InputError {
    InputError::Manifest(ManifestError::Refused { path: path.to_owned(), text })
}
