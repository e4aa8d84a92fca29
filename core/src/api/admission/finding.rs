//! What was found wrong so far, and whether it keeps the rules from being asked.

use super::FieldError;

/// Everything found wrong so far.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<FieldError>,
    /// Whether something is wrong that a rule may trip over: the server then asks none.
    pub(super) is_blocked: bool,
}

impl Findings {
    /// A wrong value of the right shape.
    pub(super) fn add(&mut self, error: FieldError) {
        self.errors.push(error);
    }

    /// A wrong shape: a type, something missing, a text too long for the estimates of cost, an unheard-of
    /// value.
    pub(super) fn block(&mut self, error: FieldError) {
        self.errors.push(error);
        self.is_blocked = true;
    }
}
