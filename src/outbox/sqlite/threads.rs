//! The threads of an open store: the writer thread and the watch thread.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The longest time that `close` waits for the writer thread, which cannot end while the disk hangs.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// The threads of an open store.
pub(super) struct Threads {
    writer: JoinHandle<()>,
    /// Closed when the writer thread has ended.
    writer_ended: Receiver<()>,
    watch: JoinHandle<()>,
    /// The watch thread ends when this sender is dropped.
    stop_watch: Sender<()>,
}

impl Threads {
    /// Starts the writer thread with `write`, which ends by itself, and the watch thread with `watch`, which ends when
    /// the channel of its argument is closed.
    pub(super) fn start(
        write: impl FnOnce() + Send + 'static,
        watch: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> io::Result<Self> {
        let (ended, writer_ended) = channel();
        let (stop_watch, stop) = channel();
        let writer = Builder::new().name("outbox".to_owned()).spawn(move || {
            write();
            drop::<Sender<()>>(ended);
        })?;
        let watch = Builder::new()
            .name("outbox-watch".to_owned())
            .spawn(move || watch(&stop))?;
        Ok(Self {
            writer,
            writer_ended,
            watch,
            stop_watch,
        })
    }

    /// Waits until the threads have ended. Does not wait for a writer thread whose disk hangs.
    pub(super) fn join(self) {
        let ended = self.writer_ended.recv_timeout(CLOSE_DEADLINE);
        drop(self.stop_watch);
        if ended == Err(RecvTimeoutError::Timeout) {
            tracing::error!(
                "the store was not closed, because its disk hangs; every acknowledged event is on disk"
            );
            return;
        }
        let panicked = [self.writer.join(), self.watch.join()];
        if panicked.iter().any(Result::is_err) {
            tracing::error!("a thread of the store panicked");
        }
    }
}
