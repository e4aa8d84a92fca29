//! An operator process that is always ended.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running operator. Dropping it kills it.
pub struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    pub(super) fn start(program: &Path, arguments: &[String], log: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .args(arguments)
            .envs(seinode_core::platform::GATEWAY_VARIABLES.iter().map(|name| (name, "unused")))
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Ends it at once, as a crash does.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Asks it to stop, and waits for its end.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        let limit = Instant::now() + Duration::from_secs(30);
        while Instant::now() < limit {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other("the operator did not stop within 30 s"))
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Operator {
    /// With these flags and variables alone.
    pub(super) fn start_with(
        program: &Path,
        arguments: &[String],
        variables: &std::collections::BTreeMap<String, String>,
        log: &Path,
    ) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        command.args(arguments).envs(variables).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Ok(Self { child: command.spawn()?, log: log.to_owned() })
    }
}
