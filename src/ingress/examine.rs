//! From events to entries: known type, schema, mapping, version. Pure.
//!
//! All events of a request are examined, and all that is wrong with all of them is said at once.

use std::collections::BTreeMap;
use std::ops::Range;

use hmac::Mac as _;
use serde_json::Value;

use crate::event::cloudevents;
use crate::event::{Attribute, ChangeEvent, EventError, SourceName};
use crate::imprint::CustomerChange;
use crate::ingress::auth::hmac_sha256;
use crate::ingress::{EventType, Refusal, Source};
use crate::mapping::{ForeignAddress, VersionDomain};
use crate::outbox::{Digest, Disposition, NewEntry, ParkReason, Priority};
use crate::time::Timestamp;

/// The members of an event that decide what its content is.
const CONTENT: [&str; 3] = ["type", "subject", "data"];
/// What room an event is given to be written into before it needs more.
const EVENT_BYTES_USUAL: usize = 1024;

/// What events are held against.
pub(super) struct Examination<'a> {
    /// Whose they are.
    pub(super) source: &'a Source,
    /// Whether there can be several: faults name the event then.
    pub(super) is_batch: bool,
    /// The newest moment that a version may name.
    pub(super) newest: Timestamp,
    /// What becomes of an address outside the USA.
    pub(super) foreign_address: ForeignAddress,
}

/// What the entries of a request have in common.
pub(super) struct Entering {
    /// When they are accepted, if they are.
    pub(super) accepted_at: Timestamp,
    /// Who goes before them.
    pub(super) priority: Priority,
    /// The key under which contents are digested.
    pub(super) digest_key: [u8; 32],
}

/// What becomes of one event.
pub(super) type Examined = Result<Disposition, Refusal>;

/// What kind of fault an event has. The first one that any event of a request has decides what the answer is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Malformed,
    UnknownEventType,
    Invalid,
    Unmappable,
}

/// What is wrong with one event.
struct Faulty {
    class: Class,
    faults: Vec<EventError>,
}

impl Faulty {
    fn into_refusal(self) -> Refusal {
        match self.class {
            Class::Malformed => Refusal::Malformed(self.faults),
            Class::UnknownEventType => Refusal::UnknownEventType(self.faults),
            Class::Invalid => Refusal::Invalid(self.faults),
            Class::Unmappable => Refusal::Unmappable(self.faults),
        }
    }
}

impl Class {
    const fn of(self, faults: Vec<EventError>) -> Faulty {
        Faulty {
            class: self,
            faults,
        }
    }
}

impl Examination<'_> {
    /// Makes an entry of every event, or says everything that is wrong.
    pub(super) fn entries(
        &self,
        events: cloudevents::Decoded,
        entering: &Entering,
    ) -> Result<Vec<NewEntry>, Refusal> {
        let mut entries = Vec::with_capacity(events.len());
        let mut faulty = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            match self.event(index, event) {
                Ok((event, disposition)) => entries.push(entering.entry(event, disposition)),
                Err(event) => faulty.push(event),
            }
        }
        refusal(faulty).map_or(Ok(entries), Err)
    }

    /// What becomes of one event.
    pub(super) fn examined(
        &self,
        index: usize,
        event: Result<ChangeEvent, Vec<EventError>>,
    ) -> Examined {
        match self.event(index, event) {
            Ok((_, disposition)) => Ok(disposition),
            Err(faulty) => Err(faulty.into_refusal()),
        }
    }

    fn event(
        &self,
        index: usize,
        event: Result<ChangeEvent, Vec<EventError>>,
    ) -> Result<(ChangeEvent, Disposition), Faulty> {
        let event = event.map_err(|faults| Class::Malformed.of(faults))?;
        let disposition = self
            .disposition(&event)
            .map_err(|faulty| self.named(index, faulty))?;
        Ok((event, disposition))
    }

    fn disposition(&self, event: &ChangeEvent) -> Result<Disposition, Faulty> {
        let event_type = event.event_type.as_str();
        if let Some(kind) = self.source.event_types.get(event_type) {
            self.mapped(kind, &event.envelope)
        } else if self.source.ignored.contains(event_type) {
            Ok(Disposition::Ignore)
        } else {
            Err(Class::UnknownEventType.of(vec![unknown_event_type()]))
        }
    }

    fn mapped(&self, kind: &EventType, envelope: &Value) -> Result<Disposition, Faulty> {
        let Some(change) = change(kind, envelope)? else {
            return Ok(Disposition::Ignore);
        };
        if self.is_ahead(kind, change.version.value) {
            return Err(Class::Unmappable.of(vec![version_ahead()]));
        }
        Ok(match self.foreign_address {
            _ if !change.is_foreign => Disposition::Enqueue(change),
            ForeignAddress::Park => Disposition::Park(change, ParkReason::ForeignAddress),
            ForeignAddress::Skip => match without_address(change) {
                change if change.update.is_empty() => Disposition::Ignore,
                change => Disposition::Enqueue(change),
            },
        })
    }

    /// A version that is a time counts microseconds; a sequence may be any number.
    fn is_ahead(&self, kind: &EventType, version: i64) -> bool {
        match kind.mapping.version_domain() {
            Some(VersionDomain::Time) => version > self.newest.as_millis().saturating_mul(1000),
            Some(VersionDomain::Sequence) | None => false,
        }
    }

    fn named(&self, index: usize, faulty: Faulty) -> Faulty {
        if !self.is_batch {
            return faulty;
        }
        Faulty {
            faults: cloudevents::in_batch(index, faulty.faults),
            ..faulty
        }
    }
}

impl Entering {
    fn entry(&self, event: ChangeEvent, disposition: Disposition) -> NewEntry {
        let written = Written::new(&event.envelope);
        NewEntry {
            disposition,
            digest: self.digest(&written),
            accepted_at: self.accepted_at,
            priority: self.priority,
            event: written.event,
            event_type: event.event_type,
            identity: event.identity,
        }
    }

    /// Type, subject and data decide what the content is; trace headers and the order of keys do not.
    fn digest(&self, written: &Written) -> Digest {
        let [event_type, subject, data] = written.content.clone().map(|place| written.part(place));
        let content: [&[u8]; 7] = [b"[", event_type, b",", subject, b",", data, b"]"];
        let mac = hmac_sha256(&self.digest_key, &content).finalize();
        let mut digest = [0; 16];
        for (slot, byte) in digest.iter_mut().zip(mac.into_bytes()) {
            *slot = byte;
        }
        Digest(digest)
    }
}

/// An event as it is kept: written once, for the store and for its digest.
struct Written {
    event: Vec<u8>,
    /// Where the members of [`CONTENT`] stand in it.
    content: [Range<usize>; CONTENT.len()],
}

impl Written {
    fn new(envelope: &Value) -> Self {
        let mut written = Self {
            event: Vec::with_capacity(EVENT_BYTES_USUAL),
            content: [const { 0..0 }; CONTENT.len()],
        };
        let members = envelope.as_object().into_iter().flatten();
        for (index, (name, value)) in members.enumerate() {
            written.event.push(if index == 0 { b'{' } else { b',' });
            written.write(&Value::from(name.as_str()));
            written.event.push(b':');
            let start = written.event.len();
            written.write(value);
            let place = start..written.event.len();
            let content = CONTENT.iter().zip(&mut written.content);
            content
                .filter(|(member, _)| *member == name)
                .for_each(|(_, slot)| *slot = place.clone());
        }
        written.event.push(b'}');
        written
    }

    fn write(&mut self, value: &Value) {
        // Writing a value of ours to memory cannot fail.
        let _written = serde_json::to_writer(&mut self.event, value);
    }

    /// A member as it was written; null where there is none.
    fn part(&self, place: Range<usize>) -> &[u8] {
        self.event
            .get(place)
            .filter(|part| !part.is_empty())
            .unwrap_or(b"null")
    }
}

/// The change that the schema and the mapping of its type make of an event; `None` if the mapping leaves it out or finds
/// nothing to set.
fn change(kind: &EventType, envelope: &Value) -> Result<Option<CustomerChange>, Faulty> {
    let event = kind.view(envelope);
    let faults = kind.schema.faults(event);
    if !faults.is_empty() {
        return Err(Class::Invalid.of(faults));
    }
    let change = kind
        .mapping
        .map(event)
        .map_err(|faults| Class::Unmappable.of(faults))?;
    Ok(change
        .filter(|change| !change.update.is_empty())
        .map(|mut change| {
            change.version.epoch = kind.epoch;
            change
        }))
}

fn without_address(change: CustomerChange) -> CustomerChange {
    CustomerChange {
        update: change.update.without_address(),
        ..change
    }
}

/// Maps an event that was kept by the schema and the mapping of today, so that it can be sent after both were mended.
///
/// # Errors
/// Everything that is wrong with it.
pub fn map_again(
    sources: &BTreeMap<SourceName, Source>,
    foreign_address: ForeignAddress,
    (source, event_type): (&SourceName, &Attribute),
    event: &[u8],
) -> Result<CustomerChange, Vec<EventError>> {
    let fault = |rule: &str, detail: &str| {
        vec![EventError {
            pointer: String::new(),
            rule: rule.to_owned(),
            location: "events".to_owned(),
            detail: detail.to_owned(),
        }]
    };
    let kind = sources
        .get(source)
        .and_then(|source| source.event_types.get(event_type.as_str()))
        .ok_or_else(|| {
            fault(
                "unknown_event_type",
                "The source has no such event type today.",
            )
        })?;
    let envelope: Value = serde_json::from_slice(event)
        .map_err(|_unreadable| fault("unreadable", "What was kept of the event cannot be read."))?;
    let change = change(kind, &envelope).map_err(|faulty| faulty.faults)?;
    let change = change.ok_or_else(|| {
        let detail = "By the mapping of today, the event has nothing to say.";
        fault("ignored", detail)
    })?;
    match foreign_address {
        _ if !change.is_foreign => Ok(change),
        ForeignAddress::Skip => Ok(without_address(change)),
        ForeignAddress::Park => {
            let detail =
                "The address is outside the USA; imprint.foreign_address = \"skip\" leaves it out.";
            Err(fault("foreign_address", detail))
        }
    }
}

/// The faults of the class that decides stand first: they are the ones the answer is about.
fn refusal(mut faulty: Vec<Faulty>) -> Option<Refusal> {
    faulty.sort_by_key(|event| event.class);
    let class = faulty.first()?.class;
    let faults = faulty.into_iter().flat_map(|event| event.faults).collect();
    Some(class.of(faults).into_refusal())
}

fn unknown_event_type() -> EventError {
    EventError {
        pointer: "/type".to_owned(),
        rule: "unknown_event_type".to_owned(),
        location: "events".to_owned(),
        detail: "The source is configured with other event types.".to_owned(),
    }
}

fn version_ahead() -> EventError {
    EventError {
        pointer: String::new(),
        rule: "version_ahead".to_owned(),
        location: "version".to_owned(),
        detail: "The time that is this event's version lies too far ahead of ours.".to_owned(),
    }
}
