//! Faults: the complete operator under a real client on a time that stands still, with one thing going wrong at one
//! numbered call or watch event. Whatever it is, the end is that of the life without it, and nothing is done twice.

mod end;
mod fault;
mod layer;
mod life;
mod play;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use fault::{Fault, FaultKind, Place};
use life::Life;
use play::{Played, play};

use super::{Campaign, Options, Row};

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "faults",
    about: "one fault at each call and each watch event of whole lives; same end, nothing done twice",
    run,
};

/// Most failures that are shown of a row.
const SHOWN: usize = 12;

/// One case: a life, a fault, a place.
struct Case<'a> {
    life: &'a Life,
    well: &'a Played,
    fault: Fault,
}

impl Case<'_> {
    fn name(&self) -> String {
        format!("{}/{}@{}", self.life.name, self.fault.kind, self.fault.at)
    }
}

/// What the cases of one fault came to.
#[derive(Default)]
struct Tally {
    cases: u64,
    happened: u64,
    failures: Vec<String>,
    took: Duration,
}

/// Plays the share of the cases that is asked for; `--only` picks cases by `life/fault@place`.
fn run(options: &Options) -> Result<Vec<Row>, String> {
    let started = Instant::now();
    let mut rows = Vec::new();
    let mut wells = Vec::new();
    // `--only update/hang@7` needs no other life.
    let named = options.only.split_once('/').map(|(life, _)| life);
    for life in life::ALL.iter().filter(|life| named.is_none_or(|named| named == life.name)) {
        let begun = Instant::now();
        let well = play(life, None)?;
        let failure = (!well.wrong.is_empty()).then(|| well.wrong.join("\n"));
        let counts = vec![("calls", well.places.len() as u64), ("events", well.events as u64)];
        rows.push(Row {
            name: format!("{} without a fault", life.name),
            counts,
            took: begun.elapsed(),
            failure,
        });
        wells.push((life, well));
    }
    let cases: Vec<Case<'_>> = wells
        .iter()
        .flat_map(|(life, well)| cases(life, well))
        .filter(|c| is_picked(options, &c.name()))
        .collect();
    let queue = Mutex::new(cases.iter());
    let tallies: Mutex<BTreeMap<String, Tally>> = Mutex::default();
    let errors: Mutex<Vec<String>> = Mutex::default();
    let left_out = Mutex::new(0_u64);
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(case) = lock(&queue).next() else { return };
                    if started.elapsed() > options.limit {
                        *lock(&left_out) += 1;
                        continue;
                    }
                    let begun = Instant::now();
                    match play(case.life, Some(case.fault)) {
                        Ok(played) => judge(case, &played, begun.elapsed(), &tallies),
                        Err(error) => lock(&errors).push(format!("{}: {error}", case.name())),
                    }
                }
            });
        }
    });
    if let Some(error) = lock(&errors).first() {
        return Err(error.clone());
    }
    for (kind, tally) in tallies.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let mut failure = String::new();
        for text in tally.failures.iter().take(SHOWN) {
            let _ = write!(failure, "\n  {text}");
        }
        if tally.failures.len() > SHOWN {
            let _ = write!(failure, "\n  and {} more", tally.failures.len() - SHOWN);
        }
        let counts = vec![
            ("cases", tally.cases),
            ("came about", tally.happened),
            ("failed", tally.failures.len() as u64),
        ];
        let failure = (!failure.is_empty()).then_some(failure);
        rows.push(Row { name: kind, counts, took: tally.took, failure });
    }
    let left_out = *lock(&left_out);
    if left_out > 0 {
        rows.push(Row {
            name: "not played".to_owned(),
            counts: vec![("cases", left_out)],
            took: Duration::ZERO,
            failure: Some("time was up; ask for more with --limit, or for a smaller --share".to_owned()),
        });
    }
    Ok(rows)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each fault at each place of a life where it can happen.
fn cases<'a>(life: &'a Life, well: &'a Played) -> Vec<Case<'a>> {
    let calls = well.places.iter().copied().enumerate();
    let events = (0..well.events).map(|at| (at, Place::Event));
    let places: Vec<(usize, Place)> = calls.chain(events).collect();
    let mut all = Vec::new();
    for kind in FaultKind::all() {
        let fitting = places.iter().filter(|(_, place)| kind.fits(*place));
        all.extend(fitting.map(|(at, _)| Case { life, well, fault: Fault { kind, at: *at } }));
    }
    all
}

/// Whether a case is played, from its name and the seed alone: the same seed plays the same cases.
fn is_picked(options: &Options, name: &str) -> bool {
    use sha2::{Digest, Sha256};
    if !name.contains(&options.only) {
        return false;
    }
    let hash = Sha256::digest(format!("{}/{name}", options.seed));
    let lot = hash.iter().take(6).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    #[expect(clippy::cast_precision_loss, reason = "48 bits fit")]
    let lot = lot as f64 / (1_u64 << 48) as f64;
    lot < options.share
}

fn judge(case: &Case<'_>, played: &Played, took: Duration, tallies: &Mutex<BTreeMap<String, Tally>>) {
    let mut wrong = played.wrong.clone();
    if wrong.is_empty() {
        let misled = case.fault.kind.misleads();
        if !(misled && played.has_failed) {
            wrong.extend(end::differences(&case.well.end, &played.end, case.fault.kind.forgets()));
        }
        for (deed, times) in played.deeds.iter().filter(|_| case.life.is_exact) {
            let well = case.well.deeds.get(deed).copied().unwrap_or_default();
            let is_run = deed.starts_with("run");
            let again = usize::from(is_run && case.fault.kind.runs_again() && case.life.has_failures());
            if *times > well + again && !((case.fault.kind.forgets() || misled) && is_run) {
                wrong.push(format!("{deed} {times} times, not {well}"));
            }
        }
    }
    let mut tallies = lock(tallies);
    let tally = tallies.entry(case.fault.kind.to_string()).or_default();
    tally.cases += 1;
    tally.happened += u64::from(played.has_happened);
    tally.took += took;
    if !wrong.is_empty() {
        tally.failures.push(format!("{}: {}", case.name(), wrong.join("; ")));
    }
}
