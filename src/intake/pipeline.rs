//! The intake pipeline from decoded events to outbox entries. The stages are event type, schema, mapping, version and
//! foreign address.

use serde_json::Value;

use super::body_places::BodyPlaces;
use super::digest::StoredEvent;
use super::encoding::Encoding;
use super::message::RequestMessage;
use super::rejection::{Rejection, RejectionClass};
use super::source::{EventType, Source, TypeHandling};
use super::{ForeignAddress, IntakeSettings, Sources};
use crate::event::{Attribute, ChangeEvent, EventError, RequestHeaders, SourceName, SourceVersion};
use crate::imprint::CustomerChange;
use crate::mapping::{self, EnvelopeAttribute, VersionDomain};
use crate::outbox::{Disposition, NewEntry, ParkReason, Priority};
use crate::time::Timestamp;

/// The values that are the same for all outbox entries of one request.
#[derive(Clone, Copy)]
pub struct EntryContext {
    /// The time at which the bridge accepted the request. The clock of the store gives this time.
    pub accepted_at: Timestamp,
    /// The current wall-clock time. If the version of an event is a time, the pipeline compares the version with this
    /// time.
    pub wall_time: Timestamp,
    /// The priority of the outbox entries.
    pub priority: Priority,
    /// The digest key of the store. The pipeline computes the digests of the contents of events with this key.
    pub digest_key: [u8; 32],
}

/// Prints the context without the digest key, because the digest key is a secret.
impl std::fmt::Debug for EntryContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryContext")
            .field("accepted_at", &self.accepted_at)
            .finish_non_exhaustive()
    }
}

/// The values that [`Sources::remap`] needs, besides the stored event itself.
#[derive(Clone, Copy, Debug)]
pub struct MappedAgain {
    /// The stored version of the event. The value is `None` if the store cannot read the version.
    pub stored: Option<SourceVersion>,
    /// The current wall-clock time, for versions that are times.
    pub wall_time: Timestamp,
}

/// The outbox entries of one request body.
#[derive(Clone, Debug, Default)]
pub struct MappedBody {
    pub entries: Vec<NewEntry>,
    /// The number of events with a phone number that is possible in the North American Numbering Plan, but that is not
    /// in the numbering tables of this build.
    pub unlisted_phones: u64,
}

impl Sources {
    /// Turns the body of a request into outbox entries.
    ///
    /// # Errors
    /// Returns every error of every event. After an error, the caller must not store any event of the request.
    pub fn entries(
        &self,
        source: &Source,
        encoding: &Encoding<'_>,
        message: RequestMessage<'_>,
        context: &EntryContext,
    ) -> Result<MappedBody, Rejection> {
        let places = self.places(encoding, message);
        let pipeline = self.pipeline(source, Some(places), context.wall_time);
        let events = encoding.decode(&source.name, message, self.settings.batch_events_max)?;
        let headers = message.headers;
        let mut mapped = MappedBody {
            entries: Vec::with_capacity(events.len()),
            unlisted_phones: 0,
        };
        let mut rejections = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            mapping::take_unlisted_phone();
            match pipeline.run(index, event, headers) {
                Ok((event, disposition)) => {
                    let kept = source.kept_headers(&event.event_type, headers);
                    let entry = context.entry(event, kept.as_ref(), disposition);
                    mapped.entries.push(entry);
                }
                Err(rejection) => rejections.push(rejection),
            }
            mapped.unlisted_phones += u64::from(mapping::take_unlisted_phone());
        }
        Rejection::merge(rejections).map_or(Ok(mapped), Err)
    }

    /// Maps a stored event again with the current schema and mapping.
    ///
    /// The bridge maps a parked event again after an operator has fixed the schema or the mapping. The event keeps its
    /// stored version, including the epoch. With the current epoch of the source, the values of an old event would win
    /// over the newer values that Imprint has.
    ///
    /// # Errors
    /// Returns every reason why the stored event cannot be sent.
    pub fn remap(
        &self,
        source: &SourceName,
        event_type: &Attribute,
        event: &[u8],
        again: MappedAgain,
    ) -> Result<CustomerChange, Vec<EventError>> {
        let source = self.get(source);
        let known = source.and_then(|source| {
            let (_, event_type) = source.mapped(event_type.as_str())?;
            Some((source, event_type))
        });
        let (source, event_type) = known.ok_or_else(unknown_event_type_today)?;
        let has_headers = !event_type.mapping.headers().is_empty();
        let (envelope, headers) = StoredEvent::parse(event, has_headers).ok_or_else(unreadable)?;
        let mut change = change(source, event_type, &envelope, &headers)
            .map_err(|rejection| rejection.errors)?;
        if let Some((change, stored)) = change.as_mut().zip(again.stored) {
            change.version = stored;
        }
        let pipeline = self.pipeline(source, None, again.wall_time);
        if let Some(change) = &change
            && pipeline.is_ahead(event_type, change.version.value)
        {
            return Err(version_ahead());
        }
        match self.settings.foreign_address.disposition(change) {
            Disposition::Enqueue(change) | Disposition::Hold(change) => Ok(change),
            Disposition::Park(..) => Err(foreign_address()),
            Disposition::Ignore | Disposition::Invalid(_) => Err(nothing_to_send()),
        }
    }

    /// Returns the places of events in a request body, as JSON Pointers. The indexes are the positions of the events in
    /// the result of [`Self::entries`].
    pub fn event_places(
        &self,
        encoding: &Encoding<'_>,
        message: RequestMessage<'_>,
        indexes: &[usize],
    ) -> Vec<String> {
        let places = self.places(encoding, message);
        indexes.iter().map(|index| places.event(*index)).collect()
    }

    pub(super) const fn places<'a>(
        &self,
        encoding: &'a Encoding<'a>,
        message: RequestMessage<'a>,
    ) -> BodyPlaces<'a> {
        BodyPlaces::new(encoding, message, self.settings.batch_events_max)
    }

    pub(super) fn pipeline<'a>(
        &self,
        source: &'a Source,
        places: Option<BodyPlaces<'a>>,
        wall_time: Timestamp,
    ) -> Pipeline<'a> {
        let IntakeSettings {
            version_ahead_max,
            foreign_address,
            ..
        } = self.settings;
        Pipeline {
            source,
            places,
            version_time_max: wall_time.after(version_ahead_max),
            foreign_address,
        }
    }
}

/// The intake stages that every event of one request goes through.
pub(super) struct Pipeline<'a> {
    source: &'a Source,
    /// The places of the events in the request body. The value is `None` for a stored event: the pointers in the errors
    /// of such an event are places in the event.
    places: Option<BodyPlaces<'a>>,
    /// The latest accepted time in the version of an event. This limit applies only to versions that are times.
    version_time_max: Timestamp,
    foreign_address: ForeignAddress,
}

impl Pipeline<'_> {
    /// Runs all intake stages for the event at `index`.
    pub(super) fn run(
        &self,
        index: usize,
        event: Result<ChangeEvent, Vec<EventError>>,
        headers: &RequestHeaders,
    ) -> Result<(ChangeEvent, Disposition), Rejection> {
        // The pointers of the decoder are already places in the body.
        let event = event.map_err(|errors| Rejection::new(RejectionClass::Malformed, errors))?;
        let disposition = self
            .disposition(&event, headers)
            .map_err(|rejection| self.in_body(index, rejection))?;
        Ok((event, disposition))
    }

    fn disposition(
        &self,
        event: &ChangeEvent,
        headers: &RequestHeaders,
    ) -> Result<Disposition, Rejection> {
        let event_type = match self.source.handling(event.event_type.as_str()) {
            TypeHandling::Mapped { event_type, .. } => event_type,
            TypeHandling::Ignored => return Ok(Disposition::Ignore),
            TypeHandling::Unknown => {
                return Err(Rejection::new(
                    RejectionClass::UnknownEventType,
                    self.unknown_event_type(event, headers),
                ));
            }
        };
        let change = change(self.source, event_type, &event.envelope, headers)?;
        if let Some(change) = &change
            && self.is_ahead(event_type, change.version.value)
        {
            return Err(Rejection::new(RejectionClass::Unmappable, version_ahead()));
        }
        Ok(self.foreign_address.disposition(change))
    }

    /// Returns whether a version is a time that lies too far in the future. A version that is a time counts the
    /// microseconds since the Unix epoch.
    fn is_ahead(&self, event_type: &EventType, version: i64) -> bool {
        match event_type.mapping.version_domain() {
            Some(VersionDomain::Time) => {
                version > self.version_time_max.as_millis().saturating_mul(1000)
            }
            Some(VersionDomain::Sequence) | None => false,
        }
    }

    fn unknown_event_type(&self, event: &ChangeEvent, headers: &RequestHeaders) -> Vec<EventError> {
        let place = self.source.json_envelope.as_ref().map_or_else(
            || "/type".to_owned(),
            |envelope| {
                let data = self.source.view(&event.envelope);
                envelope.place_of(EnvelopeAttribute::Type, data, headers)
            },
        );
        let name = event.event_type.as_str();
        let detail = format!(
            "The source file has no table [events.\"{name}\"]. To accept events of this type and send nothing for them, \
             add \"{name}\" to `ignore` in the source file."
        );
        error(&place, "unknown_event_type", "events", &detail)
    }

    fn in_body(&self, index: usize, rejection: Rejection) -> Rejection {
        let Some(places) = &self.places else {
            return rejection;
        };
        Rejection {
            errors: places.locate(index, rejection.errors),
            ..rejection
        }
    }
}

impl ForeignAddress {
    /// Decides whether the bridge sends, parks or ignores a customer change.
    ///
    /// If the change sets an address outside the USA, the bridge parks the change, or drops the address from the
    /// change. The bridge ignores a change that is empty without its address.
    fn disposition(self, change: Option<CustomerChange>) -> Disposition {
        let Some(change) = change else {
            return Disposition::Ignore;
        };
        match self {
            _ if !change.is_foreign => Disposition::Enqueue(change),
            Self::Park => Disposition::Park(change, ParkReason::ForeignAddress),
            Self::Skip => {
                let update = change.update.without_address();
                if update.is_empty() {
                    Disposition::Ignore
                } else {
                    Disposition::Enqueue(CustomerChange { update, ..change })
                }
            }
        }
    }
}

impl EntryContext {
    fn entry(
        &self,
        event: ChangeEvent,
        headers: Option<&Value>,
        disposition: Disposition,
    ) -> NewEntry {
        let stored = StoredEvent::new(&event.envelope, headers);
        NewEntry {
            disposition,
            digest: stored.digest(&self.digest_key),
            accepted_at: self.accepted_at,
            priority: self.priority,
            event: stored.bytes,
            event_type: event.event_type,
            identity: event.identity,
        }
    }
}

/// Validates and maps an event, and returns the customer change.
///
/// Returns `None` if the condition `when` of the mapping excludes the event, or if the mapping sets no field.
fn change(
    source: &Source,
    event_type: &EventType,
    envelope: &Value,
    headers: &RequestHeaders,
) -> Result<Option<CustomerChange>, Rejection> {
    let event = source.view(envelope);
    let errors = event_type.schema.errors(event);
    if !errors.is_empty() {
        return Err(Rejection::new(RejectionClass::Invalid, errors));
    }
    let change = event_type
        .mapping
        .map_with_headers(event, headers)
        .map_err(|errors| Rejection::new(RejectionClass::Unmappable, errors))?;
    Ok(change
        .filter(|change| !change.update.is_empty())
        .map(|mut change| {
            change.version.epoch = event_type.epoch;
            change.jump_max = event_type.jump_max;
            change
        }))
}

// === errors ===

fn error(pointer: &str, rule: &str, location: &str, detail: &str) -> Vec<EventError> {
    vec![EventError {
        pointer: pointer.to_owned(),
        rule: rule.to_owned(),
        location: location.to_owned(),
        detail: detail.to_owned(),
    }]
}

fn version_ahead() -> Vec<EventError> {
    let detail = "The version is a time that is too far in the future.";
    error("", "version_ahead", "version", detail)
}

fn unknown_event_type_today() -> Vec<EventError> {
    let detail = "The source no longer has this event type.";
    error("", "unknown_event_type", "events", detail)
}

fn unreadable() -> Vec<EventError> {
    let detail = "The stored event cannot be read.";
    error("", "unreadable", "events", detail)
}

fn nothing_to_send() -> Vec<EventError> {
    let detail = "The current mapping sets no field from this event.";
    error("", "ignored", "events", detail)
}

fn foreign_address() -> Vec<EventError> {
    let detail = "The address is outside the USA. To send the event without it, set imprint.foreign_address = \"skip\".";
    error("", "foreign_address", "events", detail)
}
