//! The places of events in a request body. The sender knows only the body, so errors name places in the body.

use std::cell::{Cell, OnceCell};

use serde_json::{Map, Value};

use super::encoding::Encoding;
use super::message::RequestMessage;
use super::schema;
use crate::event::cloudevents::{self, ContentMode};
use crate::event::member_name::words;
use crate::event::{EventError, pointer};
use crate::mapping::{EventPlaces, SplitCause};
use crate::spelling;

/// The place of the data in a CloudEvents event, as a JSON Pointer. In binary mode, the body is the data.
const DATA: &str = "/data";

/// The sentence for an error about a part that the body has and the event does not have.
const LEFT_OUT: &str =
    "The body has a value here, but the expression body.split does not copy it into the event.";
/// The sentence for an error about a part that neither the event nor the same place in the body has. The sender possibly
/// left the part out, or the expression, so the sentence names no cause.
const MISSING: &str =
    "Neither the body at this place nor the event from body.split has this value.";
/// The sentence for an error about a part of an object that has nothing of the body.
const LEFT_OUT_OF_CONSTANT: &str = "The expression body.split makes the object around this value of constants, and does not put the value into it.";
/// The sentence for an error about a value that the body does not have.
const MADE: &str = "The value is from the expression body.split, and not from the body.";

/// The maximum number of names that the errors of one request compare with the names that they are about. A comparison
/// takes microseconds, and a sender chooses the number of errors and of names.
const COMPARED_MAX: usize = 2_000;
/// The maximum length of a compared name in bytes.
const COMPARED_BYTES_MAX: usize = 64;

/// Converts places in events to places in the request body of the events.
pub(super) struct BodyPlaces<'a> {
    encoding: &'a Encoding<'a>,
    message: RequestMessage<'a>,
    events_max: usize,
    /// The body. The first error of a body parses the body again, because a body without errors does not need the places.
    body: OnceCell<Value>,
    /// The places of the events that `body.split` makes of the body.
    split: OnceCell<Vec<EventPlaces>>,
    /// The number of names that the errors have compared.
    compared: Cell<usize>,
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
            body: OnceCell::new(),
            split: OnceCell::new(),
            compared: Cell::new(0),
        }
    }

    /// Returns the maximum number of events in the body.
    pub(super) const fn events_max(&self) -> usize {
        self.events_max
    }

    /// Converts the pointers of errors in the event at `index` to pointers into the body. If the expression `body.split`
    /// is the cause of an error, the error says so. If the body has a member with a similar name, the error names the
    /// member.
    pub(super) fn locate(&self, index: usize, errors: Vec<EventError>) -> Vec<EventError> {
        let located = errors.into_iter().map(|error| EventError {
            pointer: self.place(index, &error.pointer),
            detail: self.detail(index, &error),
            ..error
        });
        located.collect()
    }

    fn detail(&self, index: usize, error: &EventError) -> String {
        let cause = self.split_cause(index, error).map(str::to_owned);
        let similar = self.similar(index, error);
        let sentences = [Some(error.detail.clone()), cause, similar];
        let sentences: Vec<String> = sentences.into_iter().flatten().collect();
        sentences.join(" ")
    }

    /// Names the member of the body whose name is similar to the name of the absent member that an error is about.
    fn similar(&self, index: usize, error: &EventError) -> Option<String> {
        let part = absent_part(error)?;
        let place = match self.split() {
            Some(events) => events.get(index)?.in_body(&part),
            None => self.place(index, &part),
        };
        let (outer, name) = place.rsplit_once('/')?;
        let members = self.body().pointer(outer)?.as_object()?;
        let name = pointer::name(name);
        if members.contains_key(&name)
            || name.len() > COMPARED_BYTES_MAX
            || !self.may_compare(members.len())
        {
            return None;
        }
        let names = members.keys().map(String::as_str);
        // `event` is no misspelt `event_id`.
        let wanted = words(&name);
        let is_part = |other: &&str| {
            let other = words(other);
            other.len() != wanted.len()
                && (other.starts_with(&wanted) || wanted.starts_with(&other))
        };
        let names = names.filter(|name| name.len() <= COMPARED_BYTES_MAX && !is_part(name));
        let found = match spelling::misspelt(&name, names) {
            Some(similar) => pointer::inside(outer, similar),
            None => same_name_inside(members, outer, &name)?,
        };
        Some(format!("The body has a value at {found}."))
    }

    /// Counts the comparison of a name with this number of names. Returns false if the errors of the request would compare
    /// too many names.
    pub(super) fn may_compare(&self, names: usize) -> bool {
        let compared = self.compared.get().saturating_add(names);
        let is_allowed = compared <= COMPARED_MAX;
        if is_allowed {
            self.compared.set(compared);
        }
        is_allowed
    }

    fn body(&self) -> &Value {
        self.body
            .get_or_init(|| cloudevents::parse(self.message.body).unwrap_or_default())
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
            Encoding::Json(_) => match self.split() {
                None => pointer.to_owned(),
                Some(events) => match events.get(index) {
                    Some(places) => reachable(self.body(), places.in_body(pointer)),
                    None => format!("/{index}{pointer}"),
                },
            },
        }
    }

    /// Returns the place of the event at `index` in the body, as a JSON Pointer.
    pub(super) fn event(&self, index: usize) -> String {
        let places = self.split().and_then(|events| events.get(index));
        places.map_or_else(|| self.place(index, ""), EventPlaces::event)
    }

    /// Returns the places of the events that `body.split` makes, or `None` without this expression.
    fn split(&self) -> Option<&Vec<EventPlaces>> {
        let Encoding::Json(envelope) = self.encoding else {
            return None;
        };
        envelope.splits().then(|| {
            self.split
                .get_or_init(|| envelope.places(self.body(), self.message.headers, self.events_max))
        })
    }

    /// Returns a sentence if the expression `body.split` is the cause of an error in the event at `index`, or can be the
    /// cause.
    fn split_cause(&self, index: usize, error: &EventError) -> Option<&'static str> {
        let places = self.split()?.get(index)?;
        let part = absent_part(error)?;
        let is_in_body = || self.body().pointer(&places.in_body(&part)).is_some();
        match places.split_cause(&part)? {
            SplitCause::LeftOut if is_in_body() => Some(LEFT_OUT),
            SplitCause::LeftOut => Some(MISSING),
            SplitCause::LeftOutOfConstant => Some(LEFT_OUT_OF_CONSTANT),
            SplitCause::Made => Some(MADE),
        }
    }
}

/// The names that different objects of a body have for different values.
const GENERAL: [&str; 4] = ["id", "name", "type", "value"];

/// Returns the place of a member with the same name one level deeper, if only one object has it. A name in the place can be a
/// value of the event, so the place has a mask for such a name.
fn same_name_inside(members: &Map<String, Value>, outer: &str, name: &str) -> Option<String> {
    let has =
        |(_, value): &(&String, &Value)| value.get(name).is_some_and(|value| !value.is_null());
    // Beside `event_id`, the `id` of another object is the id of something else.
    let is_general = GENERAL.contains(&name);
    let mut beside = members
        .keys()
        .filter(|other| other.len() <= COMPARED_BYTES_MAX && *other != name);
    if is_general && beside.any(|other| words(other).iter().any(|word| word == name)) {
        return None;
    }
    let mut found = members.iter().filter(has);
    let (object, _) = found.next().filter(|_| found.next().is_none())?;
    let place = pointer::inside(&pointer::inside(outer, object), name);
    (pointer::without_values(&place) == place).then_some(place)
}

/// Returns the place of the value that an error is about, if the error is about one value. Then the value can be absent.
fn absent_part(error: &EventError) -> Option<String> {
    match schema::missing_property(error) {
        Some(name) => Some(pointer::inside(&error.pointer, &name)),
        None => (!error.pointer.is_empty()).then(|| error.pointer.clone()),
    }
}

/// Returns the place, or the innermost text, number or list around the place: such a value has no members, so the place
/// cannot exist.
fn reachable(body: &Value, place: String) -> String {
    let starts = place.match_indices('/').map(|(start, _)| start);
    let mut outer = starts.filter_map(|start| place.split_at_checked(start));
    let has_no_part = |(outer, inner): &(&str, &str)| match body.pointer(outer) {
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => true,
        Some(Value::Array(_)) => {
            let step = inner.split('/').nth(1).unwrap_or_default();
            step.parse::<usize>().is_err()
        }
        Some(Value::Null | Value::Object(_)) | None => false,
    };
    let nearest = outer.find(has_no_part);
    let nearest = nearest.map(|(outer, _)| outer.to_owned());
    nearest.unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// FAULTS N1056
    #[test]
    fn the_same_name_deeper_is_named_if_it_is_no_value() {
        for (body, expected) in [
            (json!({"data": {"id": 7}, "x": 1}), Some("/data/id")),
            (json!({"data": {"id": 7}, "old": {"id": 7}}), None),
            (json!({"data": {"id": null}}), None),
            (json!({"data": {"key": 7}}), None),
            (json!({"ann@example.com": {"id": 7}}), None),
        ] {
            let members = body.as_object().unwrap();
            let found = same_name_inside(members, "", "id");
            assert_eq!(found.as_deref(), expected, "{body}");
        }
    }

    /// FAULTS N580: a value without members has no place inside.
    #[test]
    fn a_place_is_not_inside_a_value_without_members() {
        let body = json!({"ids": [7], "name": null, "address": {"city": "x"}});
        for (place, expected) in [
            ("", ""),
            ("/ids/0", "/ids/0"),
            ("/ids/0/type", "/ids/0"),
            ("/ids/type", "/ids"),
            ("/ids/1", "/ids/1"),
            ("/name/first", "/name/first"),
            ("/address/state", "/address/state"),
            ("/address/city/x/y", "/address/city"),
            ("/type/x", "/type/x"),
        ] {
            assert_eq!(reachable(&body, place.to_owned()), expected, "{place}");
        }
        assert_eq!(reachable(&json!([7]), "/type".to_owned()), "");
    }
}
