//! The intake pipeline from decoded events to outbox entries. The stages are event type, schema, mapping, version,
//! foreign address and card numbers.

use serde_json::Value;

use super::body_places::BodyPlaces;
use super::card_number;
use super::digest::StoredEvent;
use super::encoding::{DecodedBody, Encoding};
use super::invalid::{InvalidEventParking, bounded};
use super::message::RequestMessage;
use super::rejection::{Rejection, RejectionClass};
use super::source::{EventType, Source, TypeHandling};
use super::undecoded::{UndecodedEvent, UndecodedEvents};
use super::{ForeignAddress, IntakeSettings, Sources};
use crate::event::{ChangeEvent, EventError, RequestHeaders, TraceContext, TraceReading};
use crate::imprint::CustomerChange;
use crate::mapping::{self, VersionDomain};
use crate::outbox::{Disposition, IgnoreReason, IgnoredEvent, NewEntry, ParkReason, Priority};
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
    /// The place of the trace contexts of the events.
    pub traces: TraceReading,
}

/// Prints the context without the digest key, because the digest key is a secret.
impl std::fmt::Debug for EntryContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryContext")
            .field("accepted_at", &self.accepted_at)
            .finish_non_exhaustive()
    }
}

/// The outbox entries of one request body.
#[derive(Clone, Debug, Default)]
pub struct MappedBody {
    pub entries: Vec<NewEntry>,
    /// The trace contexts of the entries. Empty if the bridge exports no traces.
    pub traces: Vec<Option<TraceContext>>,
    /// The number of events with a phone number that is possible in the North American Numbering Plan, but that is not
    /// in the numbering tables of this build.
    pub unlisted_phones: u64,
}

impl Sources {
    /// Turns the body of a request into outbox entries.
    ///
    /// # Errors
    /// Returns every error of every event. After an error, the caller must not store any event of the request. If the
    /// source parks its invalid events, only the errors of the whole body are errors here.
    pub fn entries(
        &self,
        source: &Source,
        encoding: &Encoding<'_>,
        message: RequestMessage<'_>,
        context: &EntryContext,
    ) -> Result<MappedBody, Rejection> {
        let places = self.places(encoding, message);
        let DecodedBody { mut events, unread } = encoding.decode(&source.name, message, &places)?;
        let pipeline = self.pipeline(source, Some(places), context.wall_time);
        let mut undecoded = UndecodedEvents::new(source, encoding, message, unread);
        undecoded.ignore(&mut events, Some(&context.digest_key));
        let headers = message.headers;
        let mut mapped = MappedBody {
            entries: Vec::with_capacity(events.len()),
            ..MappedBody::default()
        };
        let mut rejections = Vec::new();
        let parking = InvalidEventParking::of(source, message, context);
        for (index, event) in events.into_iter().enumerate() {
            mapping::take_unlisted_phone();
            if context.traces != TraceReading::Off {
                mapped.traces.push(trace(&event, context.traces));
            }
            let result = pipeline.run(index, event, headers);
            mapped.unlisted_phones += u64::from(mapping::take_unlisted_phone());
            let result = result.and_then(|mapped| pipeline.entry(index, mapped, headers, context));
            let (event, rejection) = match result {
                Ok(entry) => {
                    mapped.entries.push(entry);
                    continue;
                }
                Err(rejected) => *rejected,
            };
            match &parking {
                Some(parking) => {
                    let event = event.map(UndecodedEvent::from);
                    let event = event.unwrap_or_else(|| undecoded.event(index));
                    let located = |errors| pipeline.located(index, errors);
                    let entry = parking.entry(event, rejection.errors, located);
                    mapped.entries.push(entry);
                }
                None => rejections.push(rejection),
            }
        }
        Rejection::merge(rejections).map_or(Ok(mapped), Err)
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

/// The rejection of one event, together with the event, if the bridge could decode the event.
pub(super) type RejectedEvent = (Option<ChangeEvent>, Rejection);

/// An event that the bridge accepts, with the decision of the mapping.
pub(super) struct MappedEvent {
    pub(super) event: ChangeEvent,
    pub(super) disposition: Disposition,
    /// Whether the event has parts that the store does not keep.
    pub(super) has_others: bool,
}

/// The intake stages that every event of one request goes through.
pub(super) struct Pipeline<'a> {
    pub(super) source: &'a Source,
    /// The places of the events in the request body. The value is `None` for a stored event: the pointers in the errors
    /// of such an event are places in the event.
    places: Option<BodyPlaces<'a>>,
    /// The latest accepted time in the version of an event. This limit applies only to versions that are times.
    version_time_max: Timestamp,
    foreign_address: ForeignAddress,
}

impl Pipeline<'_> {
    /// Runs all intake stages for the event at `index`. Returns a rejection together with the event, if the bridge could
    /// decode the event.
    pub(super) fn run(
        &self,
        index: usize,
        event: Result<ChangeEvent, Vec<EventError>>,
        headers: &RequestHeaders,
    ) -> Result<MappedEvent, Box<RejectedEvent>> {
        let mut event = match event {
            Ok(event) => event,
            // The pointers of the decoder are already places in the body.
            Err(errors) => {
                let rejection = Rejection::new(RejectionClass::Malformed, errors);
                return Err(Box::new((None, rejection)));
            }
        };
        StoredEvent::remove_headers(&mut event.envelope);
        let mapped = self
            .disposition(index, &event, headers)
            .and_then(|disposition| {
                let has_others = self.look(&event, &disposition, headers)?;
                Ok((disposition, has_others))
            });
        match mapped {
            Ok((disposition, has_others)) => Ok(MappedEvent {
                event,
                disposition,
                has_others,
            }),
            Err(rejection) => Err(Box::new((Some(event), self.in_body(index, rejection)))),
        }
    }

    fn disposition(
        &self,
        index: usize,
        event: &ChangeEvent,
        headers: &RequestHeaders,
    ) -> Result<Disposition, Rejection> {
        let event_type = match self.source.handling(event.event_type.as_str()) {
            TypeHandling::Mapped { event_type, .. } => event_type,
            TypeHandling::Ignored => {
                return Ok(Disposition::Ignore(IgnoreReason::ListedType.into()));
            }
            TypeHandling::Unknown => {
                return Err(self.unknown_event_type(event, headers));
            }
        };
        let mut change = change(self.source, event_type, &event.envelope, headers)?;
        if let Some(change) = &mut change {
            if self.is_ahead(event_type, change) {
                let errors = version_ahead(event_type, self.source.view(&event.envelope));
                return Err(Rejection::new(RejectionClass::Unmappable, errors));
            }
            if !change.skipped.is_empty() {
                let skipped = std::mem::take(&mut change.skipped);
                change.skipped = bounded(self.located(index, skipped));
            }
        }
        Ok(self.foreign_address.disposition(change))
    }

    /// Returns whether the version of a change is a time that lies too far in the future. A version that is a time counts
    /// the microseconds since the Unix epoch. The version of a change without values decides nothing.
    pub(super) fn is_ahead(&self, event_type: &EventType, change: &CustomerChange) -> bool {
        if change.update.is_empty() {
            return false;
        }
        match event_type.mapping.version_domain() {
            Some(VersionDomain::Time) => {
                change.version.value > self.version_time_max.as_millis().saturating_mul(1000)
            }
            Some(VersionDomain::Sequence) | None => false,
        }
    }

    fn in_body(&self, index: usize, rejection: Rejection) -> Rejection {
        Rejection {
            errors: self.located(index, rejection.errors),
            ..rejection
        }
    }

    /// Returns whether an error of the request may compare a name with this number of names.
    pub(super) fn may_compare(&self, names: usize) -> bool {
        let places = self.places.as_ref();
        places.is_none_or(|places| places.may_compare(names))
    }

    /// Converts the pointers of errors in the event at `index` to pointers into the body.
    pub(super) fn located(&self, index: usize, errors: Vec<EventError>) -> Vec<EventError> {
        let mut errors = match &self.places {
            Some(places) => places.locate(index, errors),
            None => errors,
        };
        card_number::mask_places(&mut errors);
        errors
    }
}

impl ForeignAddress {
    /// Decides whether the bridge sends, parks or ignores a customer change.
    ///
    /// If the change sets an address outside the USA, the bridge parks the change, or drops the address from the
    /// change. The bridge ignores a change that is empty without its address.
    pub(super) fn disposition(self, change: Option<CustomerChange>) -> Disposition {
        let Some(change) = change else {
            return Disposition::Ignore(IgnoreReason::Condition.into());
        };
        match self {
            _ if change.update.is_empty() && change.skipped.is_empty() => {
                ignored(IgnoreReason::NothingToSend, Vec::new())
            }
            _ if change.update.is_empty() => ignored(IgnoreReason::ValuesSkipped, change.skipped),
            _ if !change.is_foreign => Disposition::Enqueue(change),
            Self::Park => Disposition::Park(change, ParkReason::ForeignAddress),
            Self::Skip => {
                let update = change.update.without_address();
                if update.is_empty() {
                    ignored(IgnoreReason::ForeignAddress, change.skipped)
                } else {
                    Disposition::Enqueue(CustomerChange { update, ..change })
                }
            }
        }
    }
}

const fn ignored(reason: IgnoreReason, skipped: Vec<EventError>) -> Disposition {
    Disposition::Ignore(IgnoredEvent { reason, skipped })
}

/// Returns the trace context of an event. An event that the bridge cannot decode has the context of its request.
fn trace(
    event: &Result<ChangeEvent, Vec<EventError>>,
    traces: TraceReading,
) -> Option<TraceContext> {
    let envelope = event.as_ref().map_or(&Value::Null, |event| &event.envelope);
    traces.of_event(envelope)
}

/// Validates and maps an event, and returns the customer change.
///
/// Returns `None` if the condition `when` of the mapping excludes the event.
pub(super) fn change(
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
    Ok(change.map(|mut change| {
        change.version.epoch = event_type.epoch;
        change.jump_max = event_type.jump_max;
        change
    }))
}

// === errors ===

pub(super) fn error(pointer: &str, rule: &str, location: &str, detail: &str) -> Vec<EventError> {
    vec![EventError {
        pointer: pointer.to_owned(),
        rule: rule.to_owned(),
        location: location.to_owned(),
        detail: detail.to_owned(),
    }]
}

/// Returns the error of an event whose version is too far in the future. `view` is the part of the event that the
/// mapping reads.
pub(super) fn version_ahead(event_type: &EventType, view: &Value) -> Vec<EventError> {
    let detail = "The version is a time that is further in the future than the setting ingress.version_ahead_max allows.";
    let place = event_type.mapping.version_place(view);
    error(&place, "version_ahead", "version", detail)
}

pub(super) fn unreadable() -> Vec<EventError> {
    let detail = "The stored event cannot be read.";
    error("", "unreadable", "events", detail)
}
