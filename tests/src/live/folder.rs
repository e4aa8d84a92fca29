//! Answers: where are the files of one control plane, and who removes them?
//!
//! Refuses to know what is in them.
//!
//! Upholds: a folder goes with its control plane. One whose test process was killed goes when the next control
//! plane starts: a lock, which the system takes back from the dead, tells such a folder from one in use.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::TempDir;

use super::LiveError;

/// A folder that is removed when dropped, unless `SEINODE_TEST_KEEP` is set.
#[derive(Debug)]
pub(super) struct Folder {
    folder: TempDir,
    /// Held, never read.
    _lock: Option<File>,
}

impl Folder {
    pub(super) fn make() -> Result<Self, LiveError> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let keep = std::env::var_os("SEINODE_TEST_KEEP").is_some();
        Self::make_in(&parent, keep).map_err(LiveError::io("make a folder for the control plane"))
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn make_in(parent: &Path, keep: bool) -> io::Result<Self> {
        let mut folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        if keep {
            folder.disable_cleanup(true);
            writeln!(io::stderr(), "the control plane keeps its files in {}", folder.path().display())?;
            return Ok(Self { folder, _lock: None });
        }
        // It gets its name once it is locked: nobody finds it unlocked while its owner lives.
        let draft = folder.path().join("lock.draft");
        let lock = File::create(&draft)?;
        lock.lock()?;
        fs::rename(draft, folder.path().join(LOCK))?;
        Ok(Self { folder, _lock: Some(lock) })
    }
}

/// Removes what nobody owns any more. What cannot be looked at or removed is another user's, and stays.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && File::open(path.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

const PREFIX: &str = "seinode-live-";
const LOCK: &str = "lock";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn only_folders_without_an_owner_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let owned = Folder::make_in(parent.path(), false).unwrap();
        let left = parent.path().join("seinode-live-left");
        let kept = parent.path().join("seinode-live-kept");
        let foreign = parent.path().join("foreign");
        for folder in [&left, &kept, &foreign] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(foreign.join(LOCK), "").unwrap();

        sweep(parent.path());

        let there = [owned.path(), &left, &kept, &foreign].map(Path::exists);
        assert_eq!(there, [true, false, true, true]);
        let path = owned.path().to_owned();
        drop(owned);
        assert!(!path.exists());
    }
}
