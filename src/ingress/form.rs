//! How events lie in a request: as CloudEvents, or as the plain JSON of a source that says where everything stands.

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use serde_json::Value;

use crate::event::cloudevents::{self, ContentMode, Decoded, HttpMessage};
use crate::event::{Attribute, ChangeEvent, EventError, SourceName};
use crate::http::single_header::SingleHeader;
use crate::ingress::auth::{Authentic, Covers, DenialReason};
use crate::ingress::{Refusal, Source};
use crate::mapping::JsonEnvelope;

/// The header of the one attribute that has only one value.
const SPECVERSION: &str = "ce-specversion";

/// How events lie in a request.
pub(super) enum Form<'a> {
    CloudEvents {
        mode: ContentMode,
        content_type: &'a str,
        headers: Vec<(&'a str, &'a [u8])>,
    },
    Plain(&'a JsonEnvelope),
}

impl<'a> Form<'a> {
    /// The form that the head of a request announces, if it is the source's.
    pub(super) fn of(source: &'a Source, headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let is_plain = match SingleHeader::read(headers, CONTENT_ENCODING.as_str()) {
            SingleHeader::Absent => true,
            SingleHeader::Text(encoding) => encoding.eq_ignore_ascii_case("identity"),
            SingleHeader::Unreadable => false,
        };
        let content_type = SingleHeader::read(headers, CONTENT_TYPE.as_str())
            .text()
            .filter(|_| is_plain)
            .ok_or(Refusal::UnsupportedMediaType)?;
        if let Some(frame) = &source.frame {
            let is_json = cloudevents::is_plain_json(content_type);
            return is_json
                .then_some(Self::Plain(frame))
                .ok_or(Refusal::UnsupportedMediaType);
        }
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let mode = ContentMode::of(content_type, &headers).ok_or(Refusal::UnsupportedMediaType)?;
        Ok(Self::CloudEvents {
            mode,
            content_type,
            headers,
        })
    }

    /// The form that a body has by itself, where there is no head: in a file.
    pub(super) fn of_body(source: &'a Source, body: &[u8]) -> Self {
        if let Some(frame) = &source.frame {
            return Self::Plain(frame);
        }
        let is_batch = body.trim_ascii_start().starts_with(b"[");
        Self::CloudEvents {
            mode: if is_batch {
                ContentMode::Batch
            } else {
                ContentMode::Structured
            },
            content_type: "",
            headers: Vec::new(),
        }
    }

    /// Whether the body can be several events, so that faults must say which one.
    pub(super) const fn is_batch(&self) -> bool {
        match self {
            Self::CloudEvents { mode, .. } => matches!(mode, ContentMode::Batch),
            Self::Plain(frame) => frame.splits(),
        }
    }

    /// The events of a body.
    pub(super) fn decode(
        &self,
        source: &SourceName,
        body: &[u8],
        events_max: usize,
    ) -> Result<Decoded, Refusal> {
        match self {
            Self::CloudEvents {
                mode,
                content_type,
                headers,
            } => {
                let message = HttpMessage {
                    mode: *mode,
                    headers,
                    content_type,
                    body,
                };
                cloudevents::decode(source, message, events_max).map_err(Refusal::Malformed)
            }
            Self::Plain(frame) => {
                plain(frame, source, body, events_max).map_err(Refusal::Malformed)
            }
        }
    }

    /// In binary mode the attributes are headers: what of them is used must be signed, where anything is.
    pub(super) fn bind<T>(
        &self,
        source: &Source,
        authentic: &Authentic<T>,
        events: &Decoded,
    ) -> Result<(), DenialReason> {
        let Self::CloudEvents {
            mode: ContentMode::Binary,
            headers,
            ..
        } = self
        else {
            return Ok(());
        };
        let is_bound = events.iter().flatten().all(|event| {
            match authentic.covers(&event.identity.id, attributes(headers)) {
                Covers::Everything => true,
                Covers::IdAndData => is_told_by_data(source, &event.event_type),
                Covers::Nothing => false,
            }
        });
        is_bound.then_some(()).ok_or(DenialReason::Mismatch)
    }
}

/// The headers with attributes that can have more than one value.
fn attributes<'a>(headers: &[(&'a str, &'a [u8])]) -> impl Iterator<Item = &'a str> {
    let names = headers.iter().map(|(name, _)| *name);
    names.filter(|name| cloudevents::is_attribute(name) && *name != SPECVERSION)
}

/// Whether whom an event is about, and how new it is, stand in its data.
fn is_told_by_data(source: &Source, event_type: &Attribute) -> bool {
    let kind = source.event_types.get(event_type.as_str());
    kind.is_none_or(|kind| kind.mapping.identifies_by_data_only())
}

fn plain(
    frame: &JsonEnvelope,
    source: &SourceName,
    body: &[u8],
    events_max: usize,
) -> Result<Decoded, Vec<EventError>> {
    let body = cloudevents::parse(body)?;
    let events = frame.events(body, &format!("/{source}"), events_max)?;
    if events.len() > events_max {
        return Err(vec![EventError {
            pointer: String::new(),
            rule: "batch_size".to_owned(),
            location: "body.split".to_owned(),
            detail: format!("A body has at most {events_max} events."),
        }]);
    }
    let numbered = events.into_iter().enumerate().map(|(index, event)| {
        let event = event.and_then(|envelope| plain_event(source, envelope));
        event.map_err(|faults| {
            if frame.splits() {
                cloudevents::in_batch(index, faults)
            } else {
                faults
            }
        })
    });
    Ok(numbered.collect())
}

/// The source alone says whose the ids are: there is no CloudEvents source beside it.
fn plain_event(source: &SourceName, envelope: Value) -> Result<ChangeEvent, Vec<EventError>> {
    let mut event = cloudevents::event(source, envelope).map_err(|faults| {
        let of_rule = |fault: EventError| EventError {
            location: format!("body{}", fault.pointer.replace('/', ".")),
            pointer: String::new(),
            ..fault
        };
        faults.into_iter().map(of_rule).collect::<Vec<_>>()
    })?;
    event.identity.ce_source = None;
    Ok(event)
}
