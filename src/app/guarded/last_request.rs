//! The last request of a connection whose place the listener has given to another connection.
//!
//! While hostile clients fill all places, a connection can lose its place before the bridge has read its first bytes. A
//! health check must succeed nevertheless, so the bridge still answers a request that has already arrived. It waits for
//! nothing more: a request that is incomplete, or a client that does not read, ends the connection.

use std::io;
use std::task::Context;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Guarded;

impl<T> Guarded<T> {
    /// Returns whether the listener has given the place of this connection to another connection.
    fn has_lost_place(&mut self, cx: &Context<'_>) -> bool {
        if self.is_busy && self.received <= self.shared.answered() {
            self.is_busy = false;
            self.place.end(self.shared.is_trusted());
        }
        self.place.is_closed(cx.waker())
    }

    /// Returns an error if the connection has lost its place, except while its last request is answered.
    pub(super) fn check_place(&mut self, cx: &Context<'_>) -> io::Result<()> {
        match self.has_lost_place(cx) && !self.is_last_request {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }

    /// Returns an error if the client of a connection without a place must do something: such a connection never waits.
    pub(super) fn check_wait(&self) -> io::Result<()> {
        match self.is_last_request {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Guarded<T> {
    /// Returns an error if the connection has lost its place, and no request has arrived.
    pub(super) fn check_last_request(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.has_lost_place(cx) {
            return Ok(());
        }
        if !self.is_last_request {
            self.is_last_request = true;
            self.poll_ahead(cx)?;
        }
        let has_request = self.is_busy || !self.input.is_empty() || self.ready.bytes().is_some();
        match has_request {
            true => Ok(()),
            false => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}
