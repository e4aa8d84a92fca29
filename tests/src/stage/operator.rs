//! An operator process that is always ended.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::scrape::Page;

/// A running operator. Dropping it kills it.
pub struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    pub(super) fn start(
        program: &Path,
        arguments: &[String],
        variables: &[(&str, &str)],
        log: &Path,
    ) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .args(arguments)
            .envs(seinode_core::platform::GATEWAY_VARIABLES.iter().map(|name| (name, "unused")))
            .env("RUST_BACKTRACE", "1")
            .envs(variables.iter().copied())
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

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        Command::new("kill").args(["-s", name]).arg(self.child.id().to_string()).status().map(drop)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        self.child.try_wait().map(|status| status.is_some())
    }

    /// Asks it to stop, and waits for its end.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        self.signal("TERM")?;
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

impl Operator {
    /// Asks one of its servers, `metrics` or `probes`, for a page. It says in its log where they listen.
    pub async fn page(&self, server: &str, path: &str) -> io::Result<Page> {
        let log = self.log();
        let said = format!("\"{server}\"");
        let line = log.lines().rev().find(|line| line.contains("listening") && line.contains(&said));
        let address = line
            .and_then(|line| line.find("127.0.0.1:").map(|at| &line[at..]))
            .and_then(|rest| rest.split(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).next())
            .ok_or_else(|| io::Error::other(format!("no {server} server yet")))?;
        Page::get(address, path).await
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
