//! What a sidecar process finds around it: its environment variables, the node program, the object store.
//!
//! Answers: which chain it serves, whether the node program runs, which objects exist.
//! Refuses to know: tasks.
//! Upholds: a process with variables that the real one refuses does not start.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// The surroundings of one process.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `SEI_CHAIN_ID`.
    pub chain: String,
    /// Whether a keyring backend is set.
    pub has_keyring: bool,
    /// The node program in the same pod.
    pub seid: Seid,
    /// The object store, shared by all sidecars of a test.
    pub bucket: Bucket,
    /// Demand this bearer token, as the proxy does; `None` lets everybody in.
    pub token: Option<String>,
    /// Health paths need no token (production pods; the proxy of a bootstrap pod guards them too).
    pub health_is_open: bool,
}

/// Why a process exits right after its start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StartError {
    /// A variable is absent or empty.
    #[error("required environment variable {0} is not set")]
    Missing(&'static str),
    /// A variable has a value that the program refuses.
    #[error("{name}={value:?} is not recognized")]
    Refused {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

impl Surroundings {
    /// Surroundings for one chain, with everything else at its simplest.
    pub fn new(chain: &str) -> Self {
        Self { chain: chain.to_owned(), health_is_open: true, ..Self::default() }
    }

    /// Reads a container's variables as the program does at its start.
    pub fn from_variables(variables: &BTreeMap<String, String>) -> Result<Self, StartError> {
        let read = |name| variables.get(name).map_or("", String::as_str);
        for name in REQUIRED {
            if read(name).is_empty() {
                return Err(StartError::Missing(name));
            }
        }
        let mode = read(AUTHN).trim().to_ascii_lowercase();
        if !["", "unauthenticated", "trusted-header"].contains(&mode.as_str()) {
            return Err(StartError::Refused { name: AUTHN, value: read(AUTHN).to_owned() });
        }
        let keyring = read(KEYRING);
        if !["", "test", "file", "os"].contains(&keyring) {
            return Err(StartError::Refused { name: KEYRING, value: keyring.to_owned() });
        }
        if keyring == "file" && !variables.contains_key(PASSPHRASE) {
            return Err(StartError::Missing(PASSPHRASE));
        }
        let mut found = Self::new(read("SEI_CHAIN_ID"));
        found.has_keyring = !keyring.is_empty();
        Ok(found)
    }
}

const REQUIRED: [&str; 5] = [
    "SEI_CHAIN_ID",
    "SEI_GENESIS_BUCKET",
    "SEI_GENESIS_REGION",
    "SEI_SNAPSHOT_BUCKET",
    "SEI_SNAPSHOT_REGION",
];
const AUTHN: &str = "SEI_SIDECAR_AUTHN_MODE";
const KEYRING: &str = "SEI_KEYRING_BACKEND";
const PASSPHRASE: &str = "SEI_KEYRING_PASSPHRASE";

/// The node program as the sidecar sees it; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Seid(Arc<Mutex<Option<u64>>>);

impl Seid {
    /// Starts the program at a height; from now on its RPC answers.
    pub fn start(&self, height: u64) {
        self.set(Some(height));
    }

    /// Ends the program, as SIGTERM does.
    pub fn stop(&self) {
        self.set(None);
    }

    /// The latest height, while it runs.
    pub fn height(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, height: Option<u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = height;
    }
}

/// The object store; clones share it.
///
/// A generous one (the default) has every genesis file, peer list and snapshot that is asked for; a strict one
/// only what was put there.
#[derive(Clone, Debug, Default)]
pub struct Bucket(Arc<Mutex<Shelf>>);

#[derive(Debug, Default)]
struct Shelf {
    strict: bool,
    objects: BTreeMap<String, Value>,
}

impl Bucket {
    /// A store that holds only what is put into it.
    pub fn strict() -> Self {
        Self(Arc::new(Mutex::new(Shelf { strict: true, objects: BTreeMap::new() })))
    }

    /// Stores an object.
    pub fn put(&self, key: &str, object: Value) {
        self.with(|shelf| shelf.objects.insert(key.to_owned(), object));
    }

    /// An object; a generous store has null under every key.
    pub fn read(&self, key: &str) -> Option<Value> {
        self.with(|shelf| match shelf.objects.get(key) {
            None if !shelf.strict => Some(Value::Null),
            found => found.cloned(),
        })
    }

    /// Keys under a prefix that were really put there.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.with(|shelf| shelf.objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    /// Whether the store only has what was put into it.
    pub fn is_strict(&self) -> bool {
        self.with(|shelf| shelf.strict)
    }

    fn with<R>(&self, act: impl FnOnce(&mut Shelf) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
