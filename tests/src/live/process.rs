//! Answers: how does a component run, and how does it end?
//!
//! Refuses to know what the components are for.
//!
//! Upholds: no process outlives the test process.
//! * Dropping a [`Process`] ends it and waits for it.
//! * If the test process is killed, nobody drops anything. So `setpriv` (util-linux) asks the kernel to kill
//!   the child together with its parent. For the kernel the parent is the *thread* that spawned it, and a
//!   test's thread ends with the test: one thread that never ends spawns all children.
//! * Children stay in the process group of the test, so that Ctrl-C reaches them even where there is no
//!   `setpriv`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::log_tail;
use super::{Component, LiveError};

/// A component that was started. Dropping it ends it, and blocks until it has ended.
#[derive(Debug)]
pub(super) struct Process {
    component: Component,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the program; what it says goes to the end of the log.
    pub(super) async fn spawn(
        component: Component,
        program: &Path,
        arguments: Vec<String>,
        log: PathBuf,
    ) -> Result<Self, LiveError> {
        let failed = || LiveError::io(format!("start {}", program.display()));
        let (reply, answer) = oneshot::channel();
        let birth = Birth { component, program: program.to_owned(), arguments, log, reply };
        keeper().send(birth).map_err(io::Error::other).map_err(failed())?;
        answer.await.map_err(io::Error::other).flatten().map_err(failed())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error as soon as the process is no more.
    pub(super) fn check(&mut self) -> Result<(), LiveError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.exited(status)),
            Err(source) => Err(LiveError::Io { what: format!("look at {}", self.component), source }),
        }
    }

    /// Ends it at once, as a crash would.
    pub(super) fn kill(mut self) {
        self.kill_and_wait();
    }

    fn exited(&self, status: ExitStatus) -> LiveError {
        LiveError::Exited { component: self.component, status, log: log_tail(&self.log) }
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end. As long as the child was not waited for, its number belongs to nobody else.
    fn terminate(&self) {
        // The standard library only knows SIGKILL; every shell has `kill` built in.
        let _ = Command::new("sh")
            .args(["-c", "kill -s TERM \"$1\"", "sh", &self.pid().to_string()])
            .stderr(Stdio::null())
            .status();
    }

    fn kill_and_wait(&mut self) {
        // Both fail only for a child that was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.terminate();
        let end = Instant::now() + GRACE;
        while self.is_running() {
            if Instant::now() > end {
                return self.kill_and_wait();
            }
            thread::sleep(PAUSE);
        }
    }
}

/// A process to be started. The answer is a [`Process`], so that it ends even if nobody listens any more.
#[derive(Debug)]
struct Birth {
    component: Component,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    reply: oneshot::Sender<io::Result<Process>>,
}

impl Birth {
    fn attend(self) {
        let Self { component, program, arguments, log, reply } = self;
        let spawn = || {
            let output = File::options().append(true).create(true).open(&log)?;
            let child = guarded(&program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output)
                .spawn()?;
            Ok(Process { component, child, log })
        };
        drop(reply.send(spawn()));
    }
}

/// The way to the thread that spawns all children and lives as long as this process.
fn keeper() -> &'static mpsc::Sender<Birth> {
    static KEEPER: OnceLock<mpsc::Sender<Birth>> = OnceLock::new();
    KEEPER.get_or_init(|| {
        let (births, queue) = mpsc::channel::<Birth>();
        thread::spawn(move || queue.into_iter().for_each(Birth::attend));
        births
    })
}

/// The program, run so that it dies with its parent where the system can do that.
fn guarded(program: &Path) -> Command {
    if !has_setpriv() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(SETPRIV).arg(program);
    command
}

fn has_setpriv() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let tried = Command::new("setpriv").args(SETPRIV).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

const SETPRIV: [&str; 3] = ["--pdeathsig", "KILL", "--"];

/// All components end within a second or two when asked; one that does not has nothing that a test would
/// miss.
const GRACE: Duration = Duration::from_secs(10);

/// Fine enough not to slow down the end of a test.
const PAUSE: Duration = Duration::from_millis(10);
