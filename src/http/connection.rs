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
    /// Whether the sender of the current request waits for `100 Continue`.
    expects_continue: Cell<bool>,
    /// Whether the stream must send `100 Continue`.
    must_continue: Cell<bool>,
    is_trusted: Cell<bool>,
    /// Whether the socket wakes the reader, so that an answer need not.
    is_watched: Cell<bool>,
    is_cut: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

impl ConnectionState {
    /// Records that the server has the whole answer to a request.
    pub fn answer(&self) {
        self.answered.set(self.answered.get().wrapping_add(1));
        if !self.is_watched.take() {
            self.wake();
        }
    }

    /// Returns the number of answered requests.
    pub fn answered(&self) -> u64 {
        self.answered.get()
    }

    /// Records that the socket will wake the task that reads from the connection. The next answer does not wake it then,
    /// which saves the server a whole turn for each request.
    pub fn watch(&self) {
        self.is_watched.set(true);
    }

    /// Records whether the sender of the current request waits for `100 Continue`.
    pub fn expect_continue(&self, expects: bool) {
        self.expects_continue.set(expects);
    }

    /// Records that a handler reads the body of the current request now.
    pub fn want_body(&self) {
        if self.expects_continue.take() {
            self.must_continue.set(true);
            self.wake();
        }
    }

    /// Returns whether the stream must send `100 Continue`, and forgets it.
    pub fn take_continue(&self) -> bool {
        self.must_continue.take()
    }

    /// Records that a request of this connection was authentic.
    pub fn trust(&self) {
        self.is_trusted.set(true);
    }

    /// Returns whether a request of this connection was authentic.
    pub fn is_trusted(&self) -> bool {
        self.is_trusted.get()
    }

    /// Records that the connection ends although its client may still send.
    pub fn cut(&self) {
        self.is_cut.set(true);
    }

    /// Returns whether the connection ends although its client may still send.
    pub fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Stores the waker of the task that reads from the connection, which the next answer wakes.
    pub fn read_with(&self, waker: &Waker) {
        self.is_watched.set(false);
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
