//! Sends every event of a file or of standard input to a bridge.
//!
//! The input can have any length, but the memory is bounded: a reader thread splits the input into events, and waits
//! while the queues of the workers are full. One worker sends all events with the same attribute `subject`, so these
//! events arrive in order. One worker sends all events without a subject, because these events are possibly about the
//! same customer. Events with different subjects can arrive in any order.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use tokio::sync::mpsc;

use super::authentication::{self, SenderAuthFiles};
use super::event_splitter::{EventSplitter, InputEvent};
use super::keyed_workers::KeyedWorkers;
use super::progress::{SendCounts, SendProgress};
use super::verdict::{FailureReason, StoredEvents};
use super::{EventSender, SendFormat, SendPriority, SendResult, SenderAuth, events_url};
use crate::dispatch::pace::{Pace, Rate};
use crate::event::SourceName;
use crate::http::{HeaderName, HeaderValue};
use crate::shutdown::Signals;
use crate::telemetry;
use crate::terminal::{print_notice, printable};
use crate::time::Clock;

/// The maximum number of bytes in one read of the input.
const CHUNK_BYTES: usize = 64 * 1024;
/// The maximum number of events that wait between the reader thread and the workers.
const READ_AHEAD: usize = 64;
/// The maximum number of workers of `send`. Each worker has a connection to the bridge.
pub(crate) const CONCURRENCY_MAX: u64 = 1024;

/// The maximum length of the input with `--whole`: the maximum of the setting `ingress.body_bytes_max`.
const WHOLE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// After an interrupt, `send` waits at most this time for the answers to the requests in flight.
const FINISH_MAX: Duration = Duration::from_secs(3);
/// The advice that `send` prints after a run that did not reach the end of the input.
const RESEND_ADVICE: &str = "the remaining events were not sent. You can send the whole file again at any time: the bridge recognises events that it has";

/// The arguments of the command `send`.
#[derive(Debug)]
pub(crate) struct UploadSettings {
    pub(crate) to: String,
    pub(crate) source: SourceName,
    pub(crate) rate: Option<f64>,
    pub(crate) concurrency: u64,
    pub(crate) authentication: SenderAuthFiles,
    pub(crate) plain: bool,
    /// True if the whole input is the body of one request.
    pub(crate) whole: bool,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) low_priority: bool,
    pub(crate) give_up_after: Duration,
    pub(crate) quiet: bool,
    pub(crate) file: PathBuf,
}

/// An upload with checked settings. The upload has not sent any event yet.
pub(crate) struct Upload {
    settings: UploadSettings,
    url: String,
    authentication: SenderAuth,
    input: Input,
}

impl Upload {
    /// Checks the settings, reads the secrets and opens the input.
    pub(crate) fn prepare(settings: UploadSettings) -> anyhow::Result<Self> {
        let url = events_url(&settings.to, settings.source.as_str())
            .map_err(|reason| anyhow!("--to {} {reason}", printable(&settings.to)))?;
        let authentication = authentication::read(&settings.authentication)?;
        let input = open(&settings.file)?;
        Ok(Self {
            settings,
            url,
            authentication,
            input,
        })
    }

    /// Sends every event. Returns the reason for the end of the upload, and the number of events for each result.
    pub(crate) async fn run(self) -> anyhow::Result<(UploadEnd, SendCounts)> {
        let Self {
            settings,
            url,
            authentication,
            input,
        } = self;
        let clock = Clock::machine();
        let run = Rc::new(UploadRun {
            sender: EventSender::new(url, authentication, clock.clone(), settings.give_up_after)?
                .with_headers(settings.headers.clone())
                .with_priority(if settings.low_priority {
                    SendPriority::BehindLive
                } else {
                    SendPriority::Live
                })
                .with_format(if settings.plain {
                    SendFormat::PlainJson
                } else {
                    SendFormat::CloudEvents
                }),
            progress: SendProgress::new(input.length_bytes, settings.quiet),
            counts: Cell::default(),
            given_up: Cell::default(),
        });
        let mut pace = Pace::new(
            settings.rate.map_or(Rate::Unlimited, Rate::PerSecond),
            clock.now(),
        );
        let ended = Rc::clone(&run)
            .send_all(input, &settings, &mut pace, &clock)
            .await;
        run.progress.finish();
        Ok((ended?, run.counts.get()))
    }
}

/// The reason for the end of an upload.
#[derive(Debug)]
pub(crate) enum UploadEnd {
    /// The upload sent every event of the input.
    Complete,
    /// The input has no event.
    NoEvent,
    /// The input is not a stream of events. The upload sent the events before the error.
    InvalidInput(anyhow::Error),
    /// The bridge did not accept an event within the time limit, so the upload ended.
    GaveUp,
    /// A signal ended the upload.
    Interrupted,
}

impl UploadEnd {
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Complete => None,
            Self::NoEvent => Some("the input has no event".to_owned()),
            Self::InvalidInput(error) => Some(format!(
                "{}; the rest of the input was not read",
                telemetry::chain(error.as_ref())
            )),
            Self::GaveUp => Some(format!("gave up; {RESEND_ADVICE}")),
            Self::Interrupted => Some(format!("interrupted; {RESEND_ADVICE}")),
        }
    }
}

/// The state of an upload that all workers share.
struct UploadRun {
    sender: EventSender,
    progress: SendProgress,
    counts: Cell<SendCounts>,
    given_up: Cell<bool>,
}

impl UploadRun {
    async fn send_all(
        self: Rc<Self>,
        input: Input,
        settings: &UploadSettings,
        pace: &mut Pace,
        clock: &Clock,
    ) -> anyhow::Result<UploadEnd> {
        let mut signals = Signals::listen()?;
        let (events, mut read) = mpsc::channel(READ_AHEAD);
        let read_events: ReadEvents = match settings.whole {
            true => read_whole,
            false => read_into,
        };
        // If the reader thread still waits for standard input after the upload, the thread ends with the process.
        std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || read_events(input.bytes, &events))?;
        let run = Rc::clone(&self);
        let concurrency = usize::try_from(settings.concurrency)?;
        let workers =
            KeyedWorkers::start(concurrency, move |event| Rc::clone(&run).send_one(event));
        let ended = tokio::select! {
            ended = self.feed(&workers, &mut read, pace, clock) => ended?,
            _signal = signals.next() => UploadEnd::Interrupted,
        };
        if matches!(ended, UploadEnd::Interrupted) {
            // A longer wait has no benefit, because the bridge keeps every accepted event even if the answer is lost.
            let _in_time: Result<_, _> = tokio::time::timeout(FINISH_MAX, workers.finish()).await;
            return Ok(ended);
        }
        tokio::select! {
            finished = workers.finish() => finished?,
            _signal = signals.next() => return Ok(UploadEnd::Interrupted),
        }
        Ok(if self.given_up.get() {
            UploadEnd::GaveUp
        } else {
            ended
        })
    }

    /// Gives the events of the input to the workers, not faster than the configured rate.
    async fn feed(
        &self,
        workers: &KeyedWorkers<InputEvent>,
        read: &mut mpsc::Receiver<anyhow::Result<InputEvent>>,
        pace: &mut Pace,
        clock: &Clock,
    ) -> anyhow::Result<UploadEnd> {
        let mut is_empty = true;
        while let Some(event) = read.recv().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => return Ok(UploadEnd::InvalidInput(error)),
            };
            is_empty = false;
            while pace.take(1, clock.now()) == 0 {
                tokio::time::sleep(pace.next().since(clock.now())).await;
            }
            let subject = event.subject.clone();
            workers.submit(subject.as_deref(), event).await?;
            if self.given_up.get() {
                return Ok(UploadEnd::GaveUp);
            }
        }
        Ok(match is_empty {
            true => UploadEnd::NoEvent,
            false => UploadEnd::Complete,
        })
    }

    /// Sends one event and counts the result. Does nothing if the upload has given up after another event.
    async fn send_one(self: Rc<Self>, mut event: InputEvent) {
        if self.given_up.get() {
            return;
        }
        let body = std::mem::take(&mut event.bytes);
        let result = self.sender.send(event.id.as_deref(), &body).await;
        let mut counts = self.counts.get();
        match result {
            SendResult::Stored(stored) => {
                counts.accepted += stored.accepted;
                counts.duplicates += stored.duplicates;
                counts.parked += u64::try_from(stored.parked.len()).unwrap_or(u64::MAX);
                counts.held += stored.held;
                self.report_stored(&event, &stored);
            }
            SendResult::Refused(reason) => {
                counts.refused += 1;
                self.report(&event, "refused", &reason);
            }
            SendResult::Failed(reason) => {
                counts.failed += 1;
                self.report(&event, "failed", &reason);
            }
            SendResult::GaveUp(reason) => {
                counts.failed += 1;
                self.given_up.set(true);
                self.report(&event, "failed", &reason);
            }
        }
        self.counts.set(counts);
        self.progress.show(counts, event.end);
    }

    /// Reports what a sender would not expect of accepted events: parked events, and a body without an event.
    fn report_stored(&self, event: &InputEvent, stored: &StoredEvents) {
        for parked in &stored.parked {
            self.print(event, Some(&parked.id), parked);
        }
        if stored.accepted == 0 && stored.duplicates == 0 {
            let nothing = "the bridge accepted the body, but found no event in it";
            self.print(event, event.id.as_deref(), nothing);
        }
    }

    fn report(&self, event: &InputEvent, result: &str, reason: &FailureReason) {
        self.print(
            event,
            event.id.as_deref(),
            format_args!("{result}: {reason}"),
        );
    }

    fn print(&self, event: &InputEvent, id: Option<&str>, text: impl fmt::Display) {
        let id = id.map_or_else(|| "no id".to_owned(), printable);
        self.progress.print_notice(format_args!(
            "line {}, event {} ({id}): {text}",
            event.line, event.number
        ));
    }
}

/// The input of an upload.
struct Input {
    bytes: Box<dyn io::Read + Send>,
    /// The length of the input, if the length is known.
    length_bytes: Option<u64>,
}

fn open(file: &Path) -> anyhow::Result<Input> {
    if file == Path::new("-") {
        if io::stdin().is_terminal() {
            print_notice("reading events from the terminal; end them with Ctrl-D");
        }
        return Ok(Input {
            bytes: Box::new(io::stdin()),
            length_bytes: None,
        });
    }
    let unreadable = || format!("{} cannot be read", file.display());
    let bytes = File::open(file).with_context(unreadable)?;
    let about = bytes.metadata().with_context(unreadable)?;
    if about.is_dir() {
        return Err(anyhow!("{} is a folder", file.display()));
    }
    Ok(Input {
        length_bytes: about.is_file().then_some(about.len()),
        bytes: Box::new(bytes),
    })
}

/// A function that reads the events of an input until the input ends or has an error.
type ReadEvents = fn(Box<dyn io::Read + Send>, &mpsc::Sender<anyhow::Result<InputEvent>>);

/// Reads the whole input as the body of one request.
fn read_whole(bytes: Box<dyn io::Read + Send>, events: &mpsc::Sender<anyhow::Result<InputEvent>>) {
    let mut body = Vec::new();
    let read = bytes.take(WHOLE_BYTES_MAX + 1).read_to_end(&mut body);
    let read = read.context("the input cannot be read");
    let event = read.and_then(|length| {
        let length = u64::try_from(length)?;
        ensure!(
            length <= WHOLE_BYTES_MAX,
            "the input is longer than {WHOLE_BYTES_MAX} bytes"
        );
        Ok(InputEvent::whole(body, length))
    });
    let _ended: Result<_, _> = events.blocking_send(event);
}

/// Reads events until the input ends, the input has an error, or the upload ends.
fn read_into(
    mut bytes: Box<dyn io::Read + Send>,
    events: &mpsc::Sender<anyhow::Result<InputEvent>>,
) {
    let mut splitter = EventSplitter::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut is_wanted = true;
    while is_wanted {
        let read = match bytes.read(&mut chunk) {
            Ok(read) => chunk.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let error = anyhow::Error::from(error).context("the input cannot be read");
                let _ended: Result<_, _> = events.blocking_send(Err(error));
                return;
            }
        };
        let fed = if read.is_empty() {
            is_wanted = false;
            splitter.finish()
        } else {
            splitter.feed(read, |event| {
                is_wanted &= events.blocking_send(Ok(event)).is_ok();
            })
        };
        if let Err(error) = fed {
            let _ended: Result<_, _> = events.blocking_send(Err(error.into()));
            return;
        }
    }
}
