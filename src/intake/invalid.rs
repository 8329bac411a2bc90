//! Parks the invalid events of a body, so that the bridge can store the valid events of the same body.
//!
//! A parked event keeps its whole content and its errors, but the bridge knows no customer change of the event. After a
//! correction of the schema or of the mapping, [`Sources::remap`](super::Sources::remap) decodes and maps the event
//! again.
//!
//! The bridge stores the event under its own identity. If the bridge cannot read the identity, or if the identity
//! belongs to an earlier event with different content, the event gets an id that the bridge derives from its content.
//! The sender that repeats the event then gets the same entry again.

use serde_json::Value;

use super::card_number;
use super::digest::{self, StoredEvent};
use super::encoding;
use super::message::RequestMessage;
use super::pipeline::{EntryContext, unreadable};
use super::source::{InvalidEventPolicy, Source};
use super::undecoded::UndecodedEvent;
use crate::event::cloudevents::{self, ContentMode, HttpMessage};
use crate::event::{Attribute, ChangeEvent, EventError, Identity, RequestHeaders, SourceName};
use crate::outbox::{Disposition, InvalidReason, NewEntry};

/// The maximum number of errors that the store keeps of one event. Further errors rarely have another cause.
const STORED_ERRORS_MAX: usize = 10;
/// The maximum size of these errors in bytes. The storage quota does not count the errors, and a pointer can be as long
/// as the event.
const STORED_ERRORS_BYTES_MAX: usize = 4096;

/// Builds the entries of the invalid events of one body.
pub(super) struct InvalidEventParking<'a> {
    source: &'a Source,
    message: RequestMessage<'a>,
    context: &'a EntryContext,
}

impl<'a> InvalidEventParking<'a> {
    /// Returns `None` if the source refuses the whole body of an invalid event.
    pub(super) const fn of(
        source: &'a Source,
        message: RequestMessage<'a>,
        context: &'a EntryContext,
    ) -> Option<Self> {
        if !source.parks_invalid_events() {
            return None;
        }
        Some(Self {
            source,
            message,
            context,
        })
    }

    /// Returns the entry of an invalid event. The entry keeps the whole event except card numbers: after a correction, the
    /// schema possibly describes other parts of the event. `located` converts places in the event to places in the body.
    pub(super) fn entry(
        &self,
        mut event: UndecodedEvent,
        mut errors: Vec<EventError>,
        located: impl FnOnce(Vec<EventError>) -> Vec<EventError>,
    ) -> NewEntry {
        let key = &self.context.digest_key;
        StoredEvent::remove_headers(&mut event.envelope);
        let mut headers = self.kept_headers(event.event_type.as_ref());
        let mut stored = StoredEvent::new(&event.envelope, headers.as_ref());
        let (identity, digest) = match event.identity.filter(|identity| self.is_kept(identity)) {
            Some(identity) => (identity, stored.digest(key)),
            None => {
                let digest = StoredEvent::new(&event.envelope, None).digest_of_all(key);
                let id = Attribute::of_invalid_event(digest.0);
                (derived(&self.source.name, id), digest)
            }
        };
        let cards = self
            .source
            .remove_cards(&mut event.envelope, headers.as_mut());
        if let Some(cards) = cards {
            stored = StoredEvent::new(&event.envelope, headers.as_ref());
            let mut cards = located(cards);
            cards.retain(|error| !errors.contains(error));
            errors.append(&mut cards);
        }
        card_number::mask_places(&mut errors);
        let has_card = |name: &Attribute| self.source.has_card(name);
        let event_type = event.event_type.filter(|name| !has_card(name));
        let epoch = self.source.epoch(event_type.as_ref());
        NewEntry {
            disposition: Disposition::Invalid(invalid(epoch, errors)),
            digest,
            accepted_at: self.context.accepted_at,
            priority: self.context.priority,
            event: stored.bytes,
            event_type: event_type.unwrap_or_else(Attribute::unreadable),
            identity,
        }
    }

    /// Returns whether the store keeps the identity of an event: the identity contains no card number.
    fn is_kept(&self, identity: &Identity) -> bool {
        let mut attributes = [Some(&identity.id), identity.ce_source.as_ref()]
            .into_iter()
            .flatten();
        !attributes.any(|attribute| self.source.has_card(attribute))
    }

    /// Returns the request headers that the bridge needs to decode and to map the event again. A type that the source
    /// file does not map today can need each header that the source reads.
    fn kept_headers(&self, event_type: Option<&Attribute>) -> Option<Value> {
        let headers = self.message.headers;
        let mapped = event_type.filter(|name| self.source.mapped(name.as_str()).is_some());
        match mapped {
            Some(event_type) => self.source.kept_headers(event_type, headers),
            None => headers.to_json(&self.source.read_headers()),
        }
    }
}

/// Parks the entry of an event whose id belongs to an earlier event with different content.
///
/// `error` describes the conflict. The entry gets an id that the bridge derives from the event.
pub fn park_conflict(
    source: &Source,
    entry: NewEntry,
    error: EventError,
    context: &EntryContext,
) -> NewEntry {
    let mut errors = match entry.disposition {
        Disposition::Enqueue(_)
        | Disposition::Hold(_)
        | Disposition::Park(..)
        | Disposition::Ignore(_) => Vec::new(),
        Disposition::Invalid(invalid) => invalid.errors,
    };
    errors.insert(0, error);
    let epoch = source.epoch(Some(&entry.event_type));
    let Identity { ce_source, id, .. } = &entry.identity;
    let ce_source = ce_source.as_ref().map_or("", Attribute::as_str);
    // Attributes contain no control characters, so a line feed separates them.
    let [ce_source, id, line] = [ce_source, id.as_str(), "\n"].map(str::as_bytes);
    let parts = [ce_source, line, id, line, &entry.digest.0];
    let digest = digest::of_parts(&context.digest_key, parts);
    NewEntry {
        identity: derived(&source.name, Attribute::of_invalid_event(digest)),
        disposition: Disposition::Invalid(invalid(epoch, errors)),
        ..entry
    }
}

/// Returns the identity of an event whose id the bridge derives from the content of the event.
pub(super) fn derived(source: &SourceName, id: Attribute) -> Identity {
    Identity {
        source: source.clone(),
        ce_source: None,
        id,
    }
}

fn invalid(epoch: u32, errors: Vec<EventError>) -> InvalidReason {
    let errors = bounded(errors);
    InvalidReason { epoch, errors }
}

/// Limits the number and the size of the errors that the store keeps of one event.
pub(super) fn bounded(mut errors: Vec<EventError>) -> Vec<EventError> {
    let all = errors.len();
    let mut bytes = 0_usize;
    let fitting = errors.iter().take(STORED_ERRORS_MAX).take_while(|error| {
        let texts = [&error.pointer, &error.rule, &error.location, &error.detail];
        bytes = texts
            .iter()
            .fold(bytes, |bytes, text| bytes.saturating_add(text.len()));
        bytes <= STORED_ERRORS_BYTES_MAX
    });
    let kept = fitting.count();
    errors.truncate(kept);
    if kept < all {
        errors.push(EventError {
            pointer: String::new(),
            rule: "more".to_owned(),
            location: "events".to_owned(),
            detail: format!(
                "Number of further errors that the bridge does not store: {}.",
                all - kept
            ),
        });
    }
    errors
}

/// Decodes the stored form of an event again, as if the source had just sent the event.
///
/// The identity of the result is not the identity of the entry, which never changes.
///
/// # Errors
/// Returns the errors of an event that the bridge cannot decode today either.
pub(super) fn decode_again(
    source: &Source,
    stored: &[u8],
) -> Result<(ChangeEvent, RequestHeaders), Vec<EventError>> {
    let Some((mut envelope, headers)) = StoredEvent::parse(stored) else {
        return Err(unreadable());
    };
    let Some(json_envelope) = &source.json_envelope else {
        let body = envelope.to_string();
        let message = HttpMessage {
            mode: ContentMode::Structured,
            headers: &[],
            content_type: "",
            body: body.as_bytes(),
        };
        let decoded = cloudevents::decode(&source.name, message, 1)?;
        let decoded = decoded.into_iter().next();
        let event = decoded.unwrap_or_else(|| Err(unreadable()))?;
        return Ok((event, headers));
    };
    let attribute = |name| Attribute::parse(envelope.get(name)?.as_str()?).ok();
    // The type can come from a request header that the store does not keep.
    let is_mapped = |name: &Attribute| source.mapped(name.as_str()).is_some();
    let stored_type = attribute("type").filter(is_mapped);
    // The entry has its id already, and the store does not keep the parts from which the id came.
    let new_type = || {
        attribute("id")?;
        let [_, name] = json_envelope.names(source.view(&envelope), &headers);
        Attribute::parse(&name?).ok()
    };
    // The corrected expression counts, unless it needs a header that the store does not keep.
    let event_type = match json_envelope.headers().is_empty() {
        true => new_type().or(stored_type),
        false => stored_type.or_else(new_type),
    };
    if let Some(event_type) = event_type {
        let id = attribute("id").unwrap_or_else(Attribute::unreadable);
        let event = ChangeEvent {
            identity: Identity {
                source: source.name.clone(),
                ce_source: None,
                id,
            },
            event_type,
            envelope,
        };
        return Ok((event, headers));
    }
    let data = envelope.get_mut("data").map_or(Value::Null, Value::take);
    let event = json_envelope.event(data, &headers);
    let event = event
        .and_then(|event| encoding::json_event((json_envelope, &headers), &source.name, event))
        .map_err(|unread| unread.errors)?;
    Ok((event, headers))
}

impl Source {
    /// Returns whether the bridge parks the invalid events of a body instead of refusing the body.
    pub const fn parks_invalid_events(&self) -> bool {
        matches!(self.invalid_events, InvalidEventPolicy::Park)
    }

    /// Returns the epoch of an event type. An unknown type has the highest epoch of the source, because all types of a
    /// source usually share one version counter.
    fn epoch(&self, event_type: Option<&Attribute>) -> u32 {
        let known = event_type.and_then(|name| self.mapped(name.as_str()));
        let highest = || self.event_types.values().map(|known| known.epoch).max();
        known.map_or_else(|| highest().unwrap_or_default(), |(_, known)| known.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(pointer: &str) -> EventError {
        EventError {
            pointer: pointer.to_owned(),
            rule: "format".to_owned(),
            location: "l".to_owned(),
            detail: "d".to_owned(),
        }
    }

    /// FAULTS N382: an event with many errors, or with a very long pointer, stores only a few kilobytes of errors.
    #[test]
    fn the_stored_errors_are_bounded() {
        let many = invalid(0, vec![error("/a"); 50_000]).errors;
        assert_eq!(many.len(), STORED_ERRORS_MAX + 1);
        let more = many.last().unwrap();
        assert_eq!(more.rule, "more");
        assert!(more.detail.ends_with(": 49990."), "{}", more.detail);
        let long = "/x".repeat(STORED_ERRORS_BYTES_MAX);
        let first = invalid(0, vec![error("/a"), error(&long), error("/b")]).errors;
        let pointers: Vec<&str> = first.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/a", ""]);
        assert!(first[1].detail.ends_with(": 2."));
        assert_eq!(invalid(4, vec![error("/a"); 10]).errors.len(), 10);
    }
}
