//! The state of one HTTP connection. The request handlers share the state with the byte stream from which the HTTP
//! server reads.
//!
//! The stream gives the server one request at a time, so the stream must know when the server has answered a request.
//! The stream also sends `100 Continue`, so the stream must know when a handler starts to read a body.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// The state of one connection. All users of the state run on the same thread.
#[derive(Debug, Default)]
pub struct ConnectionState {
    answered: Cell<u64>,
    /// True if the sender of the current request waits for `100 Continue`.
    expects_continue: Cell<bool>,
    /// True if the stream must send `100 Continue`.
    must_continue: Cell<bool>,
    is_trusted: Cell<bool>,
    /// True if the socket will wake the task that reads from the connection. The next answer then does not wake this
    /// task.
    is_watched: Cell<bool>,
    is_cut: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

impl ConnectionState {
    /// Records that the handler has passed the complete answer to the server.
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

    /// Records that the socket will wake the task that reads from the connection. The next answer then does not wake
    /// this task, which saves one run of the task for each request.
    pub fn watch(&self) {
        self.is_watched.set(true);
    }

    /// Records whether the sender of the current request waits for `100 Continue`.
    pub fn expect_continue(&self, expects: bool) {
        self.expects_continue.set(expects);
    }

    /// Records that a handler starts to read the body of the current request.
    pub fn want_body(&self) {
        if self.expects_continue.take() {
            self.must_continue.set(true);
            self.wake();
        }
    }

    /// Returns whether the stream must send `100 Continue`. Returns true only once for each request.
    pub fn take_continue(&self) -> bool {
        self.must_continue.take()
    }

    /// Records that the bridge has authenticated a request on this connection.
    pub fn trust(&self) {
        self.is_trusted.set(true);
    }

    /// Returns whether the bridge has authenticated a request on this connection.
    pub fn is_trusted(&self) -> bool {
        self.is_trusted.get()
    }

    /// Records that the bridge closes the connection although the client is possibly still sending.
    pub fn cut(&self) {
        self.is_cut.set(true);
    }

    /// Returns whether the bridge closes the connection although the client is possibly still sending.
    pub fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Stores the waker of the task that reads from the connection. The next answer wakes this task.
    pub fn read_with(&self, waker: &Waker) {
        self.is_watched.set(false);
        let mut reader = self.reader.borrow_mut();
        match &mut *reader {
            Some(known) => known.clone_from(waker),
            None => *reader = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        // The borrow must end before the call of `wake`: `wake` can run code of the runtime that borrows `reader`
        // again.
        let reader = self.reader.borrow().clone();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}
