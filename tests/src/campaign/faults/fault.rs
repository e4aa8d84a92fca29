//! The faults, each at one numbered call or event.

use std::fmt;
use std::time::Duration;

/// One fault at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// The call, or the watch event, from 0.
    pub(super) at: usize,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The operator dies before the call is sent.
    CrashBefore,
    /// It dies after the call has had its effect, and before the answer.
    CrashAfter,
    /// The API server, or the proxy, answers this instead.
    Answer(u16),
    /// It has its effect, and the answer is this.
    AnswerAfter(u16),
    /// No answer, and no effect.
    Hang,
    /// It has its effect, and no answer comes.
    HangAfter,
    /// The connection breaks before the effect.
    Lose,
    /// The connection breaks after the effect.
    LoseAfter,
    /// It is given up for lost, and has its effect half a minute later.
    Late,
    /// A read is answered as it was so many different answers ago.
    Stale(usize),
    /// Nobody listens at the sidecar.
    Refuse,
    /// The sidecar answers with something that makes no sense.
    Nonsense,
    /// The sidecar tells of each task that runs that it has completed.
    Lie,
    /// The sidecar has forgotten all its records.
    Amnesia,
    /// The operator's clock jumps by so many minutes, for good.
    Jump(i64),
    /// A second operator starts, and both stay.
    Second,
    /// A watch event comes this much later, and so do those behind it.
    DelayEvent(Duration),
    /// A watch event is left out; a minute later the watch has to list again, unless a bookmark has come meanwhile: then it is
    /// lost for good.
    DropEvent,
    /// The watch ends before the event.
    CutWatch,
    /// The watch breaks with an error before the event.
    BreakWatch,
}

/// What a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Api {
        is_write: bool,
    },
    Sidecar {
        is_write: bool,
    },
    /// A request for a watch.
    Watch,
    /// An event of a watch.
    Event,
}

impl FaultKind {
    /// Every fault that fits some place.
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Self::CrashBefore, Self::CrashAfter];
        all.extend([409, 410, 429, 500, 503].map(Self::Answer));
        all.extend([409, 429, 500, 503].map(Self::AnswerAfter));
        all.extend([Self::Hang, Self::HangAfter, Self::Lose, Self::LoseAfter, Self::Late]);
        all.extend([401, 403, 502].map(Self::Answer));
        all.extend([Self::Refuse, Self::Nonsense, Self::Lie, Self::Amnesia]);
        all.extend([1, 2, 3].map(Self::Stale));
        all.extend([-60, 5].map(Self::Jump));
        all.push(Self::Second);
        all.extend([500, 5_000, 60_000].map(|ms| Self::DelayEvent(Duration::from_millis(ms))));
        all.extend([Self::DropEvent, Self::CutWatch, Self::BreakWatch]);
        all
    }

    /// Whether it can happen there.
    pub(super) fn fits(self, place: Place) -> bool {
        match (self, place) {
            (Self::DelayEvent(_) | Self::DropEvent | Self::CutWatch | Self::BreakWatch, place) => {
                place == Place::Event
            }
            (_, Place::Event) => false,
            (Self::CrashBefore | Self::Hang | Self::Lose | Self::Jump(_) | Self::Second, _) => true,
            (Self::CrashAfter | Self::HangAfter | Self::LoseAfter | Self::Late, place) => {
                matches!(place, Place::Api { is_write: true } | Place::Sidecar { is_write: true })
            }
            (Self::Answer(code), place) => match place {
                Place::Api { .. } => matches!(code, 409 | 429 | 500 | 503),
                Place::Watch => matches!(code, 410 | 429 | 500 | 503),
                Place::Sidecar { .. } => matches!(code, 401 | 403 | 500 | 502 | 503),
                Place::Event => false,
            },
            (Self::AnswerAfter(409 | 429), place) => place == Place::Api { is_write: true },
            (Self::AnswerAfter(_), Place::Api { is_write } | Place::Sidecar { is_write }) => is_write,
            (Self::Refuse | Self::Amnesia, place) => matches!(place, Place::Sidecar { .. }),
            // Reads of the API server are not stale by themselves: a read by name goes to etcd.
            (Self::Nonsense | Self::Lie | Self::Stale(_), place) => {
                place == Place::Sidecar { is_write: false }
            }
            (Self::AnswerAfter(_), Place::Watch) => false,
        }
    }

    /// Whether work may have to be done again: what was known is lost with it.
    pub(super) fn forgets(self) -> bool {
        matches!(self, Self::Amnesia)
    }

    /// Whether a task may begin before the one that it needs has ended: then it fails, and runs again or ends the plan.
    pub(super) fn misleads(self) -> bool {
        self == Self::Lie
    }

    /// Whether a task may run again that has failed: what comes late, or is asked for by an old answer, can't be told from a
    /// wish to try again, and the sidecar takes no guard.
    pub(super) fn runs_again(self) -> bool {
        matches!(self, Self::Late | Self::Stale(_))
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrashBefore => f.write_str("crash-before"),
            Self::CrashAfter => f.write_str("crash-after"),
            Self::Answer(code) => write!(f, "answer-{code}"),
            Self::AnswerAfter(code) => write!(f, "answer-{code}-after"),
            Self::Hang => f.write_str("hang"),
            Self::HangAfter => f.write_str("hang-after"),
            Self::Lose => f.write_str("lose"),
            Self::LoseAfter => f.write_str("lose-after"),
            Self::Late => f.write_str("late"),
            Self::Stale(n) => write!(f, "stale-{n}"),
            Self::Refuse => f.write_str("refuse"),
            Self::Nonsense => f.write_str("nonsense"),
            Self::Lie => f.write_str("lie"),
            Self::Amnesia => f.write_str("amnesia"),
            Self::Jump(minutes) => write!(f, "jump{minutes:+}"),
            Self::Second => f.write_str("second"),
            Self::DelayEvent(span) => write!(f, "delay-event-{}ms", span.as_millis()),
            Self::DropEvent => f.write_str("drop-event"),
            Self::CutWatch => f.write_str("cut-watch"),
            Self::BreakWatch => f.write_str("break-watch"),
        }
    }
}
