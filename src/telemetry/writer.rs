//! The thread that writes the queued log lines to standard error.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use super::queue::{LineQueue, count_lines};
use super::sampling::Sampling;

/// The maximum time between two reports about left-out lines.
const TICK: Duration = Duration::from_secs(1);
/// The time before the next attempt if standard error is a full pipe in non-blocking mode.
const FULL_PIPE_WAIT: Duration = Duration::from_millis(50);

/// Starts the writing thread, which runs until the process ends.
pub(super) fn start(queue: &Arc<LineQueue>, sampling: &Sampling) -> io::Result<()> {
    let (queue, sampling) = (Arc::clone(queue), sampling.clone());
    let run = move || run(&queue, &sampling, io::stderr());
    let thread = std::thread::Builder::new().name("log".to_owned());
    thread.spawn(run).map(drop)
}

fn run(queue: &LineQueue, sampling: &Sampling, sink: impl Write) {
    let mut sink = Sink {
        sink,
        is_line_open: false,
    };
    let mut lines = Vec::new();
    let mut reported = 0;
    loop {
        lines.clear();
        queue.take(TICK, &mut lines);
        if let Err(rest) = sink.write_lines(&lines) {
            queue.missing().drop_lines(count_lines(rest));
        } else {
            let dropped = queue.missing().dropped();
            if dropped > reported {
                let lines = dropped.saturating_sub(reported);
                tracing::warn!(
                    lines,
                    "log lines were dropped because standard error was blocked or broken"
                );
                reported = dropped;
            }
        }
        sampling.report_due();
    }
}

struct Sink<W> {
    sink: W,
    /// True if only a part of the last line was written. The next line then needs a line feed before it.
    is_line_open: bool,
}

impl<W: Write> Sink<W> {
    /// Writes all lines. If a write fails, returns the lines that are not written. A full pipe in non-blocking mode is
    /// not a failure: the thread tries again.
    fn write_lines<'a>(&mut self, lines: &'a [u8]) -> Result<(), &'a [u8]> {
        if self.is_line_open && !lines.is_empty() {
            self.write_all(b"\n").map_err(|_line_feed| lines)?;
        }
        self.write_all(lines)
    }

    fn write_all<'a>(&mut self, mut rest: &'a [u8]) -> Result<(), &'a [u8]> {
        while let Some(last) = rest.last() {
            match self.sink.write(rest) {
                Ok(0) => return Err(rest),
                Ok(written) => {
                    let (done, later) = rest.split_at_checked(written).unwrap_or((rest, &[]));
                    self.is_line_open = done.last().unwrap_or(last) != &b'\n';
                    rest = later;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::park_timeout(FULL_PIPE_WAIT);
                }
                Err(_) => return Err(rest),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that takes some bytes, and then fails once with the given error.
    struct Failing {
        taken: Vec<u8>,
        room: usize,
        error: Option<ErrorKind>,
    }

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                self.room = usize::MAX;
                return self.error.take().map_or(Ok(0), |kind| Err(kind.into()));
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_after_a_failure_start_on_a_new_line() {
        let table = [
            (ErrorKind::BrokenPipe, "one\ntw\nthree\n", 2),
            (ErrorKind::StorageFull, "one\ntw\nthree\n", 2),
            (ErrorKind::WouldBlock, "one\ntwo\nmore\nthree\n", 0),
            (ErrorKind::Interrupted, "one\ntwo\nmore\nthree\n", 0),
        ];
        for (error, expected, lost) in table {
            let mut sink = Sink {
                sink: Failing {
                    taken: Vec::new(),
                    room: 6,
                    error: Some(error),
                },
                is_line_open: false,
            };
            let rest = sink.write_lines(b"one\ntwo\nmore\n");
            assert_eq!(rest.err().map_or(0, count_lines), lost, "{error:?}");
            sink.write_lines(b"three\n").unwrap();
            assert_eq!(String::from_utf8_lossy(&sink.sink.taken), expected);
        }
    }
}
