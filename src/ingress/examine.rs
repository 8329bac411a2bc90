//! From events to entries: known type, schema, mapping, version. Pure.
//!
//! All events of a request are examined, and all that is wrong with all of them is said at once.

use std::collections::BTreeMap;

use hmac::Mac as _;
use serde_json::Value;

use crate::event::cloudevents::{self, Mode};
use crate::event::{Attribute, ChangeEvent, Fault, SourceName};
use crate::ingress::auth::hmac_sha256;
use crate::ingress::{EventKind, Refusal, Source};
use crate::mapping::{Domain, ForeignAddress};
use crate::outbox::{Arrival, Digest, NewEntry, ParkReason, Priority, Stated};
use crate::time::Timestamp;

/// What events are held against.
pub(super) struct Examination<'a> {
    /// Whose they are.
    pub(super) source: &'a Source,
    /// How they lay in the request: faults of a batch name the event.
    pub(super) mode: Mode,
    /// When they are accepted, if they are.
    pub(super) accepted_at: Timestamp,
    /// The newest moment that a version may name.
    pub(super) newest: Timestamp,
    /// What becomes of an address outside the USA.
    pub(super) foreign_address: ForeignAddress,
    /// Who goes before them.
    pub(super) priority: Priority,
    /// The key under which contents are digested.
    pub(super) digest_key: [u8; 32],
}

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
    faults: Vec<Fault>,
}

impl Class {
    const fn of(self, faults: Vec<Fault>) -> Faulty {
        Faulty {
            class: self,
            faults,
        }
    }
}

impl Examination<'_> {
    /// Makes an entry of every event, or says everything that is wrong.
    pub(super) fn entries(&self, events: cloudevents::Decoded) -> Result<Vec<NewEntry>, Refusal> {
        let mut entries = Vec::with_capacity(events.len());
        let mut faulty = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            let entry = event
                .map_err(|faults| Class::Malformed.of(faults))
                .and_then(|event| {
                    self.entry(event)
                        .map_err(|faulty| self.named(index, faulty))
                });
            match entry {
                Ok(entry) => entries.push(entry),
                Err(event) => faulty.push(event),
            }
        }
        refusal(faulty).map_or(Ok(entries), Err)
    }

    fn entry(&self, event: ChangeEvent) -> Result<NewEntry, Faulty> {
        Ok(NewEntry {
            arrival: self.arrival(&event)?,
            digest: self.digest(&event),
            accepted_at: self.accepted_at,
            priority: self.priority,
            event: event.envelope.to_string().into_bytes(),
            event_type: event.event_type,
            identity: event.identity,
        })
    }

    fn arrival(&self, event: &ChangeEvent) -> Result<Arrival, Faulty> {
        let event_type = event.event_type.as_str();
        if let Some(kind) = self.source.kinds.get(event_type) {
            self.mapped(kind, &event.envelope)
        } else if self.source.ignored.contains(event_type) {
            Ok(Arrival::Ignore)
        } else {
            Err(Class::UnknownEventType.of(vec![unknown_event_type()]))
        }
    }

    fn mapped(&self, kind: &EventKind, envelope: &Value) -> Result<Arrival, Faulty> {
        let faults = kind.schema.faults(envelope);
        if !faults.is_empty() {
            return Err(Class::Invalid.of(faults));
        }
        let mapped = kind
            .mapping
            .map(envelope)
            .map_err(|faults| Class::Unmappable.of(faults))?;
        if self.is_ahead(kind, mapped.version) {
            return Err(Class::Unmappable.of(vec![version_ahead()]));
        }
        if mapped.update.is_empty() {
            return Ok(Arrival::Ignore);
        }
        let (update, foreign) = match self.foreign_address {
            _ if !mapped.update.is_foreign() => (mapped.update, false),
            ForeignAddress::Park => (mapped.update, true),
            ForeignAddress::Skip => (mapped.update.without_address(), false),
        };
        let stated = Stated {
            customer: mapped.customer,
            epoch: kind.epoch,
            value: mapped.version,
            update,
        };
        Ok(if foreign {
            Arrival::Park(stated, ParkReason::ForeignAddress)
        } else {
            Arrival::Wait(stated)
        })
    }

    /// A version that is a time counts microseconds; a sequence may be any number.
    fn is_ahead(&self, kind: &EventKind, version: i64) -> bool {
        match kind.mapping.version_domain() {
            Some(Domain::Time) => version > self.newest.as_millis().saturating_mul(1000),
            Some(Domain::Sequence) | None => false,
        }
    }

    /// Type, subject and data decide what the content is; trace headers and the order of keys do not.
    fn digest(&self, event: &ChangeEvent) -> Digest {
        let member = |name| event.envelope.get(name).unwrap_or(&Value::Null);
        let content = format!(
            "[{},{},{}]",
            member("type"),
            member("subject"),
            member("data")
        );
        let mac = hmac_sha256(&self.digest_key, &[content.as_bytes()]).finalize();
        let mut digest = [0; 16];
        for (slot, byte) in digest.iter_mut().zip(mac.into_bytes()) {
            *slot = byte;
        }
        Digest(digest)
    }

    fn named(&self, index: usize, faulty: Faulty) -> Faulty {
        match self.mode {
            Mode::Batch => Faulty {
                faults: cloudevents::in_batch(index, faulty.faults),
                ..faulty
            },
            Mode::Structured | Mode::Binary => faulty,
        }
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
) -> Result<Stated, Vec<Fault>> {
    let fault = |rule: &str, detail: &str| {
        vec![Fault {
            pointer: String::new(),
            rule: rule.to_owned(),
            location: "events".to_owned(),
            detail: detail.to_owned(),
        }]
    };
    let kind = sources
        .get(source)
        .and_then(|source| source.kinds.get(event_type.as_str()))
        .ok_or_else(|| {
            fault(
                "unknown_event_type",
                "The source has no such event type today.",
            )
        })?;
    let envelope: Value = serde_json::from_slice(event)
        .map_err(|_unreadable| fault("unreadable", "What was kept of the event cannot be read."))?;
    let faults = kind.schema.faults(&envelope);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mapped = kind.mapping.map(&envelope)?;
    let update = match foreign_address {
        _ if !mapped.update.is_foreign() => mapped.update,
        ForeignAddress::Skip => mapped.update.without_address(),
        ForeignAddress::Park => {
            let detail =
                "The address is outside the USA; imprint.foreign_address = \"skip\" leaves it out.";
            return Err(fault("foreign_address", detail));
        }
    };
    Ok(Stated {
        customer: mapped.customer,
        epoch: kind.epoch,
        value: mapped.version,
        update,
    })
}

/// The faults of the class that decides stand first: they are the ones the answer is about.
fn refusal(mut faulty: Vec<Faulty>) -> Option<Refusal> {
    faulty.sort_by_key(|event| event.class);
    let class = faulty.first()?.class;
    let faults = faulty.into_iter().flat_map(|event| event.faults).collect();
    Some(match class {
        Class::Malformed => Refusal::Malformed(faults),
        Class::UnknownEventType => Refusal::UnknownEventType(faults),
        Class::Invalid => Refusal::Invalid(faults),
        Class::Unmappable => Refusal::Unmappable(faults),
    })
}

fn unknown_event_type() -> Fault {
    Fault {
        pointer: "/type".to_owned(),
        rule: "unknown_event_type".to_owned(),
        location: "events".to_owned(),
        detail: "The source is configured with other event types.".to_owned(),
    }
}

fn version_ahead() -> Fault {
    Fault {
        pointer: String::new(),
        rule: "version_ahead".to_owned(),
        location: "version".to_owned(),
        detail: "The time that is this event's version lies too far ahead of ours.".to_owned(),
    }
}
