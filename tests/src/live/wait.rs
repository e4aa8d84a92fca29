//! Answers: has it happened yet? The one way in which tests against real processes wait.
//!
//! Refuses to know the clock of a paused runtime: it waits in real time.
//!
//! Upholds: every wait ends, and says what it saw last.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::LiveError;

/// Probes until the probe answers `Ok`, for no longer than `limit`. An `Err` means "not yet", with the
/// reason; the reason of the last probe is in the error. A probe that hangs is cut off at the limit.
pub async fn wait_until<T, R: Display>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, R>,
) -> Result<T, LiveError> {
    let end = Instant::now() + limit;
    let mut last = String::from("the probe has not answered");
    while let Ok(answer) = timeout_at(end, probe()).await {
        match answer {
            Ok(value) => return Ok(value),
            Err(reason) => last = reason.to_string(),
        }
        if Instant::now() + PAUSE > end {
            break;
        }
        sleep(PAUSE).await;
    }
    Err(LiveError::NotYet { what: what.to_owned(), limit, last })
}

/// Short against the time that a control plane takes for anything, long enough not to load it.
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_ok_ends_the_wait() {
        let mut probes = 0;
        let answer = wait_until("a third probe", Duration::from_mins(1), async || {
            probes += 1;
            if probes < 3 { Err(format!("probe {probes}")) } else { Ok(probes) }
        });
        assert_eq!(answer.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn the_last_reason_is_told() {
        let answer: Result<(), _> =
            wait_until("nothing", Duration::ZERO, async || Err("still nothing")).await;
        assert_eq!(answer.unwrap_err().to_string(), "waited 0ns for nothing; at last: still nothing");
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_cut_off() {
        let limit = Duration::from_millis(1);
        let answer: Result<(), _> =
            wait_until("an answer", limit, async || std::future::pending::<Result<(), &str>>().await).await;
        assert_eq!(
            answer.unwrap_err().to_string(),
            "waited 1ms for an answer; at last: the probe has not answered"
        );
    }
}
