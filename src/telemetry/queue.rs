//! The queue of log lines. All threads append lines, and one thread writes the lines to standard error.
//!
//! Appending a line holds a lock only while the line is copied. It never waits for standard error, and cannot fail.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::MissingLines;

/// The maximum size of the queue in bytes, which is about a thousand lines. The writing thread has at most the same
/// number of bytes in addition.
pub(super) const QUEUE_BYTES_MAX: usize = 256 * 1024;

/// A queue of whole lines with a limited size.
#[derive(Debug)]
pub(super) struct LineQueue {
    lines: Mutex<QueuedLines>,
    changed: Condvar,
    missing: &'static MissingLines,
}

#[derive(Debug, Default)]
struct QueuedLines {
    bytes: Vec<u8>,
    /// True while the writing thread has lines that it has not yet written.
    is_writing: bool,
}

impl LineQueue {
    pub(super) fn new(missing: &'static MissingLines) -> Self {
        Self {
            lines: Mutex::default(),
            changed: Condvar::new(),
            missing,
        }
    }

    pub(super) const fn missing(&self) -> &'static MissingLines {
        self.missing
    }

    /// Appends one or more complete lines. If the queue is full, drops and counts the lines.
    pub(super) fn push(&self, lines: &[u8]) {
        let mut queued = self.lock();
        if queued.bytes.len().saturating_add(lines.len()) > QUEUE_BYTES_MAX {
            drop(queued);
            self.missing.drop_lines(count_lines(lines));
            return;
        }
        queued.bytes.extend_from_slice(lines);
        drop(queued);
        self.changed.notify_all();
    }

    /// Moves all lines of the queue into `taken`, which must be empty. Waits at most `wait` for a line. A call also
    /// means that the thread has written the lines of the previous call.
    pub(super) fn take(&self, wait: Duration, taken: &mut Vec<u8>) {
        let mut queued = self.lock();
        queued.is_writing = false;
        self.changed.notify_all();
        let (mut queued, _timeout) = self
            .changed
            .wait_timeout_while(queued, wait, |queued| queued.bytes.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut queued.bytes, taken);
        queued.is_writing = !taken.is_empty();
    }

    /// Waits at most `wait` until all lines are written.
    pub(super) fn flush(&self, wait: Duration) {
        let queued = self.lock();
        let is_pending = |queued: &mut QueuedLines| queued.is_writing || !queued.bytes.is_empty();
        drop(self.changed.wait_timeout_while(queued, wait, is_pending));
    }

    fn lock(&self) -> MutexGuard<'_, QueuedLines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number of lines in `bytes`, including a last line without a line feed.
pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    let unfinished = bytes.last().is_some_and(|last| *last != b'\n');
    u64::try_from(ends)
        .unwrap_or(u64::MAX)
        .saturating_add(u64::from(unfinished))
}

/// Creates a writer for each log line. The writer never returns an error, because `tracing` would print the error.
#[derive(Clone, Debug)]
pub(super) struct MakeLine(pub(super) Arc<LineQueue>);

impl<'a> MakeWriter<'a> for MakeLine {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(&self.0)
    }
}

pub(super) struct LineWriter<'a>(&'a LineQueue);

impl io::Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static MISSING: MissingLines = MissingLines::new();

    #[test]
    fn a_full_queue_drops_and_counts_lines_and_takes_lines_again_after_it_was_emptied() {
        let queue = LineQueue::new(&MISSING);
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        for _ in 0..QUEUE_BYTES_MAX / 1024 {
            queue.push(&line);
        }
        assert_eq!(MISSING.dropped(), 0);
        queue.push(b"one\ntwo\n");
        assert_eq!(MISSING.dropped(), 2);
        let mut taken = Vec::new();
        queue.take(Duration::ZERO, &mut taken);
        assert_eq!(taken.len(), QUEUE_BYTES_MAX);
        queue.push(b"three\n");
        assert_eq!(MISSING.dropped(), 2);
        taken.clear();
        queue.take(Duration::ZERO, &mut taken);
        assert_eq!(taken, b"three\n");
    }

    #[test]
    fn a_flush_ends_without_a_writer() {
        let queue = LineQueue::new(&MISSING);
        queue.push(b"one\n");
        queue.flush(Duration::from_millis(1));
    }

    #[test]
    fn an_unfinished_line_counts() {
        for (bytes, lines) in [("", 0), ("a\n", 1), ("a\nb", 2)] {
            assert_eq!(count_lines(bytes.as_bytes()), lines, "{bytes:?}");
        }
    }
}
