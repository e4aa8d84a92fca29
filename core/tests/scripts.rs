//! The shell texts inside the pods, run under real shells with stand-ins for the programs they start.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test runs processes and waits for them"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end early")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use seinode_core::render::scripts;

/// What `seid` and the exporter do here: note who they are and how they were called, then what the case asks
/// for.
const STUB: &str = r#"#!/bin/sh
{
  echo "pid $$"
  echo "ignored $(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/self/status)"
  for word in "$@"; do echo "word $word"; done
} >>"$LAB/log"
. "$LAB/behaviour"
"#;

/// Nothing here takes long; a test that waits longer than this is broken.
const LIMIT: Duration = Duration::from_secs(30);

/// A folder that plays the part of the container's file system.
struct Lab {
    dir: PathBuf,
}

impl Lab {
    fn new(name: &str, behaviour: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let lab = Self { dir };
        fs::create_dir_all(lab.dir.join("bin")).unwrap();
        fs::write(lab.dir.join("behaviour"), behaviour).unwrap();
        for program in ["seid", "sei-cosmos-exporter"] {
            // Written by a process of its own: a file that this one has open for writing can't be run.
            let write = "printf %s \"$1\" >\"$2\" && chmod +x \"$2\"";
            let path = lab.dir.join("bin").join(program);
            let written = Command::new("/bin/sh").args(["-c", write, "sh", STUB]).arg(path).status().unwrap();
            assert!(written.success());
        }
        lab
    }

    /// Starts a script in a shell, with its paths moved into the folder.
    fn start(&self, shell: &str, script: &str) -> Running<'_> {
        let dir = self.dir.to_str().unwrap();
        let script = script.replace("/home/nonroot", dir).replace("/usr/local/bin", &format!("{dir}/bin"));
        let child = Command::new(shell)
            .args(["-c", &script])
            .env_clear()
            .env("LAB", dir)
            .env("PATH", format!("{dir}/bin:/usr/bin:/bin"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Running { lab: self, child }
    }

    fn run(&self, shell: &str, script: &str) -> i32 {
        self.start(shell, script).code()
    }

    fn data(&self, path: &str) -> PathBuf {
        self.dir.join(".sei").join(path)
    }

    fn log(&self, kind: &str) -> Vec<String> {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' ')).map(str::to_owned).collect()
    }

    /// The words that the stubs were called with.
    fn words(&self) -> String {
        self.log("word").join(" ").replace(self.dir.to_str().unwrap(), "~")
    }

    /// Waits until something holds; a test fails if it never does.
    fn until(what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < LIMIT, "{what} never came");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether a process of this lab is left; they all carry the folder in their environment.
    fn has_processes(&self) -> bool {
        let mark = format!("LAB={}", self.dir.display());
        let has_mark = |path: PathBuf| {
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
        };
        fs::read_dir("/proc").unwrap().any(|entry| has_mark(entry.unwrap().path()))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Running<'a> {
    lab: &'a Lab,
    child: Child,
}

impl Running<'_> {
    fn terminate(&self) {
        let sent = Command::new("/bin/sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end; nothing may be left behind.
    fn code(mut self) -> i32 {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < LIMIT, "the script does not end");
            thread::sleep(Duration::from_millis(5));
        };
        Lab::until("the end of all processes", || !self.lab.has_processes());
        status.code().unwrap_or(-1)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stand-in for the sidecar: gives one answer per caller, then is gone.
fn sidecar(listener: TcpListener, answers: &'static [&'static str]) -> thread::JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let mut caller = accept(&listener);
            caller.set_read_timeout(Some(LIMIT)).unwrap();
            let mut question = Vec::new();
            while !question.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                caller.read_exact(&mut byte).unwrap();
                question.push(byte[0]);
            }
            asked.push(String::from_utf8(question).unwrap().lines().next().unwrap().to_owned());
            let _ = caller.write_all(answer.as_bytes());
        }
        asked
    })
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((caller, _)) => {
                caller.set_nonblocking(false).unwrap();
                return caller;
            }
            Err(_) => assert!(start.elapsed() < LIMIT, "nobody called"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn listen() -> (TcpListener, i32) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = i32::from(listener.local_addr().unwrap().port());
    (listener, port)
}

/// A port where nobody listens. It lies below those that the system hands out, so no other test gets it by
/// chance.
fn unused(place: u32) -> u16 {
    let first = 20_000 + (std::process::id() % 2_000) * 5 + place;
    let mut ports = (first..32_000).step_by(5).map(|port| u16::try_from(port).unwrap());
    ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).unwrap()
}

/// Waits in scripts are five seconds; a test that needs several of them makes them short.
fn hurried(script: &str) -> String {
    assert!(script.contains("run sleep 5\n"));
    script.replace("run sleep 5\n", "run sleep 0.05\n")
}

/// `seid init` as far as the script can see it.
const INIT: &str = r#"mkdir -p "$LAB/.sei/config"; echo '{}' >"$LAB/.sei/config/genesis.json""#;

#[test]
fn init_runs_once_and_makes_the_folder_for_temporary_files() {
    for shell in ["/bin/sh", "/bin/bash"] {
        let lab = Lab::new("init", INIT);
        let script = scripts::seid_init("chain-1", None);
        for _ in 0..2 {
            assert_eq!(lab.run(shell, &script), 0);
            assert!(lab.data("tmp").is_dir());
            assert_eq!(lab.words(), "init chain-1 --chain-id chain-1 --home ~/.sei --overwrite");
        }
        assert!(!lab.data("config/client.toml").exists(), "no keyring, no word about one");
    }
}

#[test]
fn a_failing_init_fails_the_container() {
    let lab = Lab::new("init-fails", "exit 9");
    assert_eq!(lab.run("/bin/sh", &scripts::seid_init("chain-1", Some("file"))), 9);
    assert!(!lab.data("tmp").exists());
}

#[test]
fn a_chain_id_stays_one_word() {
    let lab = Lab::new("words", "");
    assert_eq!(lab.run("/bin/sh", &scripts::seid_init("a 'b' $(c) \"d\"; e", None)), 0);
    assert_eq!(lab.log("word")[1], "a 'b' $(c) \"d\"; e");
}

#[test]
fn the_keyring_backend_is_set_on_every_start() {
    let rows: [(Option<&str>, &str); 7] = [
        (None, "keyring-backend = \"file\"\n"),
        (Some(""), "keyring-backend = \"file\"\n"),
        (Some("keyring-backend = \"os\"\n"), "keyring-backend = \"file\"\n"),
        (
            Some("chain-id = \"c\"\nkeyring-backend = \"test\" # why\noutput = \"text\"\n"),
            "chain-id = \"c\"\nkeyring-backend = \"file\"\noutput = \"text\"\n",
        ),
        (Some("  \"keyring-backend\"=\"os\"\nx = 1\n"), "keyring-backend = \"file\"\nx = 1\n"),
        (Some("x = 1\n[table]\ny = 2"), "keyring-backend = \"file\"\nx = 1\n[table]\ny = 2"),
        (
            Some("# keyring-backend = \"os\"\nno-keyring-backend = 1\n"),
            "keyring-backend = \"file\"\n# keyring-backend = \"os\"\nno-keyring-backend = 1\n",
        ),
    ];
    for (before, after) in rows {
        let lab = Lab::new("keyring", INIT);
        fs::create_dir_all(lab.data("config")).unwrap();
        let client = lab.data("config/client.toml");
        if let Some(before) = before {
            fs::write(&client, before).unwrap();
        }
        for backend in ["file", "test", "file", "file"] {
            assert_eq!(lab.run("/bin/sh", &scripts::seid_init("c", Some(backend))), 0);
            let expected = after.replace("= \"file\"", &format!("= \"{backend}\""));
            assert_eq!(fs::read_to_string(&client).unwrap(), expected, "{before:?}");
        }
        assert_eq!(
            fs::read_dir(lab.data("config")).unwrap().count(),
            2,
            "client.toml, genesis.json and no more"
        );
    }
}

#[test]
fn seid_starts_when_the_sidecar_says_200_and_takes_the_place_of_the_shell() {
    let lab = Lab::new("seid", "exit 3");
    // First nobody is there: the question can't even be asked.
    let port = unused(0);
    let script = hurried(&scripts::seid(port.into()));
    let running = lab.start("/bin/bash", &script);
    thread::sleep(Duration::from_millis(200));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let asked = sidecar(
        listener,
        &[
            "HTTP/1.0 503 Service Unavailable\r\n\r\n",
            "",
            "200 200 200\r\n",
            "HTTP/1.1 500 200\r\n\r\n200",
            "garbage",
            "HTTP/1.1 200 OK\r\n\r\n",
        ],
    );
    let pid = running.child.id().to_string();
    assert_eq!(running.code(), 3);
    assert_eq!(asked.join().unwrap(), vec!["GET /v0/healthz HTTP/1.0"; 6]);
    assert_eq!(lab.words(), "start --home ~/.sei");
    assert_eq!(lab.log("pid"), [pid], "seid gets the signals that the container gets");
    assert_ignores_nothing(&lab);
}

/// The interrupt is what ends seid at its height; a program that is started with it ignored may never see it. What the
/// test itself was started with ignored (in the background, say) is none of the script's doing.
#[allow(clippy::disallowed_methods, reason = "the bans are for the core, not for its tests")]
fn assert_ignores_nothing(lab: &Lab) {
    let mask = |text: &str| u64::from_str_radix(text.trim(), 16).unwrap();
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = lab.log("ignored");
    let (hangup, interrupt, quit, terminate) = (1, 1 << 1, 1 << 2, 1 << 14);
    let stops = hangup | interrupt | quit | terminate;
    assert_eq!(mask(&ignored[0]) & stops & !mask(own), 0, "{ignored:?}, and the test {own}");
}

#[test]
fn a_stop_ends_the_wait_at_once() {
    let (silent, silent_port) = listen();
    let unused_port = unused(1);
    for (what, script) in [
        ("nobody there", scripts::seid(unused_port.into())),
        ("no answer", scripts::seid(silent_port)),
        ("nobody there", scripts::bootstrap_seid(unused_port.into(), 7)),
        (
            "no gRPC",
            scripts::cosmos_exporter().replace("localhost/9090", &format!("localhost/{unused_port}")),
        ),
    ] {
        let lab = Lab::new("stop", "");
        let running = lab.start("/bin/bash", &script);
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        running.terminate();
        assert_eq!(running.code(), 143, "{what}");
        assert!(start.elapsed() < Duration::from_secs(4), "{what}: shorter than one pause");
        assert_eq!(lab.words(), "", "{what}");
    }
    drop(silent);
}

#[test]
fn bootstrap_counts_130_as_success_and_nothing_else() {
    for (code, expected) in [(130, 0), (0, 0), (1, 1), (127, 127), (137, 137), (143, 143)] {
        let lab = Lab::new("bootstrap", &format!("exit {code}"));
        let (listener, port) = listen();
        let asked = sidecar(listener, &["HTTP/1.1 503 x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"]);
        let script = hurried(&scripts::bootstrap_seid(port, 4242));
        assert_eq!(lab.run("/bin/bash", &script), expected, "{code}");
        assert_eq!(asked.join().unwrap().len(), 2);
        assert_eq!(lab.words(), "start --home ~/.sei --halt-height 4242");
        assert_ignores_nothing(&lab);
    }
}

#[test]
fn bootstrap_passes_a_stop_on_and_waits_for_the_end() {
    // Once it answers in time with the code of a stop, once it takes the stop for a reason to end well.
    for (code, expected) in [(143, 143), (5, 5)] {
        let behaviour = format!(
            "trap 'sleep 0.3; echo \"word ended\" >>\"$LAB/log\"; exit {code}' TERM; echo \"word up\" >>\"$LAB/log\"\n\
             while :; do sleep 0.05; done"
        );
        let lab = Lab::new("bootstrap-stop", &behaviour);
        let (listener, port) = listen();
        let asked = sidecar(listener, &["HTTP/1.1 200 OK\r\n\r\n"]);
        let running = lab.start("/bin/bash", &scripts::bootstrap_seid(port, 1));
        Lab::until("seid", || lab.words().ends_with("up"));
        running.terminate();
        running.terminate();
        assert_eq!(running.code(), expected);
        assert!(lab.words().ends_with("up ended"), "{}", lab.words());
        asked.join().unwrap();
    }
}

#[test]
fn the_exporter_starts_when_grpc_is_there() {
    let lab = Lab::new("exporter", "exit 4");
    let port = unused(2);
    let script = hurried(&scripts::cosmos_exporter()).replace("localhost/9090", &format!("localhost/{port}"));
    let running = lab.start("/bin/bash", &script);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(lab.words(), "");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let pid = running.child.id().to_string();
    assert_eq!(running.code(), 4);
    drop(listener);
    assert_eq!(
        lab.words(),
        "--denom usei --denom-coefficient 1000000 --bech-prefix sei --listen-address :9300"
    );
    assert_eq!(lab.log("pid"), [pid]);
    assert_ignores_nothing(&lab);
}
