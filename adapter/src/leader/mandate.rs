//! Whether an operator may act: for a term, always, or not yet.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Whether this operator may act, and until when.
#[derive(Debug)]
pub struct Mandate {
    standing: Mutex<Standing>,
    terms: watch::Sender<Option<CancellationToken>>,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    Never,
    Until(Instant),
    Always,
}

impl Mandate {
    /// Leadership is not asked for: it may always act.
    pub fn unlimited() -> Self {
        Self {
            standing: Mutex::new(Standing::Always),
            terms: watch::Sender::new(Some(CancellationToken::new())),
        }
    }

    /// It may not act until elected.
    pub fn elected() -> Self {
        Self { standing: Mutex::new(Standing::Never), terms: watch::Sender::new(None) }
    }

    /// Whether it may act at this moment. A process that was stalled for longer than its mandate lasts finds out here,
    /// before any timer has fired.
    pub fn is_held(&self) -> bool {
        match *self.standing.lock().unwrap_or_else(PoisonError::into_inner) {
            Standing::Never => false,
            Standing::Until(end) => Instant::now() < end,
            Standing::Always => true,
        }
    }

    /// Waits for a term; the token is cancelled when it ends.
    pub(crate) async fn term(&self) -> CancellationToken {
        let mut terms = self.terms.subscribe();
        match terms.wait_for(Option::is_some).await.map(|term| term.clone()) {
            Ok(Some(term)) => term,
            // The sender is our own field, so neither can be.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    pub(super) fn grant(&self, end: Instant) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = Standing::Until(end);
        self.terms.send_if_modified(|term| {
            let begins = term.is_none();
            if begins {
                *term = Some(CancellationToken::new());
            }
            begins
        });
    }

    pub(super) fn revoke(&self) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = Standing::Never;
        if let Some(term) = self.terms.send_replace(None) {
            term.cancel();
        }
    }
}
