//! The places of events in a request body. The sender knows only the body, so errors name places in the body.

use std::cell::OnceCell;

use super::encoding::Encoding;
use super::message::RequestMessage;
use crate::event::EventError;
use crate::event::cloudevents::{self, ContentMode};
use crate::mapping::EventPlaces;

/// The place of the data in a CloudEvents event, as a JSON Pointer. In binary mode, the body is the data.
const DATA: &str = "/data";

/// Converts places in events to places in the request body of the events.
pub(super) struct BodyPlaces<'a> {
    encoding: &'a Encoding<'a>,
    message: RequestMessage<'a>,
    events_max: usize,
    /// The places of the events that `body.split` has made. The first error of a body computes the places, because a
    /// body without errors does not need them.
    split: OnceCell<Vec<EventPlaces>>,
}

impl<'a> BodyPlaces<'a> {
    pub(super) const fn new(
        encoding: &'a Encoding<'a>,
        message: RequestMessage<'a>,
        events_max: usize,
    ) -> Self {
        Self {
            encoding,
            message,
            events_max,
            split: OnceCell::new(),
        }
    }

    /// Converts the pointers of errors in the event at `index` to pointers into the body.
    pub(super) fn locate(&self, index: usize, errors: Vec<EventError>) -> Vec<EventError> {
        let located = errors.into_iter().map(|error| EventError {
            pointer: self.place(index, &error.pointer),
            ..error
        });
        located.collect()
    }

    /// Converts a place in the event at `index` to the place in the body. Both places are JSON Pointers.
    pub(super) fn place(&self, index: usize, pointer: &str) -> String {
        match self.encoding {
            Encoding::CloudEvents { mode, .. } => match mode {
                ContentMode::Structured => pointer.to_owned(),
                ContentMode::Batch => format!("/{index}{pointer}"),
                // An attribute is a header in binary mode, so an error of an attribute has no place in the body.
                ContentMode::Binary => pointer.strip_prefix(DATA).unwrap_or_default().to_owned(),
            },
            Encoding::Json(envelope) if !envelope.splits() => pointer.to_owned(),
            Encoding::Json(envelope) => {
                let split = self.split.get_or_init(|| {
                    let body = cloudevents::parse(self.message.body).unwrap_or_default();
                    envelope.places(&body, self.message.headers, self.events_max)
                });
                match split.get(index) {
                    Some(places) => places.in_body(pointer),
                    None => format!("/{index}{pointer}"),
                }
            }
        }
    }

    /// Returns the place of the event at `index` in the body, as a JSON Pointer.
    pub(super) fn event(&self, index: usize) -> String {
        self.place(index, "")
    }
}
