//! `send`: events from a file or from standard input, to a bridge.
//!
//! What is read is bounded, not what there is to read: a thread of its own reads and splits, and waits while the lanes
//! are full. Events of one `subject` go through one lane and so arrive in their order; events without a subject share
//! a lane, because nobody knows whom they are about. Between subjects there is no order.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::sync::mpsc;

use super::authentication::{self, SenderAuthFiles};
use super::event_splitter::{EventSplitter, InputEvent};
use super::keyed_workers::KeyedWorkers;
use super::progress::{SendCounts, SendProgress};
use super::verdict::FailureReason;
use super::{EventSender, SendResult, SenderAuth, events_url};
use crate::dispatch::pace::{Pace, Rate};
use crate::event::SourceName;
use crate::shutdown::Signals;
use crate::telemetry;
use crate::terminal::{print_notice, printable};
use crate::time::Clock;

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// How many events wait between the reader and the lanes.
const READ_AHEAD: usize = 64;
/// The most lanes: each is a connection to the bridge.
pub(crate) const CONCURRENCY_MAX: u64 = 1024;

/// How long what is under way may take after an interrupt.
const PATIENCE: Duration = Duration::from_secs(3);
/// What to do about a run that did not end by itself.
const AGAIN: &str =
    "what follows was not sent. Send all of it again when you like: the bridge knows what it has";

/// What is sent where, and how; the arguments of the command.
#[derive(Debug)]
pub(crate) struct UploadSettings {
    pub(crate) to: String,
    pub(crate) source: SourceName,
    pub(crate) rate: Option<f64>,
    pub(crate) concurrency: u64,
    pub(crate) authentication: SenderAuthFiles,
    pub(crate) plain: bool,
    pub(crate) low_priority: bool,
    pub(crate) give_up_after: Duration,
    pub(crate) quiet: bool,
    pub(crate) file: PathBuf,
}

/// A run whose settings hold: nothing is sent yet.
pub(crate) struct Upload {
    settings: UploadSettings,
    url: String,
    authentication: SenderAuth,
    input: Input,
}

impl Upload {
    /// Everything that can be wrong before the first event, one after the other.
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

    /// Sends what there is to send.
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
                .behind_live(settings.low_priority)
                .plain(settings.plain),
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

/// How a run ended.
#[derive(Debug)]
pub(crate) enum UploadEnd {
    /// Everything that was read went out.
    Whole,
    /// What was read last is no event; what stood before it went out.
    Broken(anyhow::Error),
    /// An event was tried for as long as was said.
    GivenUp,
    /// Somebody asked it to.
    Interrupted,
}

impl UploadEnd {
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Broken(fault) => Some(format!(
                "{}; nothing is read beyond it",
                telemetry::chain(fault.as_ref())
            )),
            Self::GivenUp => Some(format!("gave up; {AGAIN}")),
            Self::Interrupted => Some(format!("interrupted; {AGAIN}")),
        }
    }
}

/// What the lanes share.
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
        // It may stay behind, waiting for standard input; the end of the process is its end.
        std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || read_into(input.bytes, &events))?;
        let run = Rc::clone(&self);
        let concurrency = usize::try_from(settings.concurrency)?;
        let workers = KeyedWorkers::open(concurrency, move |event| Rc::clone(&run).send_one(event));
        let ended = tokio::select! {
            ended = self.feed(&workers, &mut read, pace, clock) => ended?,
            _signal = signals.next() => UploadEnd::Interrupted,
        };
        if matches!(ended, UploadEnd::Interrupted) {
            // Nothing is lost by not waiting longer: what the bridge took is safe there.
            let _in_time: Result<_, _> = tokio::time::timeout(PATIENCE, workers.finish()).await;
            return Ok(ended);
        }
        tokio::select! {
            finished = workers.finish() => finished?,
            _signal = signals.next() => return Ok(UploadEnd::Interrupted),
        }
        Ok(if self.given_up.get() {
            UploadEnd::GivenUp
        } else {
            ended
        })
    }

    /// Puts what is read into the lanes, at the pace that was asked for.
    async fn feed(
        &self,
        workers: &KeyedWorkers<InputEvent>,
        read: &mut mpsc::Receiver<anyhow::Result<InputEvent>>,
        pace: &mut Pace,
        clock: &Clock,
    ) -> anyhow::Result<UploadEnd> {
        while let Some(event) = read.recv().await {
            let event = match event {
                Ok(event) => event,
                Err(fault) => return Ok(UploadEnd::Broken(fault)),
            };
            while pace.take(1, clock.now()) == 0 {
                tokio::time::sleep(pace.next().since(clock.now())).await;
            }
            let subject = event.subject.clone();
            workers.put(subject.as_deref(), event).await?;
            if self.given_up.get() {
                return Ok(UploadEnd::GivenUp);
            }
        }
        Ok(UploadEnd::Whole)
    }

    /// Sends one event and says what came of it; sends nothing once an event was given up.
    async fn send_one(self: Rc<Self>, mut event: InputEvent) {
        if self.given_up.get() {
            return;
        }
        let body = std::mem::take(&mut event.bytes);
        let end = self.sender.send(event.id.as_deref(), &body).await;
        let mut counts = self.counts.get();
        match end {
            SendResult::Accepted => counts.accepted += 1,
            SendResult::Duplicate => counts.duplicates += 1,
            SendResult::Refused(problem) => {
                counts.refused += 1;
                self.tell(&event, "refused", &problem);
            }
            SendResult::Failed(problem) => {
                counts.failed += 1;
                self.tell(&event, "failed", &problem);
            }
            SendResult::GaveUp(problem) => {
                counts.failed += 1;
                self.given_up.set(true);
                self.tell(&event, "failed", &problem);
            }
        }
        self.counts.set(counts);
        self.progress.show(counts, event.end);
    }

    fn tell(&self, event: &InputEvent, what: &str, problem: &FailureReason) {
        let id = event
            .id
            .as_deref()
            .map_or_else(|| "without an id".to_owned(), printable);
        self.progress.print_notice(format_args!(
            "line {}, event {} ({id}): {what}: {problem}",
            event.line, event.number
        ));
    }
}

/// What there is to send.
struct Input {
    bytes: Box<dyn io::Read + Send>,
    /// How much it is, where that is known.
    length_bytes: Option<u64>,
}

fn open(file: &Path) -> anyhow::Result<Input> {
    if file == Path::new("-") {
        if io::stdin().is_terminal() {
            print_notice("reading events from the terminal; Ctrl-D ends them");
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

/// Reads until the end, the first fault, or until nobody wants any more.
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
                let fault = anyhow::Error::from(error).context("the input cannot be read");
                let _nobody: Result<_, _> = events.blocking_send(Err(fault));
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
        if let Err(fault) = fed {
            let _nobody: Result<_, _> = events.blocking_send(Err(fault.into()));
            return;
        }
    }
}
