//! An operator process that is always ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::scrape::Page;
use k8s_openapi::jiff::Timestamp;

/// A running operator. Dropping it kills it.
pub struct Operator {
    child: Child,
    log: PathBuf,
    /// How long the log was before this process.
    before: usize,
    /// Told when it ends.
    _shift: Shift,
}

impl Operator {
    pub(crate) fn start(
        program: &Path,
        arguments: &[String],
        variables: &BTreeMap<String, String>,
        log: &Path,
        rota: &Rota,
    ) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let before = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let child = Command::new(program)
            .args(arguments)
            .envs(variables)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()?;
        Ok(Self { child, log: log.to_owned(), before, _shift: rota.begin() })
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
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
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.get(self.before..).unwrap_or_default().to_owned()
    }

    /// What it serves under `/metrics`.
    pub async fn metrics(&self) -> Result<String, String> {
        let page = self.page("metrics", "/metrics").await.map_err(|error| error.to_string())?;
        if page.status == 200 { Ok(page.text) } else { Err(page.status.to_string()) }
    }
}

/// When operators were at work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rota(Arc<Mutex<Vec<Span>>>);

/// From when on, and until when, if it is over.
type Span = (Timestamp, Option<Timestamp>);

impl Rota {
    fn begin(&self) -> Shift {
        let mut shifts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shifts.push((Timestamp::now(), None));
        Shift { rota: self.clone(), index: shifts.len() - 1 }
    }

    /// How many operators were at work then.
    pub(super) fn at_work(&self, at: Timestamp) -> usize {
        let shifts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shifts.iter().filter(|(from, to)| *from <= at && to.is_none_or(|to| at <= to)).count()
    }
}

/// The time of one operator; it ends when this is dropped.
struct Shift {
    rota: Rota,
    index: usize,
}

impl Drop for Shift {
    fn drop(&mut self) {
        let mut shifts = self.rota.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, end)) = shifts.get_mut(self.index) {
            *end = Some(Timestamp::now());
        }
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
