//! Delays, from times only: never from the number of triggers.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// Time from `since` to `now`; zero if the clock has jumped back (law 15).
pub(crate) fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO)
}

/// A clock this far ahead of ours says nothing about when something happened.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_mins(5);

/// Wait before retry number `n` of a task (`seinode.md` 8.3): 10 s, 20 s, 30 s, 30 s ...
pub(crate) fn backoff(n: i64) -> Duration {
    let doublings = u32::try_from(n.clamp(0, 5)).unwrap_or(5);
    Duration::from_secs(5 * (1 << doublings)).min(Duration::from_secs(30))
}

/// How long until something that has been waited for since `waited` is asked again: a quarter of the wait so far, so
/// soon at first and then ever more slowly, within the bounds.
pub(crate) fn poll(waited: Duration, least: Duration, most: Duration) -> Duration {
    (waited / 4).clamp(least, most)
}

/// First mark of a wait.
pub(crate) const FIRST_MARK: Duration = Duration::from_secs(10);

/// Marks of a wait at which progress is worth a write: 10 s, then at doubled distance up to 10 minutes. Gives the last
/// mark reached, `None` before the first.
pub(crate) fn progress_mark(waited: Duration) -> Option<Duration> {
    let (first, widest) = (FIRST_MARK, Duration::from_mins(10));
    let (mut mark, mut step) = (first, first * 2);
    if waited < mark {
        return None;
    }
    while waited >= mark + step && step < widest {
        mark += step;
        step = (step * 2).min(widest);
    }
    if step == widest {
        // Equal steps from here on, so that a wait of weeks costs no loop of thousands of rounds.
        let rounds = (waited.saturating_sub(mark)).as_secs() / widest.as_secs();
        mark += Duration::from_secs(rounds * widest.as_secs());
    }
    Some(mark)
}

/// A duration for people: `45s`, `2m30s`, `3h10m`.
pub(crate) fn human(duration: Duration) -> String {
    let (h, m, s) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60, duration.as_secs() % 60);
    match (h, m, s) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, _) => format!("{h}h{m}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_is_the_table_of_the_contract() {
        let seconds: Vec<u64> = (1..=5).map(|n| backoff(n).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 30, 30, 30]);
        assert_eq!((1..=180).map(|n| backoff(n).as_secs()).sum::<u64>(), 5370);
    }

    #[test]
    fn progress_marks_stand_at_doubled_distance() {
        let marks = |s| progress_mark(Duration::from_secs(s)).map(|d| d.as_secs());
        assert_eq!(marks(9), None);
        assert_eq!(
            [marks(10), marks(29), marks(30), marks(69), marks(70)],
            [Some(10), Some(10), Some(30), Some(30), Some(70)]
        );
        assert_eq!([marks(1229), marks(1230), marks(1830)], [Some(630), Some(1230), Some(1830)]);
        assert_eq!(marks(1230 + 600 * 1000), Some(1230 + 600 * 1000));
    }
}
