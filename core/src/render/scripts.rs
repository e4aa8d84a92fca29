//! The shell texts that run inside the pods.
//!
//! Answers: what `seid-init`, `seid` and the exporter run. Refuses to know: containers. Laws: each text only
//! needs the shell it is for (`sh` for the init container, `bash` for the others) and standard tools; a stop
//! signal ends a wait at once; running it again is harmless. `tests/scripts.rs` runs them all.

use super::names::{DATA_DIR, EXPORTER_PORT, GRPC_PORT};

/// Prepares the data directory (`sh`): a first `seid init`, the folder for temporary files and, if a backend
/// is given, the keyring backend of the command line client, on every start.
pub fn seid_init(chain_id: &str, keyring_backend: Option<&str>) -> String {
    let mut script = INIT.replace("@CHAIN@", &quoted(chain_id));
    if let Some(backend) = keyring_backend {
        script.push_str(&KEYRING.replace("@BACKEND@", backend));
    }
    script.replace("@DATA@", DATA_DIR)
}

/// Waits for the sidecar's word, then becomes seid (`bash`).
pub fn seid(sidecar_port: i32) -> String {
    format!("{INTERRUPTIBLE}{AWAIT_SIDECAR}exec seid start --home @DATA@\n")
        .replace("@PORT@", &sidecar_port.to_string())
        .replace("@DATA@", DATA_DIR)
}

/// Waits for the sidecar's word, then runs seid up to a height (`bash`).
pub fn bootstrap_seid(sidecar_port: i32, target_height: i64) -> String {
    format!("{INTERRUPTIBLE}{AWAIT_SIDECAR}{RUN_TO_HEIGHT}")
        .replace("@PORT@", &sidecar_port.to_string())
        .replace("@HEIGHT@", &target_height.to_string())
        .replace("@DATA@", DATA_DIR)
}

/// Waits for gRPC, then becomes the exporter (`bash`).
pub fn cosmos_exporter() -> String {
    format!("{INTERRUPTIBLE}{EXPORTER}")
        .replace("@GRPC@", &GRPC_PORT.to_string())
        .replace("@LISTEN@", &EXPORTER_PORT.to_string())
}

/// One word of a shell, whatever it holds.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

const INIT: &str = r#"set -eu
data=@DATA@
if [ ! -e "$data/config/genesis.json" ]; then
  seid init @CHAIN@ --chain-id @CHAIN@ --home "$data" --overwrite
fi
mkdir -p "$data/tmp"
"#;

/// The key goes to the top of a file that lacks it, where no table can swallow it; the file is replaced as a
/// whole.
const KEYRING: &str = r#"client="$data/config/client.toml"
mkdir -p "$data/config"
[ -e "$client" ] || : >"$client"
key='^[[:space:]]*"\{0,1\}keyring-backend"\{0,1\}[[:space:]]*='
if grep -q "$key" "$client"; then
  sed "s/$key.*/keyring-backend = \"@BACKEND@\"/" "$client" >"$client.next"
else
  { echo 'keyring-backend = "@BACKEND@"'; cat "$client"; } >"$client.next"
fi
mv "$client.next" "$client"
"#;

/// A shell acts on a signal only between commands, but `wait` is cut short; so everything that takes time is
/// waited for.
const INTERRUPTIBLE: &str = r#"set -u
child=
stop() {
  [ -z "$child" ] || kill "$child" 2>/dev/null
  exit "$1"
}
trap 'stop 143' TERM
trap 'stop 130' INT
run() {
  "$@" &
  child=$!
  wait "$child"
  local code=$?
  child=
  return "$code"
}
"#;

/// No HTTP client is needed in the image. The question runs in a process of its own, which a broken pipe may
/// end.
const AWAIT_SIDECAR: &str = r"ready() {
  exec 3<>/dev/tcp/localhost/@PORT@ || return 1
  printf 'GET /v0/healthz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
  read -r -t 5 version status _ <&3
  [[ ${version:-} == HTTP/* && ${status:-} == 200 ]]
} 2>/dev/null
until run ready; do
  run sleep 5
done
";

/// seid ends itself at the height by an interrupt, hence 130. Job control (`set -m`) keeps the shell from
/// starting it with that signal ignored. A stop is passed on and ends in seid's own code (143), which is no
/// success. A `wait` that a signal cut short is repeated; 127 says that an earlier one had the code already.
const RUN_TO_HEIGHT: &str = r#"set -m
stopped=
trap 'stopped=1; [ -z "$child" ] || kill "$child" 2>/dev/null' TERM INT
seid start --home @DATA@ --halt-height @HEIGHT@ &
child=$!
[ -z "$stopped" ] || kill "$child" 2>/dev/null
code=127
while :; do
  stopped=
  wait "$child"
  now=$?
  [ "$now" -eq 127 ] || code=$now
  [ -n "$stopped" ] || break
done
[ "$code" -ne 130 ] || code=0
exit "$code"
"#;

const EXPORTER: &str = r"reachable() {
  : 3<>/dev/tcp/localhost/@GRPC@
} 2>/dev/null
until run reachable; do
  run sleep 5
done
exec /usr/local/bin/sei-cosmos-exporter --denom usei --denom-coefficient 1000000 --bech-prefix sei \
  --listen-address :@LISTEN@
";
