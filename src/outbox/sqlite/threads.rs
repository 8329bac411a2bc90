//! The threads of an open store: the writer thread and the threads that watch the store.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The longest time that `close` waits for a thread. A thread cannot end while the disk hangs.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// The threads of an open store.
pub(super) struct Threads {
    writer: StoreThread,
    watches: Vec<StoreThread>,
    /// A thread that watches the store ends when its sender is dropped.
    stop: Vec<Sender<()>>,
}

/// A thread that watches the store until the channel of its argument is closed.
pub(super) type Watch = Box<dyn FnOnce(&Receiver<()>) + Send>;

impl Threads {
    /// Starts the writer thread with the function `write`, and one thread for each of `watches`. The writer thread ends
    /// when the store is closed.
    pub(super) fn start(
        write: impl FnOnce() + Send + 'static,
        watches: impl IntoIterator<Item = (&'static str, Watch)>,
    ) -> io::Result<Self> {
        let mut threads = Self {
            writer: StoreThread::spawn("outbox", write)?,
            watches: Vec::new(),
            stop: Vec::new(),
        };
        for (name, watch) in watches {
            let (stop, stopped) = channel();
            let thread = StoreThread::spawn(name, move || watch(&stopped))?;
            threads.watches.push(thread);
            threads.stop.push(stop);
        }
        Ok(threads)
    }

    /// Waits until the threads have ended. Gives up after [`CLOSE_DEADLINE`], because a thread hangs while the disk
    /// hangs.
    pub(super) fn join(self) {
        let is_closed = self.writer.join();
        drop(self.stop);
        if !is_closed {
            tracing::error!(
                "the store was not closed, because its disk hangs; every acknowledged event is on disk"
            );
            return;
        }
        for watch in self.watches {
            watch.join();
        }
    }
}

struct StoreThread {
    handle: JoinHandle<()>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

impl StoreThread {
    fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (end, ended) = channel();
        let handle = Builder::new().name(name.to_owned()).spawn(move || {
            run();
            drop::<Sender<()>>(end);
        })?;
        Ok(Self { handle, ended })
    }

    /// Waits until the thread has ended. Returns `false` if the thread hangs.
    fn join(self) -> bool {
        if self.ended.recv_timeout(CLOSE_DEADLINE) == Err(RecvTimeoutError::Timeout) {
            return false;
        }
        if self.handle.join().is_err() {
            tracing::error!("a thread of the store panicked");
        }
        true
    }
}
