//! The timer for the time limits of a guarded stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::rt::time::{Sleep, sleep};

/// A timer that starts at its first poll.
#[derive(Default)]
pub(super) struct LazyTimer(Option<Pin<Box<Sleep>>>);

impl LazyTimer {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, span: Duration) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep(span)));
        timer.as_mut().poll(cx)
    }

    pub(super) fn stop(&mut self) {
        self.0 = None;
    }
}
