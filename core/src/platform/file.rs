//! The app-config file as read, and the checks that turn it into [`Platform`].
//!
//! Answers: what each key says, whether all that is required is there (`platform-config.md` 1). Refuses to
//! know: the form of names, images and witnesses. Laws: unknown keys never matter; the first fault in a fixed
//! order is the one reported.

use std::collections::{BTreeMap, BTreeSet};

use super::error::PlatformError;
use super::key::built_in;
use super::yaml::{self, Node};
use super::{Bucket, Images, Platform, Resources, ResultExport, RoleResources, Scheduling, Storage};
use crate::quantity::Quantity;

/// What a file says, unchecked: text by dotted key, and the witness registry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlatformFile {
    texts: BTreeMap<String, String>,
    /// Witness entries by chain id (`stateSync.syncers`), untidied.
    pub syncers: BTreeMap<String, Vec<String>>,
}

/// Reads the text of an app-config file. An empty text is an empty file; the checks are
/// [`PlatformFile::check`].
pub fn parse(text: &str) -> Result<PlatformFile, PlatformError> {
    let mut file = PlatformFile::default();
    file.fill(&yaml::read(text)?, SCHEMA, "")?;
    Ok(file)
}

/// The light-client witnesses of a chain: entries joined, cut at commas and blanks, sorted and unique.
pub fn witnesses(file: &PlatformFile, chain_id: &str) -> Vec<String> {
    let entries = file.syncers.get(chain_id).into_iter().flatten();
    let pieces = entries.flat_map(|entry| entry.split([',', ' ', '\t', '\r', '\n']));
    let unique: BTreeSet<&str> = pieces.filter(|piece| !piece.is_empty()).collect();
    unique.into_iter().map(str::to_owned).collect()
}

/// The environment variables that must hold a text beside the file; nothing here uses their values.
pub const GATEWAY_VARIABLES: [&str; 3] = ["SEI_GATEWAY_NAME", "SEI_GATEWAY_NAMESPACE", "SEI_GATEWAY_DOMAIN"];

/// Checks the gateway variables, in their order.
pub fn check_gateway(variables: &BTreeMap<String, String>) -> Result<(), PlatformError> {
    let is_blank = |name: &str| variables.get(name).is_none_or(|value| value.trim().is_empty());
    match GATEWAY_VARIABLES.into_iter().find(|name| is_blank(name)) {
        Some(name) => Err(PlatformError::Variable { name }),
        None => Ok(()),
    }
}

impl PlatformFile {
    /// The text of a dotted key, spelled as in the documentation; empty if absent.
    pub fn text(&self, key: &str) -> &str {
        self.texts.get(key).map_or("", String::as_str)
    }

    /// Checks the file alone: required texts, then quantities.
    pub fn check(&self) -> Result<Platform, PlatformError> {
        self.check_required()?;
        self.settings()
    }

    /// Checks everything that a start needs, in the order of a start: required texts, gateway variables,
    /// quantities.
    pub fn check_start(&self, variables: &BTreeMap<String, String>) -> Result<Platform, PlatformError> {
        self.check_required()?;
        check_gateway(variables)?;
        self.settings()
    }

    fn check_required(&self) -> Result<(), PlatformError> {
        match REQUIRED.into_iter().find(|key| self.text(key).trim().is_empty()) {
            Some(key) => Err(PlatformError::Missing { key }),
            None => Ok(()),
        }
    }

    fn settings(&self) -> Result<Platform, PlatformError> {
        let own = |key: &str| self.text(key).to_owned();
        let bucket = |bucket, region| Bucket { bucket: own(bucket), region: own(region) };
        Ok(Platform {
            resources: self.resources()?,
            storage: Storage {
                class_perf: own("storage.classPerf"),
                class_default: own("storage.classDefault"),
                class_archive: own("storage.classArchive"),
                size_default: self.size("storage.sizeDefault")?,
                size_archive: self.size("storage.sizeArchive")?,
                size_seed: self.size("storage.sizeSeed")?,
            },
            scheduling: Scheduling {
                nodepool_name: own("scheduling.nodepoolName"),
                nodepool_archive: own("scheduling.nodepoolArchive"),
                nodepool_validator: own("scheduling.nodepoolValidator"),
                nodepool_seed: own("scheduling.nodepoolSeed"),
                toleration_key: own("scheduling.tolerationKey"),
                service_account: own("scheduling.serviceAccount"),
            },
            snapshot: bucket("snapshot.bucket", "snapshot.region"),
            genesis: bucket("genesis.bucket", "genesis.region"),
            result_export: ResultExport {
                target: bucket("resultExport.bucket", "resultExport.region"),
                prefix: own("resultExport.prefix"),
            },
            images: Images {
                sidecar: own("images.sidecar"),
                kube_rbac_proxy: own("images.kubeRBACProxy"),
                cosmos_exporter: own("images.cosmosExporter"),
            },
        })
    }

    /// The overrides of CPU and memory, each falling back by itself (`platform-config.md` 1.2).
    fn resources(&self) -> Result<Resources, PlatformError> {
        let role = |cpu, memory| {
            Ok::<_, PlatformError>(RoleResources {
                cpu_request: self.quantity(cpu)?,
                memory: self.quantity(memory)?,
            })
        };
        Ok(Resources {
            validator: role("resources.validator.cpuRequest", "resources.validator.memory")?,
            node: role("resources.node.cpuRequest", "resources.node.memory")?,
            replayer: role("resources.replayer.cpuRequest", "resources.replayer.memory")?,
            archive: role("resources.archive.cpuRequest", "resources.archive.memory")?,
            seed: role("resources.seed.cpuRequest", "resources.seed.memory")?,
        })
    }

    /// A size of a claim. Unlike other quantities it must be above zero: the API server takes no other claim.
    fn size(&self, key: &'static str) -> Result<Quantity, PlatformError> {
        let size = self.quantity(key)?;
        if size.is_positive() {
            return Ok(size);
        }
        Err(PlatformError::Size { key, value: self.text(key).to_owned() })
    }

    fn quantity(&self, key: &'static str) -> Result<Quantity, PlatformError> {
        let own = self.text(key);
        let value = if own.trim().is_empty() { built_in(key) } else { own };
        Quantity::parse(value).map_err(|source| PlatformError::Quantity {
            key,
            value: value.to_owned(),
            example: if key.ends_with("cpuRequest") { "4 or 500m" } else { "100Gi" },
            source,
        })
    }

    fn fill(&mut self, node: &Node, fields: &[(&str, Shape)], path: &str) -> Result<(), PlatformError> {
        // Keys that differ only in case meet in one place; the tree's order (capitals first) decides which is
        // last.
        for (name, value) in entries(node, path)? {
            let exact = fields.iter().find(|(field, _)| field == name);
            let Some((field, shape)) =
                exact.or_else(|| fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)))
            else {
                continue;
            };
            let key = if path.is_empty() { (*field).to_owned() } else { format!("{path}.{field}") };
            match shape {
                Shape::Section(fields) => self.fill(value, fields, &key)?,
                Shape::Registry => self.fill_registry(value, &key)?,
                Shape::Text => {
                    if let Some(text) = text(value, &key)? {
                        self.texts.insert(key, text);
                    }
                }
            }
        }
        Ok(())
    }

    fn fill_registry(&mut self, node: &Node, path: &str) -> Result<(), PlatformError> {
        for (chain, value) in entries(node, path)? {
            let key = format!("{path}.{chain}");
            let list = match value {
                Node::Null => Vec::new(),
                Node::List(items) => items
                    .iter()
                    .map(|item| Ok(text(item, &key)?.unwrap_or_default()))
                    .collect::<Result<_, PlatformError>>()?,
                Node::Text(_) | Node::Map(_) => return Err(shape_error(&key, "a list", value)),
            };
            self.syncers.insert(chain.clone(), list);
        }
        Ok(())
    }
}

fn entries<'a>(
    node: &'a Node,
    path: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Node)>, PlatformError> {
    match node {
        Node::Null => Ok(None.into_iter().flatten()),
        Node::Map(entries) => Ok(Some(entries).into_iter().flatten()),
        Node::Text(_) | Node::List(_) => {
            Err(shape_error(if path.is_empty() { "the whole file" } else { path }, "a map", node))
        }
    }
}

fn text(node: &Node, key: &str) -> Result<Option<String>, PlatformError> {
    match node {
        Node::Null => Ok(None),
        Node::Text(text) => Ok(Some(text.clone())),
        Node::List(_) | Node::Map(_) => Err(shape_error(key, "a text", node)),
    }
}

fn shape_error(key: &str, wanted: &'static str, found: &Node) -> PlatformError {
    PlatformError::Shape { key: key.to_owned(), wanted, found: found.shape() }
}

/// What may stand at a key.
enum Shape {
    Registry,
    Section(&'static [(&'static str, Shape)]),
    Text,
}

/// CPU and memory, the same for each role.
const ROLE: Shape = Shape::Section(&[("cpuRequest", Shape::Text), ("memory", Shape::Text)]);

/// Every key there is (`platform-config.md` 1.1).
const SCHEMA: &[(&str, Shape)] = &[
    (
        "scheduling",
        Shape::Section(&[
            ("nodepoolName", Shape::Text),
            ("nodepoolArchive", Shape::Text),
            ("nodepoolValidator", Shape::Text),
            ("nodepoolSeed", Shape::Text),
            ("tolerationKey", Shape::Text),
            ("serviceAccount", Shape::Text),
        ]),
    ),
    (
        "storage",
        Shape::Section(&[
            ("classPerf", Shape::Text),
            ("classDefault", Shape::Text),
            ("classArchive", Shape::Text),
            ("sizeDefault", Shape::Text),
            ("sizeArchive", Shape::Text),
            ("sizeSeed", Shape::Text),
        ]),
    ),
    (
        "resources",
        Shape::Section(&[
            ("validator", ROLE),
            ("node", ROLE),
            ("replayer", ROLE),
            ("archive", ROLE),
            ("seed", ROLE),
        ]),
    ),
    ("snapshot", Shape::Section(&[("bucket", Shape::Text), ("region", Shape::Text)])),
    ("genesis", Shape::Section(&[("bucket", Shape::Text), ("region", Shape::Text)])),
    (
        "resultExport",
        Shape::Section(&[("bucket", Shape::Text), ("region", Shape::Text), ("prefix", Shape::Text)]),
    ),
    (
        "images",
        Shape::Section(&[
            ("sidecar", Shape::Text),
            ("kubeRBACProxy", Shape::Text),
            ("cosmosExporter", Shape::Text),
        ]),
    ),
    ("stateSync", Shape::Section(&[("syncers", Shape::Registry)])),
];

/// Keys without which nothing starts, in the order they are asked for (`platform-config.md` 1.4).
pub const REQUIRED: [&str; 21] = [
    "scheduling.nodepoolName",
    "scheduling.nodepoolArchive",
    "scheduling.nodepoolValidator",
    "scheduling.nodepoolSeed",
    "scheduling.tolerationKey",
    "scheduling.serviceAccount",
    "storage.classPerf",
    "storage.classDefault",
    "storage.classArchive",
    "storage.sizeDefault",
    "storage.sizeArchive",
    "snapshot.bucket",
    "snapshot.region",
    "resultExport.bucket",
    "resultExport.region",
    "resultExport.prefix",
    "genesis.bucket",
    "genesis.region",
    "images.sidecar",
    "images.kubeRBACProxy",
    "images.cosmosExporter",
];

#[cfg(test)]
mod tests {
    use super::super::key::KEYS;
    use super::*;

    /// The keys of a section, with it.
    fn names(fields: &[(&str, Shape)], path: &str) -> Vec<String> {
        let of = |(name, shape): &(&str, Shape)| {
            let whole = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
            match shape {
                Shape::Section(fields) => names(fields, &whole),
                Shape::Registry | Shape::Text => vec![whole],
            }
        };
        fields.iter().flat_map(of).collect()
    }

    #[test]
    fn every_key_is_described_and_every_description_has_its_key() {
        let described: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(names(SCHEMA, ""), described);
        for key in KEYS.iter().filter(|key| REQUIRED.contains(&key.name)) {
            assert_eq!(key.built_in, "", "{} is required and has a built-in value", key.name);
        }
    }
}
