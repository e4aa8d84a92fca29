//! What a process has used, from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Largest resident size so far, in KiB.
    pub peak: u64,
    /// Resident size now, in KiB.
    pub resident: u64,
}

/// Ticks in a second, as Linux shows them to programs on every machine.
const TICKS: u64 = 100;

impl Usage {
    /// Reads it.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self { cpu: cpu(&stat), peak: kib(&status, "VmHWM:"), resident: kib(&status, "VmRSS:") })
    }

    /// CPU since an earlier reading; memory as it is now.
    #[must_use]
    pub fn since(self, earlier: &Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(earlier.cpu), ..self }
    }

    /// Peak memory in MiB.
    #[must_use]
    pub fn peak_mib(&self) -> f64 {
        mib(self.peak)
    }

    /// Memory in MiB.
    #[must_use]
    pub fn resident_mib(&self) -> f64 {
        mib(self.resident)
    }
}

#[allow(clippy::cast_precision_loss, reason = "sizes of processes are far below 2^52")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Fields 14 and 15, counted behind the name, which may hold blanks and parentheses.
fn cpu(stat: &str) -> Duration {
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

fn kib(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_shows_is_read() {
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 1 2 3";
        assert_eq!(cpu(stat), Duration::from_secs(3));
        assert_eq!(kib("VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n", "VmHWM:"), 2048);
        assert_eq!(kib("", "VmHWM:"), 0);
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(std::process::id()).expect("Linux");
        assert!(usage.peak >= usage.resident && usage.resident > 0, "{usage:?}");
    }
}
