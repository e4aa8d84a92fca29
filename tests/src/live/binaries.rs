//! Answers: where are the binaries of the control plane? In `KUBEBUILDER_ASSETS` if that is set, else built
//! from the versions that `tests/control-plane` pins, once for each change of those.
//!
//! Refuses to know any version: the Go module files have them.
//!
//! Upholds: a folder in the cache is complete or not there, and two test binaries never build at once.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio::time::timeout;

use super::error::tail;
use super::{Component, LiveError};

/// A folder with the components, and usually kubectl.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    pub(super) async fn locate() -> Result<Self, LiveError> {
        match std::env::var_os("KUBEBUILDER_ASSETS") {
            Some(folder) => Self::given(folder.into()),
            None => Self::cached(&cache()?).await,
        }
    }

    /// The path of a binary. kubectl is the only one that may be missing.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn given(folder: PathBuf) -> Result<Self, LiveError> {
        let missing =
            Component::ALL.iter().map(|component| component.name()).find(|name| !folder.join(name).is_file());
        match missing {
            Some(missing) => Err(LiveError::Assets { folder, missing }),
            None => Ok(Self { folder }),
        }
    }

    async fn cached(cache: &Path) -> Result<Self, LiveError> {
        let folder = cache.join(format!("control-plane-{}", key()));
        if !folder.is_dir() {
            let _alone = lock(cache).await?;
            if !folder.is_dir() {
                build(&folder).await?;
            }
        }
        Ok(Self { folder })
    }
}

/// Builds next to the folder, which appears when all is done. What an interrupted build left there is replaced.
async fn build(folder: &Path) -> Result<(), LiveError> {
    // Past the capture of test output: whoever waits should see why.
    let _ = writeln!(io::stderr(), "building a control plane for the tests, once, in {}", folder.display());
    let draft = folder.with_extension("building");
    fs::create_dir_all(&draft).map_err(LiveError::io("make a folder to build in"))?;
    let flags = linker_flags();
    let kubernetes = [
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kubectl",
    ];
    go_build("etcd", ETCD, &flags, &draft.join("etcd"), &["go.etcd.io/etcd/server/v3"]).await?;
    go_build("Kubernetes", KUBERNETES, &flags, &draft, &kubernetes).await?;
    fs::rename(&draft, folder).map_err(LiveError::io("move the binaries into place"))
}

pub(crate) async fn go_build(
    what: &'static str,
    module: &str,
    flags: &str,
    output: &Path,
    packages: &[&str],
) -> Result<(), LiveError> {
    let run = Command::new("go")
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", flags, "-o"])
        .arg(output)
        .args(packages)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let limit = |_| LiveError::Build { what, output: format!("not done after {BUILD_LIMIT:?}") };
    match timeout(BUILD_LIMIT, run).await.map_err(limit)? {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(LiveError::Build { what, output: tail(&done.stderr) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LiveError::NoGo { go: pinned("go") }),
        Err(source) => Err(LiveError::Io { what: format!("run go to build {what}"), source }),
    }
}

/// Waits until nobody else builds. The system gives the lock back when the file is closed, however that comes
/// about.
pub(crate) async fn lock(cache: &Path) -> Result<File, LiveError> {
    let path = cache.join("control-plane.lock");
    let waiting = tokio::task::spawn_blocking(move || {
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        file.lock()?;
        Ok(file)
    });
    waiting
        .await
        .map_err(io::Error::from)
        .flatten()
        .map_err(LiveError::io("lock the cache of the control plane"))
}

pub(crate) fn cache() -> Result<PathBuf, LiveError> {
    let folder = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("SEINODE_TEST_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("seinode-operator")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/seinode-operator")))
        .ok_or(LiveError::Cache)
}

/// Changes with all that the binaries are made of, except the Go compiler.
fn key() -> String {
    let mut hash = Sha256::new();
    for part in [KUBERNETES_MOD, KUBERNETES_SUM, ETCD_MOD, ETCD_SUM, &linker_flags()] {
        hash.update(part);
        // A byte that no text has: parts that are cut elsewhere are other parts.
        hash.update([0xff]);
    }
    let digest: Vec<_> = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    digest.concat()
}

/// Without symbols, and with the version that the server is to report.
fn linker_flags() -> String {
    let version = pinned("k8s.io/kubernetes");
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    format!(
        "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    )
}

/// The version that the module file of Kubernetes has for a module, or for Go itself.
fn pinned(name: &str) -> &'static str {
    let version = |line: &'static str| {
        let line = line.trim_start_matches("require ").trim();
        line.strip_prefix(name)?.strip_prefix(' ')
    };
    KUBERNETES_MOD.lines().find_map(version).unwrap_or_default()
}

const KUBERNETES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/control-plane");
const KUBERNETES_MOD: &str = include_str!("../../control-plane/go.mod");
const KUBERNETES_SUM: &str = include_str!("../../control-plane/go.sum");
const ETCD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/control-plane/etcd");
const ETCD_MOD: &str = include_str!("../../control-plane/etcd/go.mod");
const ETCD_SUM: &str = include_str!("../../control-plane/etcd/go.sum");

/// Five minutes on two idle cores; busy ones and slow networks take several times that.
const BUILD_LIMIT: Duration = Duration::from_hours(1);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_module_file() {
        let version = pinned("k8s.io/kubernetes");
        assert!(version.starts_with("v1."), "{version}");
        assert!(pinned("go").starts_with("1."));
        assert_eq!(pinned("no.such/module"), "");
        assert!(linker_flags().contains(&format!("gitVersion={version} ")));
    }

    #[test]
    fn assets_must_be_complete() {
        let folder = tempfile::tempdir().unwrap();
        for component in [Component::ControllerManager, Component::ApiServer] {
            fs::write(folder.path().join(component.name()), "").unwrap();
        }
        let error = Binaries::given(folder.path().to_owned()).unwrap_err();
        assert!(matches!(error, LiveError::Assets { missing: "etcd", .. }), "{error}");
        fs::write(folder.path().join("etcd"), "").unwrap();
        Binaries::given(folder.path().to_owned()).unwrap();
    }
}
