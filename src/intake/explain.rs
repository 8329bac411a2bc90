//! Explains the changes that a request would make, mapping rule by mapping rule. To explain a request, the bridge
//! stores nothing. The explanations help the authors of mappings.
//!
//! An explained event goes through the same pipeline as the events of a request. The admin API returns an
//! [`Explanation`] as JSON, and the command `explain` prints it. The explanation masks values unless the user asks to
//! reveal values.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::digest::StoredEvent;
use super::encoding::{DecodedBody, Encoding};
use super::explained_body::{ExplainedBody, Expressions};
use super::explanation::{
    EventExplanation, ExplainedOutcome, Explanation, RequestExplanation, RequestPreview,
    TargetExplanation, TargetResult,
};
use super::invalid::decode_again;
use super::message::RequestMessage;
use super::pipeline::Pipeline;
use super::rejection::{Rejection, RejectionClass};
use super::source::Source;
use super::undecoded::UndecodedEvents;
use super::value_note;
use super::{IntakeSettings, Sources};
use crate::event::{
    Attribute, ChangeEvent, EventError, Identity, RequestHeaders, SourceName, Visibility,
};
use crate::imprint::clearing::Clearing;
use crate::imprint::{CustomerChange, FieldValue};
use crate::mapping::{RuleExplanation, RuleResult};
use crate::outbox::Disposition;
use crate::time::Timestamp;

/// The path of a customer in Imprint's API, before the customer's id.
const CUSTOMERS: &str = "/v2/customers/";
/// The HTTP method of Imprint's *update* operation.
const UPDATE_METHOD: &str = "POST";

/// An event of a stored outbox entry.
#[derive(Clone, Copy)]
pub struct EntryEvent<'a> {
    pub identity: &'a Identity,
    pub event_type: &'a Attribute,
    /// The bytes of the event in its stored form.
    pub bytes: &'a [u8],
    /// Whether the entry is parked because the event was invalid. The event is then decoded again.
    pub is_invalid: bool,
}

/// Prints only the type name and never the event, because the event is personal data.
impl fmt::Debug for EntryEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntryEvent")
    }
}

/// An event on which the pipeline runs, or the errors of an event that cannot be decoded.
struct DecodedEvent<'a> {
    event: Result<ChangeEvent, Vec<EventError>>,
    headers: &'a RequestHeaders,
    /// The body of the event and the position of the event in the body. The value is `None` for a stored event.
    body: Option<(&'a ExplainedBody<'a>, usize)>,
}

impl Sources {
    /// Explains a request body that comes without the media type of a request, such as the content of a file. Returns
    /// `None` if no source has this name.
    pub fn explain_body(
        &self,
        source: &SourceName,
        message: RequestMessage<'_>,
        wall_time: Timestamp,
        visibility: Visibility,
    ) -> Option<Explanation> {
        let source = self.get(source)?;
        let headers = message.headers;
        let encoding = Encoding::of_body(source, message.body);
        let places = self.places(&encoding, message);
        let decoded = encoding.decode(&source.name, message, &places);
        let decoded = decoded.map(|DecodedBody { mut events, unread }| {
            UndecodedEvents::new(source, &encoding, message, unread).ignore(&mut events, None);
            events
        });
        let pipeline = self.pipeline(source, Some(places), wall_time);
        let explained_body = self.explained_body(source, &encoding, message);
        let explained = |(index, event): (usize, Result<ChangeEvent, Vec<EventError>>)| {
            let decoded = DecodedEvent {
                event,
                headers,
                body: Some((&explained_body, index)),
            };
            let mut explanation = self.run(source, &pipeline, decoded, visibility);
            if source.parks_invalid_events() {
                explanation.outcome = explanation.outcome.parked_if_refused();
            }
            explanation
        };
        let (events, outcome) = match decoded {
            Ok(events) => (
                events.into_iter().enumerate().map(explained).collect(),
                None,
            ),
            Err(rejection) => {
                let mut outcome = ExplainedOutcome::refused(rejection);
                if visibility == Visibility::Masked {
                    outcome.mask_places();
                }
                (Vec::new(), Some(outcome))
            }
        };
        Some(Explanation {
            source: source.name.as_str().to_owned(),
            events,
            left_out: explained_body.left_out(visibility),
            outcome,
        })
    }

    /// Explains a stored event with the current schema and mapping.
    ///
    /// Returns `None` if no source has this name, or if the bridge cannot read the stored event.
    pub fn explain_entry(
        &self,
        event: EntryEvent<'_>,
        wall_time: Timestamp,
        visibility: Visibility,
    ) -> Option<EventExplanation> {
        let source = self.get(&event.identity.source)?;
        let (decoded, headers) = if event.is_invalid {
            let identity = event.identity.clone();
            match decode_again(source, event.bytes) {
                Ok((decoded, headers)) => (
                    Ok(ChangeEvent {
                        identity,
                        ..decoded
                    }),
                    headers,
                ),
                Err(errors) => (Err(errors), RequestHeaders::default()),
            }
        } else {
            let (envelope, headers) = StoredEvent::parse(event.bytes)?;
            let event = ChangeEvent {
                identity: event.identity.clone(),
                event_type: event.event_type.clone(),
                envelope,
            };
            (Ok(event), headers)
        };
        let pipeline = self.pipeline(source, None, wall_time);
        let decoded = DecodedEvent {
            event: decoded,
            headers: &headers,
            body: None,
        };
        Some(self.run(source, &pipeline, decoded, visibility))
    }

    /// Runs the intake pipeline for one event, and explains the result.
    fn run(
        &self,
        source: &Source,
        pipeline: &Pipeline<'_>,
        decoded: DecodedEvent<'_>,
        visibility: Visibility,
    ) -> EventExplanation {
        let DecodedEvent {
            event,
            headers,
            body,
        } = decoded;
        let index = body.map_or(0, |(_, index)| index);
        let (event, disposition) = match pipeline.run(index, event, headers) {
            Ok(mapped) => (Some(mapped.event), Ok(mapped.disposition)),
            Err(rejected) => {
                let (event, rejection) = *rejected;
                (event, Err(rejection))
            }
        };
        let named = event.as_ref().map(|event| (event, headers));
        let mut explanation = self.event(disposition, visibility);
        if let Some((event, headers)) = named {
            explanation.id = Some(event.identity.id.as_str().to_owned());
            explanation.event_type = Some(event.event_type.as_str().to_owned());
            let expressions = Expressions {
                source,
                event,
                headers,
                body,
            };
            expressions.explain(&mut explanation, visibility);
        }
        if visibility == Visibility::Masked {
            explanation.mask_places();
        }
        explanation
    }

    /// Returns the events of a body, each with the key of its event type in the source file, in the form that schema and mapping read.
    ///
    /// The result omits events without a mapping and events that cannot be decoded.
    pub fn views(&self, source: &Source, message: RequestMessage<'_>) -> Vec<(String, Value)> {
        let encoding = Encoding::of_body(source, message.body);
        let places = self.places(&encoding, message);
        let decoded = encoding.decode(&source.name, message, &places);
        let events = decoded.map(|decoded| decoded.events);
        let view = |event: ChangeEvent| {
            let (name, _) = source.mapped(event.event_type.as_str())?;
            Some((name.to_owned(), source.view(&event.envelope).clone()))
        };
        let events = events.into_iter().flatten().flatten();
        events.filter_map(view).collect()
    }

    /// Explains the result of the pipeline, without the expressions.
    fn event(
        &self,
        disposition: Result<Disposition, Rejection>,
        visibility: Visibility,
    ) -> EventExplanation {
        let IntakeSettings { clearing, .. } = self.settings;
        let request = |change: &CustomerChange| request(change, clearing, visibility);
        let (outcome, change) = match disposition {
            Err(rejection) => (ExplainedOutcome::refused(rejection), None),
            Ok(Disposition::Ignore(ignored)) => {
                let reason = ignored.reason.as_str().to_owned();
                (ExplainedOutcome::Ignored { reason }, None)
            }
            Ok(Disposition::Invalid(invalid)) => {
                let rejection = Rejection::new(RejectionClass::Invalid, invalid.errors);
                (ExplainedOutcome::refused(rejection), None)
            }
            Ok(Disposition::Enqueue(change) | Disposition::Hold(change)) => {
                (ExplainedOutcome::Request(request(&change)), Some(change))
            }
            Ok(Disposition::Park(change, reason)) => {
                let outcome = ExplainedOutcome::Parked {
                    reason: reason.as_str().to_owned(),
                    request: request(&change),
                };
                (outcome, Some(change))
            }
        };
        EventExplanation {
            outcome,
            id: None,
            event_type: None,
            targets: None,
            unused: None,
            change,
            reads: BTreeSet::new(),
        }
    }
}

fn request(
    change: &CustomerChange,
    clearing: Clearing,
    visibility: Visibility,
) -> RequestExplanation {
    let imprint = change.customer.imprint();
    let cleared = change.update.iter();
    let cleared = cleared.filter(|(_, value)| **value == FieldValue::Cleared);
    let cleared: Vec<_> = cleared.map(|(field, _)| field).collect();
    let omitted = cleared.iter().filter_map(|field| {
        let reason = clearing.omission(field)?;
        Some((field.to_string(), reason.to_owned()))
    });
    let omitted = omitted.collect();
    let body = change.update.body(clearing).to_object();
    RequestExplanation {
        request: RequestPreview {
            method: imprint.map(|_| UPDATE_METHOD.to_owned()),
            path: imprint.map(|id| format!("{CUSTOMERS}{}", id.as_str())),
            partner_id: change.customer.partner().map(|id| id.as_str().to_owned()),
            body: visibility.object(&body),
        },
        version: change.version,
        cleared: cleared.iter().map(ToString::to_string).collect(),
        omitted,
        skipped: change
            .skipped
            .iter()
            .map(|error| error.location.clone())
            .collect(),
    }
}

pub(super) fn target(rule: RuleExplanation, visibility: Visibility) -> TargetExplanation {
    let visibility = if rule.is_public {
        Visibility::Revealed
    } else {
        visibility
    };
    let note = value_note::note(&rule).map(str::to_owned);
    TargetExplanation {
        target: rule.target,
        expression: rule.expression,
        reads: rule.reads,
        is_interpreted: rule.is_interpreted,
        is_assumed: rule.is_assumed,
        result: match rule.result {
            RuleResult::Absent => TargetResult::Absent,
            RuleResult::Cleared => TargetResult::Cleared,
            RuleResult::Value(value) => TargetResult::Value {
                value: visibility.value(&value),
            },
            RuleResult::Skipped(error) => TargetResult::Skipped { error },
            RuleResult::Refused(error) => TargetResult::Refused { error },
        },
        is_unchanged: rule.is_unchanged,
        is_held_back: rule.is_held_back,
        note,
        compared: rule.compared,
        is_stale: None,
    }
}
