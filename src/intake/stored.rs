//! The last stage of intake: looks for card numbers, and makes the stored form of an event from the parts that the store
//! keeps.
//!
//! The digest of an event always covers the whole event as the source sent it, so that a repeated event stays a duplicate
//! if the schema changes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::card_number;
use super::digest::StoredEvent;
use super::kept::{self, KeptParts, PartsFound};
use super::pipeline::{EntryContext, MappedEvent, Pipeline, RejectedEvent};
use super::rejection::{Rejection, RejectionClass};
use super::source::{CardNumberPolicy, Source, StoredParts};
use crate::event::{Attribute, ChangeEvent, EventError, Identity, RequestHeaders};
use crate::mapping::EnvelopeAttribute;
use crate::outbox::{Disposition, NewEntry};

/// The rules of a source that keeps whole events.
const WHOLE: &KeptParts = &KeptParts::whole();

impl Pipeline<'_> {
    /// Looks for card numbers in everything that the store keeps of an event. Returns whether the event has parts that the
    /// store does not keep.
    ///
    /// The store keeps the identity of every event, and nothing else of an ignored event.
    pub(super) fn look(
        &self,
        event: &ChangeEvent,
        disposition: &Disposition,
        headers: &RequestHeaders,
    ) -> Result<bool, Rejection> {
        let source = self.source;
        let finds_cards = source.card_numbers == CardNumberPolicy::Refuse;
        let found = match disposition {
            Disposition::Ignore(_) => PartsFound::default(),
            Disposition::Enqueue(_)
            | Disposition::Hold(_)
            | Disposition::Park(..)
            | Disposition::Invalid(_) => source
                .kept(&event.event_type)
                .look(source.view(&event.envelope), finds_cards),
        };
        if !finds_cards {
            return Ok(found.has_others);
        }
        let mut places: BTreeSet<String> = found.card_numbers.into_iter().collect();
        places.extend(source.cards_in_identity(event, headers));
        if source.has_card_in_headers(&event.event_type, headers) {
            places.insert(String::new());
        }
        if places.is_empty() {
            return Ok(found.has_others);
        }
        let errors = places.into_iter().map(card_number::error).collect();
        Err(Rejection::new(RejectionClass::CardNumber, errors))
    }

    /// Makes the entry of an accepted event.
    ///
    /// # Errors
    /// Returns an error if the store must keep the whole event, because the schema refuses the event without its other
    /// parts, and the other parts contain a card number.
    pub(super) fn entry(
        &self,
        index: usize,
        mapped: MappedEvent,
        headers: &RequestHeaders,
        context: &EntryContext,
    ) -> Result<NewEntry, Box<RejectedEvent>> {
        let MappedEvent {
            mut event,
            disposition,
            has_others,
        } = mapped;
        let headers = self.source.kept_headers(&event.event_type, headers);
        let mut stored = StoredEvent::new(&event.envelope, headers.as_ref());
        let digest = stored.digest(&context.digest_key);
        if has_others && self.source.remove_others(&mut event) {
            stored = StoredEvent::new(&event.envelope, headers.as_ref());
        } else if has_others {
            let restored = StoredEvent::parse(&stored.bytes);
            let (envelope, _) = restored.unwrap_or_default();
            event.envelope = envelope;
            if let Some(rejection) = self.cards_in_whole(index, &event) {
                return Err(Box::new((Some(event), rejection)));
            }
        }
        Ok(NewEntry {
            disposition,
            digest,
            accepted_at: context.accepted_at,
            priority: context.priority,
            event: stored.bytes,
            event_type: event.event_type,
            identity: event.identity,
        })
    }

    /// Returns the rejection of an event that the store would keep whole, if the event contains a card number.
    fn cards_in_whole(&self, index: usize, event: &ChangeEvent) -> Option<Rejection> {
        if self.source.card_numbers == CardNumberPolicy::Keep {
            return None;
        }
        let found = WHOLE.look(self.source.view(&event.envelope), true);
        let errors = found.card_numbers.into_iter().map(card_number::error);
        let errors = self.located(index, errors.collect());
        (!errors.is_empty()).then(|| Rejection::new(RejectionClass::CardNumber, errors))
    }
}

impl Source {
    /// Returns the errors of the card numbers in a corrected event, if the source refuses card numbers.
    pub(super) fn cards_in(&self, event: &Value) -> Vec<EventError> {
        if self.card_numbers == CardNumberPolicy::Keep {
            return Vec::new();
        }
        let found = WHOLE.look(self.view(event), true);
        found
            .card_numbers
            .into_iter()
            .map(card_number::error)
            .collect()
    }

    /// Returns the rules for the parts that the store keeps of the events of a type.
    fn kept(&self, event_type: &Attribute) -> &KeptParts {
        match (self.stored_parts, self.mapped(event_type.as_str())) {
            (StoredParts::Described, Some((_, event_type))) => &event_type.kept,
            (StoredParts::All, _) | (StoredParts::Described, None) => WHOLE,
        }
    }

    /// Removes the parts of an event that the store does not keep. Returns `false` if the schema refuses the rest, for
    /// example because the rest has fewer members than `minProperties` requires. A replay could not map the rest.
    fn remove_others(&self, event: &mut ChangeEvent) -> bool {
        let Some((_, event_type)) = self.mapped(event.event_type.as_str()) else {
            return false;
        };
        if let Some(view) = self.view_mut(&mut event.envelope) {
            event_type.kept.remove_others(view);
        }
        event_type.schema.accepts(self.view(&event.envelope))
    }

    /// Returns the places of the parts that the store would not keep of an event, as JSON Pointers. `view` is the event in
    /// the form that schema and mapping read, and `event_type` is the key of its type in the source file.
    pub fn not_kept(&self, event_type: &str, view: &Value) -> BTreeSet<String> {
        let mut removed = BTreeSet::new();
        let known = self.event_types.get(event_type);
        let Some(event_type) = known.filter(|_| self.stored_parts == StoredParts::Described) else {
            return removed;
        };
        let mut kept = view.clone();
        event_type.kept.remove_others(&mut kept);
        if event_type.schema.accepts(&kept) {
            kept::add_removed(view, &kept, "", &mut removed);
        }
        removed
    }

    /// Returns the places of card numbers in the identity and in the type of an event.
    fn cards_in_identity(&self, event: &ChangeEvent, headers: &RequestHeaders) -> Vec<String> {
        let Identity { ce_source, id, .. } = &event.identity;
        let attributes = [
            ("/id", Some(id), Some(EnvelopeAttribute::Id)),
            (
                "/type",
                Some(&event.event_type),
                Some(EnvelopeAttribute::Type),
            ),
            ("/source", ce_source.as_ref(), None),
        ];
        let with_card = attributes.into_iter();
        let with_card =
            with_card.filter(|(_, value, _)| value.is_some_and(|value| self.has_card(value)));
        let place = |(place, _, attribute): (&str, _, Option<EnvelopeAttribute>)| {
            let rules = self.json_envelope.as_ref().zip(attribute);
            let view = self.view(&event.envelope);
            rules.map_or_else(
                || place.to_owned(),
                |(rules, attribute)| rules.place_of(attribute, view, headers),
            )
        };
        with_card.map(place).collect()
    }

    /// Returns whether a request header that the store keeps contains a card number.
    fn has_card_in_headers(&self, event_type: &Attribute, headers: &RequestHeaders) -> bool {
        let kept = self.kept_headers(event_type, headers);
        kept.is_some_and(|kept| !WHOLE.look(&kept, true).card_numbers.is_empty())
    }

    /// Returns whether an attribute contains a card number that the store must not keep.
    pub(super) fn has_card(&self, attribute: &Attribute) -> bool {
        let refuses = self.card_numbers == CardNumberPolicy::Refuse;
        refuses && card_number::is_in_text(attribute.as_str())
    }

    /// Removes the card numbers from the envelope and the headers of an event that the bridge parks because the event is
    /// invalid. Returns the errors, with pointers into the event, or `None` if there are no card numbers.
    pub(super) fn remove_cards(
        &self,
        envelope: &mut Value,
        headers: Option<&mut Value>,
    ) -> Option<Vec<EventError>> {
        if self.card_numbers == CardNumberPolicy::Keep {
            return None;
        }
        let in_headers = headers.map_or_else(Vec::new, card_number::remove);
        let removed = card_number::remove(envelope);
        if removed.is_empty() && in_headers.is_empty() {
            return None;
        }
        // The attributes of plain JSON are copies of values in the data.
        let in_view = |place: String| match self.json_envelope {
            Some(_) => place.strip_prefix("/data").map(str::to_owned),
            None => Some(place),
        };
        let errors = removed.into_iter().filter_map(in_view);
        Some(errors.map(card_number::error).collect())
    }
}
