//! The clock of the adapter: a start time plus what tokio's clock has counted since, so that tests can move it.

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// The clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Timestamp,
    start: Instant,
}

impl Clock {
    /// A clock that starts now, at the system's time.
    pub fn system() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// A clock that starts now, at the given time.
    pub fn starting_at(base: Timestamp) -> Self {
        Self { base, start: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.base
            .checked_add(k8s_openapi::jiff::SignedDuration::from_micros(passed))
            .unwrap_or(Timestamp::MAX)
    }
}
