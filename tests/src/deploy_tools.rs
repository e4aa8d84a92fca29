//! Answers: where are helm and kustomize? In `SEINODE_DEPLOY_TOOLS` if that is set, else built from the versions
//! that `tests/deploy-tools` pins, each by itself and once for each change of its version.
//!
//! Upholds: a tool in the cache is complete or not there, and two test binaries never build at once.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio::time::timeout;

use crate::live::LiveError;
use crate::live::binaries::{cache, go_build, lock};

/// A tool that reads what is in `deploy/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Renders and installs the chart.
    Helm,
    /// Builds the kustomizations.
    Kustomize,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Helm => "helm",
            Self::Kustomize => "kustomize",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Kustomize => "sigs.k8s.io/kustomize/kustomize/v5",
        }
    }

    fn module(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy-tools").join(self.name())
    }

    /// Runs it, with nothing of the user's own settings; what the arguments say about files is seen from `folder`.
    pub async fn run(self, folder: &Path, arguments: &[&str]) -> Result<Output, LiveError> {
        let program = self.locate().await?;
        let home = tempfile::tempdir().map_err(LiveError::io("make a folder"))?;
        let run = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .env("HOME", home.path())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let late = |_| LiveError::NotYet {
            what: format!("{} {}", self.name(), arguments.join(" ")),
            limit: RUN_LIMIT,
            last: "it still runs".into(),
        };
        timeout(RUN_LIMIT, run).await.map_err(late)?.map_err(LiveError::io(format!("run {}", self.name())))
    }

    /// Where the program is; builds it if need be.
    pub async fn locate(self) -> Result<PathBuf, LiveError> {
        if let Some(folder) = std::env::var_os("SEINODE_DEPLOY_TOOLS") {
            let path = PathBuf::from(folder).join(self.name());
            let absent = || io::Error::new(io::ErrorKind::NotFound, "SEINODE_DEPLOY_TOOLS has no such file");
            let what = LiveError::io(format!("find {}", path.display()));
            return if path.is_file() { Ok(path) } else { Err(what(absent())) };
        }
        let cache = cache()?;
        let path = cache.join(format!("{}-{}", self.name(), self.key()?));
        if !path.is_file() {
            let _alone = lock(&cache).await?;
            if !path.is_file() {
                self.build(&path).await?;
            }
        }
        Ok(path)
    }

    async fn build(self, path: &Path) -> Result<(), LiveError> {
        // Past the capture of test output: whoever waits should see why.
        let _ = writeln!(io::stderr(), "building {} for the tests, once, in {}", self.name(), path.display());
        let draft = path.with_extension("building");
        let module = self.module();
        let module = module.to_str().ok_or(LiveError::Manifest("folder of the tests that is UTF-8"))?;
        go_build(self.name(), module, "-s -w", &draft, &[self.package()]).await?;
        fs::rename(&draft, path).map_err(LiveError::io("move the tool into place"))
    }

    /// Changes with all that the tool is made of, except the Go compiler.
    fn key(self) -> Result<String, LiveError> {
        let mut hash = Sha256::new();
        for name in ["go.mod", "go.sum"] {
            let path = self.module().join(name);
            hash.update(fs::read(&path).map_err(LiveError::io(format!("read {}", path.display())))?);
            // A byte that no text has: parts that are cut elsewhere are other parts.
            hash.update([0xff]);
        }
        let digest: Vec<_> = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(digest.concat())
    }
}

/// All of them answer within seconds.
const RUN_LIMIT: Duration = Duration::from_mins(2);
