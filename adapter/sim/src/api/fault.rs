//! Where troubles hook into the server.
//!
//! Answers: what may go wrong with a request or an event. Refuses to know: when it should; that is the
//! implementor's plan. Upholds: a server without a plan has no troubles.

use std::time::Duration;

use super::{Request, WatchEvent};
use crate::error::StoreError;

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// It takes this long.
    Delay(Duration),
    /// No answer, ever.
    Hang,
    /// The connection breaks.
    Lose,
    /// This is the answer instead.
    Refuse(StoreError),
}

/// What happens to an event of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// It arrives.
    #[default]
    Deliver,
    /// It arrives this much later, and so do those behind it.
    Delay(Duration),
    /// The stream ends before it.
    Cut,
    /// The stream breaks with an error before it.
    Break,
    /// It is left out. No real server does this; it stands for a watcher that misses things.
    Swallow,
}

/// A plan of troubles.
pub trait Faults: Send + Sync {
    /// Asked before the effect of a request.
    fn before(&self, _request: &Request) -> Trouble {
        Trouble::None
    }

    /// Asked after the effect, with the code of the answer that is about to leave.
    fn after(&self, _request: &Request, _code: u16) -> Trouble {
        Trouble::None
    }

    /// Asked before each event of a watch; the request is the one that opened it.
    fn deliver(&self, _watch: &Request, _event: &WatchEvent) -> Delivery {
        Delivery::Deliver
    }
}

/// The plan without troubles.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

impl Faults for NoFaults {}
