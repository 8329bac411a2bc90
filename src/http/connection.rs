//! The state of one HTTP connection that the handlers of requests share with the stream under the HTTP server.
//!
//! The stream gives the server one request at a time, so it must learn when a request is answered. The stream also sends
//! `100 Continue`, so it must learn when a handler starts to read a body.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// The shared state of one connection, which stays on one thread.
#[derive(Debug, Default)]
pub struct ConnectionState {
    answered: Cell<u64>,
    wants_body: Cell<bool>,
    is_trusted: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

impl ConnectionState {
    /// Records that the server has the whole answer to a request.
    pub fn answer(&self) {
        self.answered.set(self.answered.get().wrapping_add(1));
        self.wake();
    }

    /// Returns the number of answered requests.
    pub fn answered(&self) -> u64 {
        self.answered.get()
    }

    /// Records that a handler reads the body of the current request now.
    pub fn want_body(&self) {
        self.wants_body.set(true);
        self.wake();
    }

    /// Returns whether a handler reads the body, and forgets it.
    pub fn take_wants_body(&self) -> bool {
        self.wants_body.take()
    }

    /// Records that a request of this connection was authentic.
    pub fn trust(&self) {
        self.is_trusted.set(true);
    }

    /// Returns whether a request of this connection was authentic.
    pub fn is_trusted(&self) -> bool {
        self.is_trusted.get()
    }

    /// Stores the waker of the task that reads from the connection.
    pub fn read_with(&self, waker: &Waker) {
        let mut reader = self.reader.borrow_mut();
        match &mut *reader {
            Some(known) => known.clone_from(waker),
            None => *reader = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        // The borrow must end first: a waker may run code of the runtime.
        let reader = self.reader.borrow().clone();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}
