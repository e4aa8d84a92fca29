//! What goes wrong between operators and the API server, as a script says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seinode_sim::api::{Delivery, Faults, Happened, Request, Trouble, WatchEvent};
use seinode_sim::error::StoreError;

use super::book::Book;
use super::step::{ApiTrouble, Lag, PartName, TroubleName, VerbName, When};
use crate::simulate::judge::Judge;

/// The troubles in force, and the book that notes what operators write.
pub(super) struct Troubles {
    book: Arc<Book>,
    judge: Arc<Judge>,
    state: Mutex<InForce>,
}

#[derive(Default)]
struct InForce {
    api: Vec<ApiTrouble>,
    lags: Vec<Lag>,
}

impl Troubles {
    pub(super) fn new(book: Arc<Book>, judge: Arc<Judge>) -> Self {
        Self { book, judge, state: Mutex::default() }
    }

    pub(super) fn add(&self, trouble: ApiTrouble) {
        self.state().api.push(trouble);
    }

    pub(super) fn lag(&self, lag: Lag) {
        self.state().lags.push(lag);
    }

    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.api.clear();
        state.lags.clear();
    }

    fn state(&self) -> MutexGuard<'_, InForce> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first trouble that fits, used up by one.
    fn take(&self, request: &Request, when: When) -> Trouble {
        let mut state = self.state();
        let found = state.api.iter_mut().find(|t| t.when == when && t.times != Some(0) && t.fits(request));
        let Some(found) = found else { return Trouble::None };
        if let Some(times) = &mut found.times {
            *times -= 1;
        }
        let (trouble, word) = match found.trouble {
            TroubleName::Hang => (Trouble::Hang, "hangs".to_owned()),
            TroubleName::Lose => (Trouble::Lose, "loses its connection".to_owned()),
            TroubleName::Delay(span) => (Trouble::Delay(span.0), format!("takes {:?}", span.0)),
            TroubleName::Answer(code) => (Trouble::Refuse(refusal(code)), format!("is answered {code}")),
        };
        drop(state);
        let lost = if when == When::After { "has its effect, and " } else { "" };
        self.book.note(&request.client, &format!("{} {lost}{word}", request.line));
        trouble
    }
}

fn refusal(code: u16) -> StoreError {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "",
    };
    StoreError::plain(code, reason, "scripted")
}

impl ApiTrouble {
    fn fits(&self, request: &Request) -> bool {
        let part = if request.subresource == "status" { PartName::Status } else { PartName::Main };
        self.client == request.client
            && self.verb.is_none_or(|verb| VerbName::of(request.verb) == Some(verb))
            && self.kind.is_none_or(|kind| kind.0 == request.kind)
            && self.name.as_ref().is_none_or(|name| *name == request.name)
            && self.part.is_none_or(|wanted| wanted == part)
    }
}

impl Faults for Troubles {
    fn before(&self, request: &Request) -> Trouble {
        let trouble = self.take(request, When::Before);
        if request.verb.is_write() && self.book.is_operator(&request.client) {
            self.judge.before(request);
        }
        trouble
    }

    fn after(&self, request: &Request, code: u16) -> Trouble {
        if request.verb.is_write() && self.book.is_operator(&request.client) {
            self.book.write(request, code, &self.judge.after(request, code));
        }
        self.take(request, When::After)
    }

    fn deliver(&self, watch: &Request, event: &WatchEvent) -> Delivery {
        if event.happened == Happened::Bookmark {
            return Delivery::Deliver;
        }
        let state = self.state();
        let lag = state
            .lags
            .iter()
            .find(|lag| lag.client == watch.client && lag.kind.is_none_or(|kind| kind.0 == watch.kind));
        lag.map_or(Delivery::Deliver, |lag| Delivery::Delay(lag.by.0))
    }
}
