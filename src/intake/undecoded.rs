//! The events that the bridge cannot decode, with the parts that it can read.
//!
//! The bridge parks such an event if the source parks invalid events. If the type of the event is in `ignore`, the bridge
//! ignores the event: many senders send a test event that has no id.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::digest::StoredEvent;
use super::encoding::Encoding;
use super::invalid::derived;
use super::message::RequestMessage;
use super::source::{Source, TypeHandling};
use crate::event::cloudevents::Decoded;
use crate::event::{Attribute, ChangeEvent, Identity};

/// An event with the parts that the bridge can read.
pub(super) struct UndecodedEvent {
    /// `None` if the event has no readable id, or no readable CloudEvents `source`.
    pub(super) identity: Option<Identity>,
    pub(super) event_type: Option<Attribute>,
    /// The event in its structured form. If the bridge cannot decode the event, this is the event as the source sent it.
    pub(super) envelope: Value,
}

impl From<ChangeEvent> for UndecodedEvent {
    fn from(event: ChangeEvent) -> Self {
        Self {
            identity: Some(event.identity),
            event_type: Some(event.event_type),
            envelope: event.envelope,
        }
    }
}

/// The events of one body as the source sent them. The bridge reads them only if it cannot decode an event.
pub(super) struct UndecodedEvents<'a> {
    source: &'a Source,
    encoding: &'a Encoding<'a>,
    message: RequestMessage<'a>,
    /// The plain JSON events, by their positions in the body.
    unread: BTreeMap<usize, Value>,
    /// The CloudEvents.
    sent: Option<Vec<Value>>,
}

impl<'a> UndecodedEvents<'a> {
    pub(super) const fn new(
        source: &'a Source,
        encoding: &'a Encoding<'a>,
        message: RequestMessage<'a>,
        unread: BTreeMap<usize, Value>,
    ) -> Self {
        Self {
            source,
            encoding,
            message,
            unread,
            sent: None,
        }
    }

    /// Returns the readable parts of the event at `index`.
    pub(super) fn event(&mut self, index: usize) -> UndecodedEvent {
        match self.encoding {
            Encoding::CloudEvents { .. } => {
                let sent = self
                    .sent
                    .get_or_insert_with(|| self.encoding.undecoded(self.message));
                let event = sent.get(index).cloned().unwrap_or_default();
                self.cloud_event(event)
            }
            Encoding::Json(envelope) => {
                let event = self.unread.get(&index).cloned().unwrap_or_default();
                let [id, event_type] = envelope.names(&event, self.message.headers);
                self.plain_event(id, event_type, event)
            }
        }
    }

    /// Replaces the errors of each event whose type the source ignores by the event. Such an event needs no id: the
    /// bridge derives an id from the content with `digest_key`, so that a repeated event is a duplicate. Without a key,
    /// the id is a placeholder.
    pub(super) fn ignore(&mut self, decoded: &mut Decoded, digest_key: Option<&[u8; 32]>) {
        if self.source.ignored.is_empty() {
            return;
        }
        for (index, event) in decoded.iter_mut().enumerate() {
            if event.is_err()
                && let Some(ignored) = self.ignored(index, digest_key)
            {
                *event = Ok(ignored);
            }
        }
    }

    fn ignored(&mut self, index: usize, digest_key: Option<&[u8; 32]>) -> Option<ChangeEvent> {
        let event = self.event(index);
        let event_type = event.event_type?;
        let handling = self.source.handling(event_type.as_str());
        if !matches!(handling, TypeHandling::Ignored) {
            return None;
        }
        let identity = event.identity.unwrap_or_else(|| {
            let id = digest_key.map_or_else(Attribute::unreadable, |key| {
                let stored = StoredEvent::new(&event.envelope, None);
                Attribute::of_ignored_event(stored.digest_of_all(key).0)
            });
            derived(&self.source.name, id)
        });
        Some(ChangeEvent {
            identity,
            event_type,
            envelope: event.envelope,
        })
    }

    fn cloud_event(&self, envelope: Value) -> UndecodedEvent {
        let attribute = |name| Attribute::parse(envelope.get(name)?.as_str()?).ok();
        let id = attribute("id").zip(attribute("source"));
        UndecodedEvent {
            identity: id.map(|(id, ce_source)| Identity {
                source: self.source.name.clone(),
                ce_source: Some(ce_source),
                id,
            }),
            event_type: attribute("type"),
            envelope,
        }
    }

    fn plain_event(
        &self,
        id: Option<String>,
        event_type: Option<String>,
        data: Value,
    ) -> UndecodedEvent {
        let attribute = |text: Option<String>| Attribute::parse(&text?).ok();
        let (id, event_type) = (attribute(id), attribute(event_type));
        let mut envelope = Map::new();
        for (name, value) in [("id", &id), ("type", &event_type)] {
            let value = value.as_ref().map(Attribute::as_str);
            envelope.extend(value.map(|value| (name.to_owned(), Value::from(value))));
        }
        envelope.insert("data".to_owned(), data);
        UndecodedEvent {
            identity: id.map(|id| derived(&self.source.name, id)),
            event_type,
            envelope: Value::Object(envelope),
        }
    }
}
