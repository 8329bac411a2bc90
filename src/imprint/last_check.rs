//! The last check of an update, immediately before its first byte.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// Decides whether the client may send an update.
///
/// Between the decision of dispatch and the first byte, the client possibly opens a connection. This takes seconds, or even
/// longer if the process stands still meanwhile.
#[derive(Clone)]
pub struct LastCheck {
    may_send: Rc<dyn Fn() -> bool>,
    has_refused: Rc<Cell<bool>>,
}

impl fmt::Debug for LastCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastCheck").finish_non_exhaustive()
    }
}

impl LastCheck {
    /// Creates a check that allows the update if `may_send` returns true.
    pub fn new(may_send: impl Fn() -> bool + 'static) -> Self {
        Self {
            may_send: Rc::new(may_send),
            has_refused: Rc::default(),
        }
    }

    /// Returns whether the client may send the update now.
    pub fn allows(&self) -> bool {
        let may_send = (self.may_send)();
        self.has_refused.set(!may_send);
        may_send
    }

    /// Returns whether the last call of [`Self::allows`] returned false. The client then has sent nothing.
    pub fn has_refused(&self) -> bool {
        self.has_refused.get()
    }
}
