//! Explains the expressions that apply to one event of a body: the table `[body]`, and the mapping of the event's type.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Sources;
use super::body_places::BodyPlaces;
use super::encoding::Encoding;
use super::explain::target;
use super::explanation::{EventExplanation, TargetExplanation, TargetResult, mask};
use super::message::RequestMessage;
use super::source::{EventType, Source};
use super::value_note;
use crate::event::cloudevents;
use crate::event::{ChangeEvent, RequestHeaders, Visibility};
use crate::mapping::{RuleExplanation, SplitReads};

/// The name of the expression that splits a body.
const SPLIT: &str = "body.split";

/// A body whose events an explanation explains.
pub(super) struct ExplainedBody<'a> {
    places: BodyPlaces<'a>,
    /// The places that `body.split` reads in the body. The value is `None` without this expression.
    split: Option<SplitReads>,
}

impl Sources {
    pub(super) fn explained_body<'a>(
        &self,
        source: &Source,
        encoding: &'a Encoding<'a>,
        message: RequestMessage<'a>,
    ) -> ExplainedBody<'a> {
        let envelope = source.json_envelope.as_ref();
        let envelope = envelope.filter(|envelope| envelope.splits());
        let split = envelope.and_then(|envelope| {
            let body = cloudevents::parse(message.body).ok()?;
            envelope.split_reads(&body, message.headers, self.settings.batch_events_max)
        });
        ExplainedBody {
            places: self.places(encoding, message),
            split,
        }
    }
}

impl ExplainedBody<'_> {
    /// Returns the places in the body that `body.split` copies into no event.
    pub(super) fn left_out(&self, visibility: Visibility) -> Vec<String> {
        let places = self.split.iter().flat_map(|split| &split.left_out);
        let mut places: Vec<String> = places.cloned().collect();
        if visibility == Visibility::Masked {
            mask(&mut places);
        }
        places
    }

    /// Returns the place in the body of a place in the event at `index`. A request header has no place in the body, so
    /// its name stays.
    fn place(&self, index: usize, place: &str) -> String {
        match place.is_empty() || place.starts_with('/') {
            true => self.places.place(index, place),
            false => place.to_owned(),
        }
    }
}

/// The expressions that apply to one event.
pub(super) struct Expressions<'a> {
    pub(super) source: &'a Source,
    pub(super) event: &'a ChangeEvent,
    pub(super) headers: &'a RequestHeaders,
    /// The body of the event and the position of the event in the body. The value is `None` for a stored event.
    pub(super) body: Option<(&'a ExplainedBody<'a>, usize)>,
}

impl Expressions<'_> {
    /// Adds the explanations of the expressions to the explanation of the event.
    pub(super) fn explain(&self, explanation: &mut EventExplanation, visibility: Visibility) {
        let view = self.source.view(&self.event.envelope);
        let envelope = self.source.json_envelope.as_ref();
        let envelope = envelope.map(|envelope| envelope.explain(view, self.headers));
        let envelope = envelope.unwrap_or_default();
        let mut used: Vec<String> = envelope
            .iter()
            .flat_map(|rule| rule.reads.clone())
            .collect();
        let split = self.split();
        used.extend(
            split
                .iter()
                .flat_map(|(split, index)| split.in_event(*index, view)),
        );
        // A stored event has no request headers that only `[body]` reads, and `body.split` has split its body before.
        let shown = envelope.into_iter().filter(|_| self.body.is_some());
        let mut rules: Vec<_> = shown.collect();
        let mut unused = Vec::new();
        if let Some((_, event_type)) = self.source.mapped(self.event.event_type.as_str()) {
            let root = self.source.data_pointer();
            let mapped = event_type.mapping.explain(view, self.headers, root, &used);
            rules.extend(mapped.rules.into_iter().map(|rule| noted(rule, event_type)));
            explanation.unused = Some(self.in_body(mapped.unused.clone()));
            unused = mapped.unused;
        }
        explanation.reads = rules.iter().flat_map(|rule| rule.reads.clone()).collect();
        explanation.reads.extend(used);
        let is_abroad = rules.iter().any(value_note::is_abroad);
        let located = rules.iter().map(|rule| {
            let mut target = target(rule.clone(), visibility);
            let note = target.note.take();
            target.note = note.and_then(|note| value_note::with_country(note, &rules));
            if is_abroad && value_note::is_of_country(&target.target) {
                target.note = None;
            }
            if target.result == TargetResult::Absent && target.note.is_none() {
                let places = value_note::other_case(&target.reads, &unused, view);
                let places = places.map(|places| self.in_body(places.map(Clone::clone).into()));
                target.note = places.and_then(|places| value_note::other_case_note(&places));
            }
            target.reads = self.in_body(target.reads);
            target
        });
        let split = split.map(|(split, index)| split_target(split, index));
        let targets: Vec<TargetExplanation> = split.into_iter().chain(located).collect();
        explanation.targets = (!targets.is_empty()).then_some(targets);
    }

    fn split(&self) -> Option<(&SplitReads, usize)> {
        let (body, index) = self.body?;
        Some((body.split.as_ref()?, index))
    }

    /// Converts places in the event to places in the body.
    fn in_body(&self, places: Vec<String>) -> Vec<String> {
        let Some((body, index)) = self.body else {
            return places;
        };
        let mut known = BTreeSet::new();
        let located = places.iter().map(|place| body.place(index, place));
        located
            .filter(|place| known.insert(place.clone()))
            .collect()
    }
}

/// Leaves out the comparisons with a value whose type the schema names: the source sends values of both kinds.
fn noted(mut rule: RuleExplanation, event_type: &EventType) -> RuleExplanation {
    rule.compared.retain(|compared| {
        compared.fits || !event_type.schema.names_type(&compared.place, compared.kind)
    });
    rule
}

/// Explains the expression that splits a body, for the event at `index`. The result is not the event, because the other
/// rows show its values.
fn split_target(split: &SplitReads, index: usize) -> TargetExplanation {
    let event = format!("event {} of {}", index + 1, split.events());
    TargetExplanation {
        target: SPLIT.to_owned(),
        expression: split.expression.clone(),
        reads: split.of_event(index),
        is_interpreted: true,
        result: TargetResult::Value {
            value: Value::from(event),
        },
        is_assumed: false,
        is_unchanged: false,
        is_held_back: false,
        note: None,
        compared: Vec::new(),
        is_stale: None,
    }
}
