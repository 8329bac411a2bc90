//! Tries a mapping: explains a request body or a stored entry with the mapping in use and with an edited source file, and
//! compares the two results. A try-out sends, stores and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::replay::is_invalid;
use super::{Error, Operations, Operator};
use crate::event::{RequestHeaders, SourceName, Visibility};
use crate::intake::comparison::{Difference, compare_bodies};
use crate::intake::{EntryEvent, Explanation, RequestMessage, Source, Sources};
use crate::outbox::{EntryId, Receipt};
use crate::time::Timestamp;

/// The maximum length of the request body of a try-out.
pub const TRY_BODY_BYTES_MAX: usize = 64 * 1024;
/// The maximum number of events in the request body of a try-out. The page shows every expression of every event.
const TRY_EVENTS_MAX: usize = 20;
/// The maximum number of try-outs in progress. A try-out can use a processor until the limits of its expressions end it.
const TRY_OUTS_MAX: usize = 1;
/// The time limit for the answer to a try-out. The thread of a longer try-out ends by the limits of its expressions, and no
/// other try-out starts before.
const TRY_DEADLINE: Duration = Duration::from_secs(10);

/// A try-out: an event, and optionally an edited source file.
pub struct TryOut {
    pub source: SourceName,
    pub event: TriedEvent,
    /// The edited text of the source file. `None` tries only the mapping in use.
    pub text: Option<String>,
    pub visibility: Visibility,
}

impl TryOut {
    /// Returns what the operator can see of the values of a stored entry. An edited mapping can write each value to a place
    /// that is not masked, such as an id, and can ask for a value with a condition. It therefore reveals the values.
    const fn sight_of_entry(&self) -> Visibility {
        match self.text {
            Some(_) => Visibility::Revealed,
            None => self.visibility,
        }
    }
}

/// The event of a try-out.
pub enum TriedEvent {
    /// A request body, with the headers that the expressions of the source can read. The names are in lower case.
    Body {
        body: Vec<u8>,
        headers: BTreeMap<String, String>,
    },
    /// The event of a stored entry.
    Entry(EntryId),
}

/// The result of a try-out.
#[derive(Debug)]
pub struct TryResult {
    /// The explanation with the mapping in use.
    pub live: Explanation,
    /// The result of the edited source file, if the try-out has one.
    pub edited: Option<EditedResult>,
}

/// The result of an edited source file.
#[derive(Debug)]
pub enum EditedResult {
    /// The text has errors, so that it has no explanation.
    Wrong(Vec<String>),
    Explained {
        explanation: Box<Explanation>,
        /// The differences between the mapping in use and the edited one.
        differences: Vec<Difference>,
    },
}

/// Limits the try-outs in progress.
#[derive(Clone, Debug)]
pub struct TryOuts(Arc<Semaphore>);

impl Default for TryOuts {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TRY_OUTS_MAX)))
    }
}

/// Prints only the source, because the event is personal data.
impl std::fmt::Debug for TryOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TryOut")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Prints only the number of the entry, because a body is personal data.
impl std::fmt::Debug for TriedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Body { .. } => f.write_str("Body"),
            Self::Entry(entry) => f.debug_tuple("Entry").field(entry).finish(),
        }
    }
}

/// The event of a try-out in the form in which a thread explains it.
enum Event {
    Body {
        body: Vec<u8>,
        headers: BTreeMap<String, String>,
    },
    Entry {
        receipt: Box<Receipt>,
        bytes: Vec<u8>,
    },
}

impl Operations {
    /// Returns the text of the file of a source in use, without comments about its authentication. `None` if the text is
    /// too long for a try-out.
    ///
    /// # Errors
    /// Returns an error if no source has this name.
    pub fn source_text(
        &self,
        _operator: &Operator,
        source: &SourceName,
    ) -> Result<Option<Arc<str>>, Error> {
        let sources = self.sources.sources();
        sources.get(source).ok_or(Error::UnknownSource)?;
        Ok(self.sources.text(source))
    }

    /// Returns the names of the headers that the expressions of a source read.
    pub fn read_headers(&self, _operator: &Operator, source: &SourceName) -> Vec<String> {
        let sources = self.sources.sources();
        let source = sources.get(source);
        let names = source.map(|source| source.read_headers());
        names.unwrap_or_default().into_iter().collect()
    }

    /// Tries a mapping. A try-out sends, stores and changes nothing. If the operator asks for the unmasked values of a
    /// stored entry, or tries an edited mapping on a stored entry, the bridge first writes an audit record.
    ///
    /// # Errors
    /// Returns an error if no source or no entry has this name or number, if the entry has ended or belongs to another
    /// source, if the body is too large, if another try-out is in progress, or if the try-out takes too long.
    pub async fn try_out(&self, operator: &Operator, try_out: TryOut) -> Result<TryResult, Error> {
        let live = self.sources.sources();
        let source = live.get(&try_out.source).ok_or(Error::UnknownSource)?;
        let permit = Arc::clone(&self.try_outs.0).try_acquire_owned();
        let permit = permit.map_err(|_none| Error::TryOutRunning)?;
        let event = self.tried_event(operator, &try_out).await?;
        let (source, visibility) = (Arc::clone(source), try_out.visibility);
        let (sources, now) = (Arc::clone(&self.sources), self.clock.shared_wall());
        let (result, tried) = oneshot::channel();
        let run = move || {
            let edited = try_out
                .text
                .map(|text| sources.read_text(&source.name, &text, &live.schemas()));
            let trial = Trial {
                live: &live,
                event,
                now,
                visibility,
            };
            let tried = trial.run(&source, edited);
            // An operator who has the answer can try again at once.
            drop(permit);
            // The operator possibly waits no longer.
            let _unheard: Result<(), _> = result.send(tried);
        };
        let started = thread::Builder::new().name("try-out".to_owned()).spawn(run);
        started.map_err(|_error| Error::TryOutRunning)?;
        match tokio::time::timeout(TRY_DEADLINE, tried).await {
            Ok(Ok(Some(result))) => Ok(result),
            Ok(Ok(None)) => Err(Error::UnknownSource),
            Ok(Err(_)) | Err(_) => Err(Error::TryOutTooLong),
        }
    }

    async fn tried_event(&self, operator: &Operator, try_out: &TryOut) -> Result<Event, Error> {
        let entry = match &try_out.event {
            TriedEvent::Body { body, .. } if body.len() > TRY_BODY_BYTES_MAX => {
                return Err(Error::TryOutTooLarge);
            }
            TriedEvent::Body { body, headers } => {
                return Ok(Event::Body {
                    body: body.clone(),
                    headers: headers.clone(),
                });
            }
            TriedEvent::Entry(entry) => *entry,
        };
        let visibility = try_out.sight_of_entry();
        operator.require_sight(visibility)?;
        let inspection = self.inspect(entry).await?;
        let receipt = inspection.summary.receipt;
        if receipt.identity.source != try_out.source {
            return Err(Error::OtherSource);
        }
        let bytes = inspection.event.ok_or(Error::EventErased)?;
        match try_out.visibility {
            // The operator has not asked for unmasked values, but the edited mapping can show them.
            Visibility::Masked if try_out.text.is_some() => {
                let event = self.audit_event(operator, "try_out", entry.to_string());
                self.outbox.append_audit(event).await?;
            }
            Visibility::Masked | Visibility::Revealed => {
                self.audit_reveal(operator, entry, visibility).await?;
            }
        }
        Ok(Event::Entry {
            receipt: Box::new(receipt),
            bytes: bytes.to_vec(),
        })
    }
}

/// The event of a try-out, with everything that its explanations need.
struct Trial<'a> {
    live: &'a Sources,
    event: Event,
    now: Timestamp,
    visibility: Visibility,
}

impl Trial<'_> {
    /// Returns `None` if the bridge cannot read the stored event.
    fn run(
        &self,
        source: &Arc<Source>,
        edited: Option<Result<Arc<Source>, Vec<String>>>,
    ) -> Option<TryResult> {
        let edited = match edited {
            None => None,
            Some(Err(errors)) => Some(EditedResult::Wrong(errors)),
            Some(Ok(edited)) => Some(EditedResult::Explained {
                differences: self.differences(source, &edited)?,
                explanation: Box::new(self.explain(&edited, self.visibility)?),
            }),
        };
        Some(TryResult {
            live: self.explain(source, self.visibility)?,
            edited,
        })
    }

    /// Compares the unmasked results, because different values can have the same masked form.
    fn differences(&self, live: &Arc<Source>, edited: &Arc<Source>) -> Option<Vec<Difference>> {
        let [live, edited] =
            [live, edited].map(|source| self.explain(source, Visibility::Revealed));
        let differences = compare_bodies(&live?, &edited?).into_iter();
        let shown = differences.map(|difference| difference.shown(self.visibility));
        Some(shown.collect())
    }

    fn explain(&self, source: &Arc<Source>, visibility: Visibility) -> Option<Explanation> {
        let sources = self.live.only(Arc::clone(source), TRY_EVENTS_MAX);
        match &self.event {
            Event::Body { body, headers } => {
                let read = |name: &str| Ok::<_, ()>(headers.get(name).map(String::as_str));
                let headers = match RequestHeaders::read(&source.read_headers(), read) {
                    Ok(headers) => headers,
                    Err(errors) => return Some(Explanation::refused(&source.name, errors)),
                };
                let message = RequestMessage {
                    headers: &headers,
                    body,
                };
                sources.explain_body(&source.name, message, self.now, visibility)
            }
            Event::Entry { receipt, bytes } => {
                let event = EntryEvent {
                    identity: &receipt.identity,
                    event_type: &receipt.event_type,
                    bytes,
                    is_invalid: is_invalid(receipt),
                };
                let event = sources.explain_entry(event, self.now, visibility)?;
                Some(Explanation::of_entry(&source.name, event))
            }
        }
    }
}
